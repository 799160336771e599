"""Decoding: every kind of file gives the image that a viewer shows, or one line that names the file."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import HarnessError
from harness.datasets.images import decode
from harness.datasets.images.convert import check_shape, resized
from harness.datasets.images.decode import decoded, inspect
from harness.datasets.images.dicom_grey import window
from tests.helpers import images
from tests.helpers.images import PATIENT, dicom, jpeg, ramp, truncated


def shown(path: Path) -> np.ndarray:
    """Pixels as decoded, not resized."""
    return np.asarray(decoded(path.read_bytes(), path.suffix)[0])


def png(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def test_ordinary_images_are_resized_as_pillow_does(tmp_path: Path) -> None:
    for mode in ("RGB", "L"):
        path = jpeg(tmp_path / f"{mode}.jpg", mode=mode)
        for channels, wanted in ((3, "RGB"), (1, "L")):
            plain = Image.open(path).convert(wanted).resize((32, 32), Image.Resampling.BICUBIC)
            pixels = resized(decoded(path.read_bytes())[0], 32, channels)
            assert pixels.shape == (32, 32, channels)
            assert np.array_equal(pixels.squeeze(), np.asarray(plain))


def test_facts_of_a_file(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "a.jpg", mode="L")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    facts = inspect(path)
    assert (facts.width, facts.height, facts.mode, facts.digest, facts.flat) == (60, 40, "L", digest, False)


@pytest.mark.parametrize("top", [255, 1000, 4095, 65535])
def test_sixteen_bits_use_the_whole_range(tmp_path: Path, top: int) -> None:
    path = png(tmp_path / "deep.png", ramp(top=top).astype(np.uint16))
    pixels = shown(path)
    assert inspect(path).mode == "I;16"
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert np.abs(pixels.astype(float) - ramp(top=top) * 255.0 / top).max() <= 0.5


def hot(top: int, spot: int) -> np.ndarray:
    """Grey values from 0 to ``top``, one of which is ``spot``."""
    values = ramp(64, 64, top).astype(np.uint16)
    values[20, 30] = spot
    return values


@pytest.mark.parametrize(("top", "spot"), [(4095, 65535), (1500, 4095), (255, 1023)])
def test_one_hot_pixel_darkens_nothing(tmp_path: Path, top: int, spot: int) -> None:
    sound = png(tmp_path / "sound.png", ramp(64, 64, top).astype(np.uint16))
    files = [png(tmp_path / "hot.png", hot(top, spot)), tmp_path / "hot.tiff"]
    Image.fromarray(hot(top, spot).astype(np.int32)).save(files[1])
    files.append(dicom(tmp_path / "hot.dcm", hot(top, spot)))
    for path in files:
        pixels = shown(path)
        assert pixels.mean() == pytest.approx(127.5, abs=1)
        assert pixels[20, 30] == 255
        pixels = np.where(np.indices((64, 64)).sum(0) == 50, shown(sound), pixels)  # the diagonal of the spot
        assert np.array_equal(pixels, shown(sound)), path.name


def test_a_cold_pixel_and_a_hot_column_move_nothing(tmp_path: Path) -> None:
    values = ramp(200, 200, 4000).astype(np.int32) + 20_000
    values[50, 50] = 0
    values[:, 120] = 65535
    pixels = shown(png(tmp_path / "a.png", values.astype(np.uint16)))
    assert (pixels[:, 120] == 255).all()
    assert pixels[50, 50] == 0
    sound = ramp(200, 200).astype(float)
    sound[:, 120], sound[50, 50] = 255, 0
    assert np.abs(pixels - sound).max() <= 1


@pytest.mark.parametrize("dead", [0, 65535])
@pytest.mark.parametrize("shape", ["frame", "left", "circle"])
def test_a_dead_border_takes_no_contrast(tmp_path: Path, dead: int, shape: str) -> None:
    values = (ramp(120, 120, 3000) + 30_000).astype(np.uint16)
    row, column = np.indices(values.shape)
    border = {
        "frame": np.maximum(abs(row - 59.5), abs(column - 59.5)) > 50,
        "left": column < 30,
        "circle": np.hypot(row - 59.5, column - 59.5) > 58,
    }[shape]
    values[border] = dead
    pixels = shown(png(tmp_path / "a.png", values))
    assert (pixels[border] == (255 if dead else 0)).all()
    inside = pixels[~border]
    assert (inside.min(), inside.max()) == (0, 255)
    assert inside.std() > 50


def test_burnt_in_marks_take_no_contrast(tmp_path: Path) -> None:
    values = (ramp(120, 120, 3000) + 30_000).astype(np.uint16)
    marks = np.zeros(values.shape, dtype=bool)
    marks[10:30, 20:60] = marks[90:110, 5:20] = True  # 8 % of the image
    values[10:30, 20:60], values[90:110, 5:20] = 65535, 0
    pixels = shown(png(tmp_path / "a.png", values))
    assert np.abs(pixels[~marks].astype(float) - ramp(120, 120)[~marks]).max() <= 1
    assert set(np.unique(pixels[marks])) == {0, 255}


def test_few_bright_pixels_on_black_stay(tmp_path: Path) -> None:
    values = np.zeros((100, 100), np.uint16)
    values[40:45, 40:45] = 900
    values[50, 50:54] = [100, 200, 300, 400]
    pixels = shown(png(tmp_path / "a.png", values))
    assert (pixels[40:45, 40:45] == 255).all()
    assert not pixels[:40].any()


def test_white_is_zero_in_deep_tiff(tmp_path: Path) -> None:
    values = ramp(top=4095).astype(np.uint16)
    paths = [tmp_path / f"{name}.tiff" for name in ("black", "white")]
    for photometric, path in zip((1, 0), paths, strict=True):
        Image.fromarray(values).save(path, tiffinfo={262: photometric})
    black, white = (shown(path).astype(int) for path in paths)
    assert black[0, 0] == 0
    assert white[0, 0] == 255
    assert (black + white == 255).all()


def test_colour_of_twelve_in_sixteen_bits_is_no_black_image(tmp_path: Path) -> None:
    def deep(path: Path, values: np.ndarray) -> Path:
        raw = values.astype(">u2").tobytes()
        lines = [b"\0" + raw[start : start + 180] for start in range(0, len(raw), 180)]
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", 30, 20, 16, 2, 0, 0, 0))]
        chunks += [(b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")]
        packed = [
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        ]
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
        return path

    values = np.random.default_rng(0).integers(0, 4096, (20, 30, 3))
    with pytest.raises(HarnessError, match=r"few\.png .*16 bits a channel, of which the upper four"):
        inspect(deep(tmp_path / "few.png", values))
    full = shown(deep(tmp_path / "full.png", values * 16))
    assert np.abs(full.astype(int) - values // 16).max() <= 1


def test_deep_tiff_and_constant_images(tmp_path: Path) -> None:
    floats = tmp_path / "f.tiff"
    Image.fromarray((ramp() / 100.0 - 1.0).astype(np.float32)).save(floats)
    assert (shown(floats).min(), shown(floats).max()) == (0, 255)
    assert not shown(png(tmp_path / "flat.png", np.full((20, 20), 900, np.uint16))).any()
    broken = tmp_path / "nan.tiff"
    Image.fromarray(np.full((20, 20), np.nan, np.float32)).save(broken)
    with pytest.raises(HarnessError, match=r"nan\.tiff is not a readable image: grey values"):
        inspect(broken)


@pytest.mark.parametrize("suffix", ["gif", "png", "tif"])
def test_the_first_of_several_pages_is_read_and_counted(tmp_path: Path, suffix: str) -> None:
    pages = [Image.fromarray((255 - ramp() if turned else ramp()).astype(np.uint8)) for turned in (0, 1)]
    path, alone = tmp_path / f"several.{suffix}", tmp_path / f"alone.{suffix}"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    pages[0].save(alone)
    assert inspect(path).mode == f"{inspect(alone).mode}, first of several pages"
    assert np.array_equal(shown(path), shown(alone))


def test_cmyk_palette_and_bilevel(tmp_path: Path) -> None:
    cmyk = jpeg(tmp_path / "c.jpg", mode="CMYK", quality=95)
    plain = shown(jpeg(tmp_path / "p.jpg", quality=95)).astype(float)
    assert inspect(cmyk).mode == "CMYK"
    assert np.abs(shown(cmyk) - plain).mean() < 3
    palette = png(tmp_path / "p.png", np.stack([ramp().astype(np.uint8)] * 3, -1), "P")
    assert shown(palette).shape == (40, 60, 3)
    bilevel = png(tmp_path / "b.png", (ramp() > 100), "1")
    assert set(np.unique(shown(bilevel))) == {0, 255}


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    values = np.full((20, 20, 4), 200, np.uint8)
    values[:, :10, 3] = 0
    values[:, 10:, 3] = 255
    pixels = shown(png(tmp_path / "a.png", values))
    assert pixels.shape == (20, 20, 3)
    assert not pixels[:, :10].any()
    assert (pixels[:, 10:] == 200).all()
    grey = shown(png(tmp_path / "la.png", values, "LA"))
    assert grey.shape == (20, 20)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = jpeg(tmp_path / "turned.jpg", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(path))
    assert np.array_equal(shown(path), np.asarray(upright))
    assert (inspect(path).width, inspect(path).height) == upright.size


def test_broken_exif_costs_no_picture(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "x.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert np.array_equal(shown(path), shown(jpeg(tmp_path / "y.jpg")))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.jpg", b"", "the file is empty"),
        ("text.png", b"no image at all", "none of PNG, JPEG"),
        ("script.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "none of PNG, JPEG"),
        ("text.dcm", b"no image at all", "not DICOM: it lacks the DICM prefix"),
        ("text.dicom", b"P5 no image at all", "not DICOM: it lacks the DICM prefix"),
    ],
)
def test_no_image(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(HarnessError, match=f"{name} is not a readable image: {message}"):
        inspect(path)


def test_another_format_under_the_name_of_dicom_is_read(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "a.jpg")
    plain = shown(path)
    assert np.array_equal(shown(path.rename(tmp_path / "a.dcm")), plain)


def test_truncated_files_are_named(tmp_path: Path) -> None:
    paths = [jpeg(tmp_path / "t.jpg"), png(tmp_path / "t.png", ramp().astype(np.uint8))]
    paths.append(dicom(tmp_path / "t.dcm", ramp().astype(np.uint16)))
    for path in paths:
        inspect(path)
        with pytest.raises(HarnessError, match=rf"{path.name} is not a readable image: "):
            inspect(truncated(path))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_whose_data_end_after_some_rows_is_refused(tmp_path: Path, mode: str, interlaced: bool) -> None:
    """Its compressed data, chunks and checksums are right, and there are too few rows."""
    path = tmp_path / "a.png"
    Image.new(mode, (9, 12)).save(path)
    data = path.read_bytes()
    pixels = zlib.decompress(chunk(data, b"IDAT"))
    palette = b"" if mode != "P" else packed(b"PLTE", chunk(data, b"PLTE"))
    header = chunk(data, b"IHDR")[:-1] + bytes([interlaced])
    start = b"\x89PNG\r\n\x1a\n" + packed(b"IHDR", header) + palette
    for enough in (True, False):
        content = pixels + bytes(len(pixels)) if enough else pixels[: len(pixels) // 3]
        path.write_bytes(start + packed(b"IDAT", zlib.compress(content)) + packed(b"IEND", b""))
        if enough:
            assert not shown(path).any()
        else:
            with pytest.raises(HarnessError, match=r"the file may be truncated|image file is truncated"):
                inspect(path)


def test_a_png_whose_second_part_is_zeros_or_that_has_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    """As a download leaves it that reserved the file's space and stopped; Pillow decodes some of these."""
    smooth = np.add.outer(np.arange(300), np.arange(200)).astype(np.uint8)
    path = png(tmp_path / "a.png", smooth)
    data = path.read_bytes()
    for stop in range(60, len(data) - 12, 7):
        path.write_bytes(data[:stop] + bytes(len(data) - stop))
        with pytest.raises(HarnessError, match=r"a\.png is not a readable image: "):
            inspect(path)
    begin = data.index(b"IDAT") + 4
    for place in range(begin, len(data) - 16, 5):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(HarnessError, match=r"a\.png is not a readable image: "):
            inspect(path)
    path.write_bytes(data)
    assert np.array_equal(shown(path), smooth)


def chunk(png: bytes, kind: bytes) -> bytes:
    """The content of the only chunk of a kind."""
    place = png.index(kind)
    return png[place + 4 : place + 4 + int.from_bytes(png[place - 4 : place], "big")]


def packed(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + check


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_whose_end_is_zeros_is_no_half_grey_image(tmp_path: Path, options: dict[str, bool]) -> None:
    path = jpeg(tmp_path / "a.jpg", size=(300, 200), **options)
    data = path.read_bytes()
    path.write_bytes(data + bytes(500))
    inspect(path)
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    with pytest.raises(HarnessError, match=r"a\.jpg is not a readable image: JPEG whose end is missing"):
        inspect(path)


def test_sizes_out_of_range_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HarnessError, match=r"one\.png .* 1 x 1 pixels, less than 8 on a side"):
        inspect(png(tmp_path / "one.png", np.zeros((1, 1), np.uint8)))
    # A bomb: kilobytes that would become hundreds of megabytes.
    bombs = {"bomb.png": (10_000, 10_000), "larger.png": (20_000, 10_000)}
    for name, size in bombs.items():
        Image.new("1", size).save(tmp_path / name)
        assert (tmp_path / name).stat().st_size < 100_000
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in bombs:
            with pytest.raises(HarnessError, match=rf"{name} .* more .*than the limit of 67,108,864"):
                inspect(tmp_path / name)


def test_a_mammogram_is_no_bomb_and_a_giant_file_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_shape(4915, 5355)
    path = jpeg(tmp_path / "a.jpg")
    monkeypatch.setattr(decode, "MAX_BYTES", 100)
    with pytest.raises(HarnessError, match="bytes, more than the limit of 100"):
        inspect(path)


def test_threads_decode_side_by_side_and_leave_warnings_as_they_were(tmp_path: Path) -> None:
    paths = [jpeg(tmp_path / f"{n}.jpg", n, (200, 150)) for n in range(24)]
    paths += [dicom(tmp_path / f"{n}.dcm", ramp().astype(np.uint16)) for n in range(24)]
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        facts = list(threads.map(inspect, paths))
    assert {(each.width, each.height) for each in facts} == {(200, 150), (60, 40)}
    assert warnings.filters == before


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"gone\.jpg is not a readable image: No such file"):
        inspect(tmp_path / "gone.jpg")


def test_dicom_without_a_window_uses_the_whole_range(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", ramp(top=4095).astype(np.uint16), BitsStored=12)
    assert inspect(path).mode == "MONOCHROME2, 12 bits"
    assert np.abs(shown(path).astype(float) - ramp(top=4095) * 255 / 4095).max() <= 0.5
    assert np.array_equal(shown(path), shown(path.rename(tmp_path / "without-suffix")))


def test_dicom_monochrome1_of_twelve_bits_through_its_window(tmp_path: Path) -> None:
    values = ramp(top=4095).astype(np.uint16)
    options = {"BitsStored": 12, "WindowCenter": [2000, 900], "WindowWidth": [1000, 90]}
    plain = shown(dicom(tmp_path / "m2.dcm", values, **options))
    inverted = shown(dicom(tmp_path / "m1.dcm", values, PhotometricInterpretation="MONOCHROME1", **options))
    assert np.abs(plain.astype(int) + inverted - 255).max() <= 1
    assert (plain[values <= 1499] == 0).all()
    assert (plain[values >= 2500] == 255).all()
    assert plain[values == 2000].mean() == pytest.approx(127.6, abs=1)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_those_of_the_standard(function: str) -> None:
    from pydicom.dataset import Dataset
    from pydicom.pixels.processing import apply_windowing

    facts = Dataset()
    facts.PhotometricInterpretation, facts.PixelRepresentation, facts.BitsStored = "MONOCHROME2", 0, 12
    facts.WindowCenter, facts.WindowWidth, facts.VOILUTFunction = 1800, 701, function
    values = ramp(top=4095)
    expected = apply_windowing(values, facts) / 4095.0
    assert np.abs(window(values, 1800.0, 701.0, function) - expected).max() < 1e-9


def test_a_window_without_width_is_none_and_width_one_a_threshold(tmp_path: Path) -> None:
    values = ramp(top=999).astype(np.uint16)
    pixels = shown(dicom(tmp_path / "a.dcm", values, WindowCenter=500, WindowWidth=0))
    assert np.array_equal(pixels, shown(dicom(tmp_path / "b.dcm", values)))
    threshold = shown(dicom(tmp_path / "c.dcm", values, WindowCenter=500, WindowWidth=1))
    assert np.array_equal(threshold == 255, values >= 500)


def test_rescale_comes_before_the_window(tmp_path: Path) -> None:
    values = ramp(top=3000).astype(np.int16) - 1000
    options = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 1000, "WindowWidth": 2000}
    pixels = shown(dicom(tmp_path / "a.dcm", values, **options))
    assert np.abs(pixels - 255.0 * window(values * 2 - 100, 1000, 2000, "LINEAR")).max() <= 0.5


@pytest.mark.parametrize("bits", [8, 12])
def test_the_table_comes_before_the_window(tmp_path: Path, bits: int) -> None:
    values = ramp(top=4095).astype(np.uint16)
    table = np.round(np.linspace(0, 1, 3000) ** 2 * (2**bits - 1)).astype(np.uint16)
    sequence = images.lookup_table(500, table, bits)
    options = {"WindowCenter": 100, "WindowWidth": 10, "BitsStored": 12}
    pixels = shown(dicom(tmp_path / "a.dcm", values, VOILUTSequence=sequence, **options))
    expected = table[np.clip(values.astype(int) - 500, 0, 2999)] / (2**bits - 1) * 255
    assert np.abs(pixels - expected).max() <= 0.5


@pytest.mark.parametrize(("top", "bits"), [(255, 8), (4095, 12)])
def test_dicom_in_jpeg_2000_and_jpeg(tmp_path: Path, top: int, bits: int) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

    def packed(form: str, **options: object) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(values).save(stream, form, **options)
        return encapsulate([stream.getvalue()])

    values = ramp(top=top).astype(np.uint8 if bits == 8 else np.uint16)
    plain = shown(dicom(tmp_path / "a.dcm", values, BitsStored=bits))
    lossless = packed("JPEG2000", no_jp2=True)
    file = dicom(tmp_path / "b.dcm", values, BitsStored=bits, syntax=JPEG2000Lossless, PixelData=lossless)
    assert np.array_equal(shown(file), plain)
    if bits == 8:
        lossy = packed("JPEG", quality=98)
        file = dicom(tmp_path / "c.dcm", values, syntax=JPEGBaseline8Bit, PixelData=lossy)
        assert np.abs(shown(file).astype(int) - plain).mean() < 2


def test_dicom_in_colour_and_in_rle(tmp_path: Path) -> None:
    from pydicom import dcmread
    from pydicom.uid import RLELossless

    colour = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = dicom(tmp_path / "rgb.dcm", colour)
    assert np.array_equal(shown(path), colour)
    dataset = dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "rle.dcm")
    assert np.array_equal(shown(tmp_path / "rle.dcm"), colour)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"PixelData": None}, "DICOM without pixels: no PixelData"),
        ({"Rows": None, "PixelData": None}, "no Rows, PixelData"),
        ({"NumberOfFrames": 3}, "cannot be decoded .*may be truncated"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "photometric interpretation is none of MONOCHROME1"),
        ({"Rows": 60_000, "Columns": 60_000}, "60000 x 60000 pixels, more than the limit"),
        ({"Rows": 50}, "cannot be decoded .*may be truncated"),
        ({"Rows": 20}, "DICOM with more pixels than its header says"),
        ({"Columns": 10}, "DICOM with more pixels than its header says"),
        ({"syntax": "1.2.840.10008.1.2.4.100"}, "stored as MPEG2 Main Profile .*which is not read"),
        ({"syntax": "1.2.3.4.5"}, "unknown transfer syntax"),
        ({"VOILUTFunction": "CUBIC", "WindowCenter": 5, "WindowWidth": 5}, "tables cannot be applied"),
    ],
)
def test_dicom_that_cannot_be_shown_says_why_and_no_name(
    tmp_path: Path, elements: dict[str, object], message: str, recwarn: pytest.WarningsRecorder
) -> None:
    if elements.get("syntax") == "1.2.840.10008.1.2.4.100":
        from pydicom.encaps import encapsulate

        elements = {**elements, "PixelData": encapsulate([b"\xff\xd8 no codestream \xff\xd9"])}
    path = dicom(tmp_path / "a.dcm", ramp(top=4095).astype(np.uint16), **elements)
    with pytest.raises(HarnessError, match=message) as caught:
        inspect(path)
    assert PATIENT.encode() in path.read_bytes()
    assert not {"Doe", "Jane", "12345678"} & set(str(caught.value).replace("^", " ").split())
    assert not recwarn.list


def test_garbage_behind_the_prefix(tmp_path: Path) -> None:
    path = tmp_path / "garbage.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM" + bytes(range(256)) * 4)
    with pytest.raises(HarnessError, match=r"garbage\.dcm is not a readable image: "):
        inspect(path)


def webp(kind: bytes, body: bytes) -> bytes:
    """The head of a WebP: a first chunk that claims a size, and nothing behind it."""
    chunk = kind + len(body).to_bytes(4, "little") + body
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk


SIDE = 16383
CLAIMS = {
    "VP8X": webp(b"VP8X", bytes(4) + 2 * (SIDE - 1).to_bytes(3, "little")),
    "VP8L": webp(b"VP8L", b"\x2f" + ((SIDE - 1) | (SIDE - 1) << 14).to_bytes(4, "little") + bytes(5)),
    "VP8 ": webp(b"VP8 ", b"\x10\x00\x00\x9d\x01\x2a" + 2 * SIDE.to_bytes(2, "little") + bytes(4)),
}


@pytest.mark.parametrize("kind", CLAIMS)
@pytest.mark.parametrize("suffix", [".webp", ".dcm", ".png"])
def test_the_size_of_a_webp_is_checked_before_it_is_opened(
    kind: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("Pillow made room for the image")

    monkeypatch.setattr(Image, "open", opened)
    with pytest.raises(ValueError, match="16383 x 16383 pixels, more than the limit"):
        decoded(CLAIMS[kind], suffix)


@pytest.mark.parametrize("lossless", [True, False])
def test_an_ordinary_webp_is_read(lossless: bool) -> None:
    stream = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(stream, format="WEBP", lossless=lossless)
    assert decoded(stream.getvalue(), ".webp")[0].size == (256, 256)
