"""DICOM as scanners and archives write it: empty elements, padding, frames, no prefix, every compression."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    RLELossless,
)

from harness.core.errors import HarnessError
from harness.datasets.images import dicom as reader
from harness.datasets.images.decode import decoded, inspect
from harness.datasets.images.dicom_grey import window
from tests.helpers.images import PATIENT, dicom, lookup_table, ramp

VALUES = ramp(top=4095).astype(np.uint16)
BY_RANGE = np.rint(VALUES * 255.0 / 4095)


def shown(path: Path) -> np.ndarray:
    """Pixels as decoded, not resized."""
    return np.asarray(decoded(path.read_bytes(), path.suffix)[0])


def near(pixels: np.ndarray, expected: np.ndarray, within: float = 1.0) -> bool:
    return bool(np.abs(pixels.astype(float) - expected).max() <= within)


def rewritten(path: Path, change: Callable[[Dataset], None]) -> Path:
    """The same file after a change that its writer's checks would refuse."""
    dataset = dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def empty(*names: str) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        for name in names:
            ambiguous = name.startswith("PixelPadding")
            dataset.add_new(name, "US" if ambiguous else dictionary_VR(name), None)

    return change


EMPTY = (
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PixelPaddingValue",
    "PresentationLUTShape",
    "NumberOfFrames",
)


@pytest.mark.parametrize("names", [*[(name,) for name in EMPTY], EMPTY])
def test_an_empty_element_counts_as_absent(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = rewritten(dicom(tmp_path / "a.dcm", VALUES, BitsStored=12), empty(*names))
    assert near(shown(path), BY_RANGE)


@pytest.mark.parametrize("bits", [0, 17, 200])
def test_bits_that_no_pixel_can_have_are_refused(tmp_path: Path, bits: int) -> None:
    path = rewritten(
        dicom(tmp_path / "a.dcm", VALUES, BitsStored=12), lambda header: setattr(header, "BitsStored", bits)
    )
    with pytest.raises(ValueError, match="a damaged DICOM header"):
        shown(path)


def test_half_a_rescale_still_counts(tmp_path: Path) -> None:
    options = {"WindowCenter": 1000, "WindowWidth": 2000}
    path = dicom(tmp_path / "a.dcm", VALUES, RescaleSlope=2, RescaleIntercept=0, **options)
    rewritten(path, empty("RescaleIntercept"))
    assert near(shown(path), 255 * window(VALUES * 2.0, 1000, 2000, "LINEAR"))
    path = dicom(tmp_path / "b.dcm", VALUES, RescaleSlope=0, RescaleIntercept=-500, **options)
    assert near(shown(path), 255 * window(VALUES - 500.0, 1000, 2000, "LINEAR"))


@pytest.mark.parametrize("item", [None, "empty", "no data", "no descriptor", "no bits"])
@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_table_without_content_counts_as_absent(tmp_path: Path, name: str, item: str | None) -> None:
    sequence = Sequence([] if item is None else [Dataset()])
    if item not in (None, "empty"):
        sequence = lookup_table(0, np.arange(4096).astype(np.uint16), 12)
        sequence[0].add_new("LUTData", "OW", sequence[0].LUTData)
        if item == "no data":
            sequence[0].LUTData = b""
        elif item == "no descriptor":
            del sequence[0].LUTDescriptor
        else:
            sequence[0].add_new("LUTDescriptor", "US", None)
    options = {name: sequence, "WindowCenter": 1000, "WindowWidth": 500}
    path = dicom(tmp_path / "a.dcm", VALUES, BitsStored=12, **options)
    assert near(shown(path), 255 * window(VALUES, 1000, 500, "LINEAR"))


def test_a_later_table_or_window_counts_where_the_first_is_empty(tmp_path: Path) -> None:
    table = np.arange(4096)[::-1].astype(np.uint16)
    sequence = Sequence([Dataset(), lookup_table(0, table, 12)[0]])
    path = dicom(tmp_path / "a.dcm", VALUES, BitsStored=12, VOILUTSequence=sequence)
    assert near(shown(path), 255 - BY_RANGE)
    two = {"WindowCenter": ["", "1000"], "WindowWidth": ["40", "500"]}
    path = dicom(tmp_path / "b.dcm", VALUES, BitsStored=12, **two)
    assert near(shown(path), 255 * window(VALUES, 1000, 500, "LINEAR"))
    first = {"WindowCenter": [2000, 100], "WindowWidth": [1000, 10]}
    assert near(shown(dicom(tmp_path / "c.dcm", VALUES, **first)), 255 * window(VALUES, 2000, 1000, "LINEAR"))


def test_a_modality_table_of_twelve_bits(tmp_path: Path) -> None:
    table = (np.arange(4096)[::-1]).astype(np.uint16)
    path = dicom(tmp_path / "a.dcm", VALUES, BitsStored=12, ModalityLUTSequence=lookup_table(0, table, 12))
    assert near(shown(path), 255 - BY_RANGE)


def test_a_window_that_shows_one_grey_is_none(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", VALUES, BitsStored=12, WindowCenter=60000, WindowWidth=2)
    assert near(shown(path), BY_RANGE)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", [None, "IDENTITY", "INVERSE"])
def test_one_inversion_whoever_asks_for_it(tmp_path: Path, kind: str, shape: str | None) -> None:
    options = {"PhotometricInterpretation": kind, "PresentationLUTShape": shape, "BitsStored": 12}
    pixels = shown(dicom(tmp_path / "a.dcm", VALUES, **options))
    inverted = kind == "MONOCHROME1" or shape == "INVERSE"
    assert near(pixels, 255 - BY_RANGE if inverted else BY_RANGE)


PADDINGS: list[tuple[np.dtype[Any], int, dict[str, int]]] = [
    (np.dtype(np.uint16), 0, {"PixelPaddingValue": 0}),
    (np.dtype(np.uint16), 65535, {"PixelPaddingValue": 65535}),
    (np.dtype(np.uint16), 63000, {"PixelPaddingValue": 62000, "PixelPaddingRangeLimit": 65535}),
    (np.dtype(np.int16), -2000, {"PixelPaddingValue": -2000}),
    (np.dtype(np.int16), -3000, {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -4000}),
]


@pytest.mark.parametrize(("kind", "pad", "elements"), PADDINGS)
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_padding_is_left_out_of_the_range(
    tmp_path: Path, kind: np.dtype[Any], pad: int, elements: dict[str, int], syntax: UID | None
) -> None:
    values = (ramp(top=400) + 1000).astype(kind)
    padded = np.zeros(values.shape, dtype=bool)
    padded[10:30, 10:50] = True  # no border: the corners are not padding
    values[padded] = pad
    more = {} if syntax is None else {"syntax": syntax}
    pixels = shown(dicom(tmp_path / "a.dcm", values, **elements, **more))
    assert near(pixels[~padded], (values[~padded] - 1000) * 255.0 / 400)
    assert not pixels[padded].any()


@pytest.mark.parametrize(("kind", "pad", "elements"), PADDINGS)
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 1200, "WindowWidth": 400}])
@pytest.mark.parametrize("shape", [{}, {"PresentationLUTShape": "INVERSE"}])
@pytest.mark.parametrize("colour", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_on_either_side_of_the_used_values(
    tmp_path: Path,
    kind: np.dtype[Any],
    pad: int,
    elements: dict[str, int],
    window: dict[str, int],
    shape: dict[str, str],
    colour: str,
) -> None:
    values = (ramp(top=400) + 1000).astype(kind)
    values[:5] = pad
    pixels = shown(dicom(tmp_path / "a.dcm", values, kind=colour, **elements, **window, **shape))
    assert not pixels[:5].any()
    assert pixels[5:].max() > 250


def test_a_window_that_shows_padding_alone_is_none(tmp_path: Path) -> None:
    values = (ramp(top=400) + 1000).astype(np.uint16)
    values[:5] = 60000
    elements = {"PixelPaddingValue": 60000, "WindowCenter": 30000, "WindowWidth": 100}
    assert shown(dicom(tmp_path / "a.dcm", values, **elements))[5:].max() == 255


def test_only_padding_is_one_grey(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", np.full((20, 20), 7, np.uint16), PixelPaddingValue=7)
    assert not shown(path).any()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_files_without_preamble_and_prefix_are_read(tmp_path: Path, syntax: UID) -> None:
    values = VALUES.astype(VALUES.dtype.newbyteorder("<" if syntax.is_little_endian else ">"))
    whole = dcmread(dicom(tmp_path / "whole.dcm", VALUES, BitsStored=12))
    dataset, stream = Dataset(), io.BytesIO()
    dataset.update({element.tag: element for element in whole})
    dataset.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"
    implicit = syntax == ImplicitVRLittleEndian
    dataset.save_as(stream, implicit_vr=implicit, little_endian=syntax.is_little_endian)
    assert stream.getvalue()[128:132] != b"DICM"
    for name in ("bare.dcm", "bare.dicom", "bare"):
        path = tmp_path / name
        path.write_bytes(stream.getvalue())
        assert near(shown(path), BY_RANGE), name
    assert inspect(path).mode == "MONOCHROME2, 12 bits"


def test_a_file_that_begins_with_its_meta_information_is_read(tmp_path: Path) -> None:
    path = tmp_path / "meta.dcm"
    path.write_bytes(dicom(tmp_path / "b.dcm", VALUES, BitsStored=12).read_bytes()[132:])
    assert near(shown(path), BY_RANGE)


@pytest.mark.parametrize("data", [b"\x08\x00" + b"rubbish " * 50, b"\x02\x00\x10\x00UI\xff\xff", b"P" * 999])
@pytest.mark.parametrize("name", ["a.dcm", "a.dicom"])
def test_what_only_begins_like_a_data_set_is_refused(tmp_path: Path, data: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(HarnessError, match="not DICOM: it lacks the DICM prefix, and no data set"):
        inspect(path)


def test_a_prefix_without_meta_information_is_read(tmp_path: Path) -> None:
    dataset = dcmread(dicom(tmp_path / "a.dcm", VALUES, BitsStored=12))
    bare = io.BytesIO()
    dataset.file_meta, dataset.preamble = FileMetaDataset(), None
    dataset.save_as(bare, implicit_vr=False, little_endian=True)
    path = tmp_path / "b.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM" + bare.getvalue())
    assert near(shown(path), BY_RANGE)


def test_the_first_of_several_frames_is_shown_and_counted(tmp_path: Path) -> None:
    frames = np.stack([VALUES, VALUES[::-1], VALUES * 0])
    path = dicom(tmp_path / "a.dcm", VALUES, NumberOfFrames=3, BitsStored=12, PixelData=frames.tobytes())
    assert near(shown(path), BY_RANGE)
    assert inspect(path).mode == "MONOCHROME2, 12 bits, first of several frames"
    dataset = dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "b.dcm")
    assert near(shown(tmp_path / "b.dcm"), BY_RANGE)


@pytest.mark.parametrize("sequence", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_windows_of_the_enhanced_kinds(tmp_path: Path, sequence: str) -> None:
    groups, voi, rescale = Dataset(), Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth = 1000, 500
    rescale.RescaleSlope, rescale.RescaleIntercept = 1, -100
    groups.FrameVOILUTSequence = Sequence([voi])
    groups.PixelValueTransformationSequence = Sequence([rescale])
    path = dicom(tmp_path / "a.dcm", VALUES, BitsStored=12, **{sequence: Sequence([groups])})
    assert near(shown(path), 255 * window(VALUES - 100.0, 1000, 500, "LINEAR"))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [10, 12, 15])
def test_fewer_bits_than_the_container(tmp_path: Path, bits: int, signed: bool) -> None:
    low = -(2 ** (bits - 1)) if signed else 0
    values = (ramp(top=2**bits - 1) + low).astype(np.int16 if signed else np.uint16)
    expected = (values.astype(float) - low) * 255 / (2**bits - 1)
    assert near(shown(dicom(tmp_path / "a.dcm", values, BitsStored=bits)), expected)
    raised = (values.astype(np.int32) << (16 - bits)).astype(values.dtype)
    path = dicom(
        tmp_path / "b.dcm", raised, BitsStored=bits, HighBit=15, WindowCenter=low + 300, WindowWidth=200
    )
    assert near(shown(path), 255 * window(values, low + 300, 200, "LINEAR"))
    rubbish = (values.view(np.uint16) & (2**bits - 1)) | (1 << bits)  # an overlay in the unused bits
    assert near(shown(dicom(tmp_path / "c.dcm", rubbish.view(values.dtype), BitsStored=bits)), expected)


def test_elements_that_follow_from_others_may_be_absent(tmp_path: Path) -> None:
    names = ("SamplesPerPixel", "PixelRepresentation", "HighBit")
    path = rewritten(dicom(tmp_path / "a.dcm", VALUES, BitsStored=12), empty(*names))
    assert near(shown(path), BY_RANGE)


def test_an_element_that_cannot_be_parsed_is_one_line_without_the_parser_s_words(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", VALUES)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\x28\x00\x02\x01US", b"\x28\x00\x02\x01\x55\x9c"))
    assert path.read_bytes() != data
    with pytest.raises(HarnessError, match=r"cannot be decoded \(\w+\); the file may be truncated$"):
        inspect(path)


def test_deflated_files_are_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dicom(tmp_path / "d.dcm", VALUES, BitsStored=12, syntax="1.2.840.10008.1.2.1.99")
    assert near(shown(path), BY_RANGE)
    monkeypatch.setattr(reader, "_MOST_INFLATED", 1000)
    with pytest.raises(HarnessError, match=r"d\.dcm is not a readable image: a damaged DICOM header"):
        inspect(path)


COMPRESSED = {
    "1.2.840.10008.1.2.4.57": ("JPEG Lossless, Non-Hierarchical", "python-gdcm"),
    "1.2.840.10008.1.2.4.70": ("JPEG Lossless, Non-Hierarchical, First-Order", "python-gdcm"),
    "1.2.840.10008.1.2.4.80": ("JPEG-LS Lossless", "python-gdcm"),
    "1.2.840.10008.1.2.4.81": ("JPEG-LS Lossy", "python-gdcm"),
    "1.2.840.10008.1.2.4.90": ("JPEG 2000 Image Compression", "pylibjpeg-openjpeg"),
    "1.2.840.10008.1.2.4.201": ("High-Throughput JPEG 2000", "pylibjpeg-openjpeg"),
    "1.2.840.10008.1.2.4.203": ("High-Throughput JPEG 2000", "pylibjpeg-openjpeg"),
    "1.2.840.10008.1.2.5": ("RLE Lossless", "pylibjpeg-rle"),
}


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_a_compression_that_is_not_decoded_says_what_to_install(
    tmp_path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, package = COMPRESSED[syntax]
    decoder = get_decoder(UID(syntax))
    monkeypatch.setattr(decoder, "_available", {})
    path = dicom(tmp_path / "a.dcm", VALUES, syntax=syntax, PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    with pytest.raises(HarnessError, match=rf"compressed as {name}.*; pip install .*{package}$") as caught:
        inspect(path)
    assert "\n" not in str(caught.value)
    assert PATIENT not in str(caught.value)


def test_every_syntax_that_pydicom_decodes_has_advice() -> None:
    from pydicom.pixels.decoders.base import _PIXEL_DATA_DECODERS

    for uid in _PIXEL_DATA_DECODERS:
        if UID(uid).is_compressed:
            assert reader._advice(UID(uid)).split()[2:] != ["pylibjpeg"], UID(uid).name


def test_whatever_plugin_is_installed_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = get_decoder(HTJ2KLossless)
    monkeypatch.setattr(decoder, "_available", {"other": lambda frame, runner: VALUES.tobytes()})
    path = dicom(
        tmp_path / "a.dcm",
        VALUES,
        BitsStored=12,
        syntax=HTJ2KLossless,
        PixelData=encapsulate([b"\xffO\xffQ"]),
    )
    assert near(shown(path), BY_RANGE)


def packed(form: str, values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(
        stream, form, **({"no_jp2": True} if form == "JPEG2000" else {"quality": 95})
    )
    return stream.getvalue()


@pytest.mark.parametrize("damage", ["cut", "half empty", "noise", "empty"])
@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "RLE", "native"])
def test_damaged_pixels_are_refused_in_one_line(tmp_path: Path, kind: str, damage: str) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = dicom(tmp_path / "a.dcm", grey)
    if kind == "RLE":
        rewritten(path, lambda dataset: dataset.compress(RLELossless))
        frame = dcmread(path).PixelData[16:]
    else:
        frame = grey.tobytes() if kind == "native" else packed(kind, grey)
    half = len(frame) // 2
    frame = {
        "cut": frame[:half],
        "half empty": frame[:half] + bytes(0 if kind == "native" else half),
        "noise": np.random.default_rng(1).bytes(half if kind == "native" else len(frame)),
        "empty": bytes(2),
    }[damage]
    syntaxes = {
        "JPEG": "1.2.840.10008.1.2.4.50",
        "JPEG2000": "1.2.840.10008.1.2.4.90",
        "RLE": RLELossless,
        "native": "1.2.840.10008.1.2.1",
    }
    pixels = frame if kind == "native" else encapsulate([frame])
    path = dicom(tmp_path / "b.dcm", grey, syntax=syntaxes[kind], PixelData=pixels)
    with pytest.raises(HarnessError, match=r"b\.dcm is not a readable image: DICOM") as caught:
        inspect(path)
    assert "\n" not in str(caught.value)
    assert not {"Doe", "Jane", "Confidential", "12345678"} & set(str(caught.value).split())


def test_a_file_that_ends_in_its_pixels_is_refused(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    options = {"syntax": "1.2.840.10008.1.2.4.50", "PixelData": encapsulate([packed("JPEG", grey)])}
    for path in (dicom(tmp_path / "a.dcm", grey), dicom(tmp_path / "b.dcm", grey, **options)):
        data = path.read_bytes()
        for share in (0.95, 0.7, 0.5):
            path.write_bytes(data[: int(len(data) * share)])
            with pytest.raises(HarnessError, match=rf"{path.name} is not a readable image: "):
                inspect(path)


def test_an_inflated_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dicom(tmp_path / "a.dcm", VALUES, syntax="1.2.840.10008.1.2.1.99")
    data = path.read_bytes()
    end = 144 + int.from_bytes(data[140:144], "little")
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    path.write_bytes(data[:end] + packer.compress(bytes(10**7)) + packer.flush())
    monkeypatch.setattr(reader, "_MOST_INFLATED", 10**6)
    with pytest.raises(HarnessError, match="a damaged DICOM header"):
        inspect(path)
