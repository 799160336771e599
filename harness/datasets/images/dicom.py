"""The image in a DICOM file, as its own window shows it. Nothing else of the file is read or repeated.

Of several frames the first is read. Grey values are shown as ``harness.datasets.images.dicom_grey`` says.
Pixels with RGB or YBR colour are shown as stored. An element that is empty counts as absent.

A file without preamble and prefix is read if a data set with pixels follows. Transfer syntaxes are those that
pydicom and the installed plugins decode; the extra ``dicom`` of this package has plugins for all of them.

Errors are worded here: those of the parser may repeat what stands in the header.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.core.packages import require_packages
from harness.datasets.images.convert import AbsentDecoderError, check_end, check_shape, stretched
from harness.datasets.images.dicom_grey import GREY_TAGS, brightness, number

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

_TAGS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
    *GREY_TAGS,
)
"""All that is parsed; the elements of patient and study are skipped unread."""

_NEEDED = ("PhotometricInterpretation", "Rows", "Columns", "BitsStored", "PixelData")
_BYTE = 8
_DEFLATED = "1.2.840.10008.1.2.1.99"
_RLE = "1.2.840.10008.1.2.5"
_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_PREFIX, _META, _MOST_INFLATED = slice(128, 132), 2048, 2**28
_META_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_PACKAGES = {
    "High-Throughput": "pylibjpeg pylibjpeg-openjpeg",
    "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg",
    "JPEG": "python-gdcm",
    "RLE": "pylibjpeg pylibjpeg-rle",
}
"""Part of a transfer syntax's name -> the packages that decode it; the first that fits."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How pixels are stored."""

    kind: str
    frames: int
    rows: int
    columns: int
    bits: int

    def __str__(self) -> str:
        return f"{self.kind}, {self.bits} bits" + (", first of several frames" if self.frames > 1 else "")


def dicom_image(data: bytes) -> tuple[Image.Image, str]:
    """The image, ``L`` or ``RGB``, and what it was stored as, e.g. ``MONOCHROME1, 12 bits``.

    Raises:
        ValueError: not DICOM, no pixels, a colour model or compression that cannot be read, pixels that are
            damaged, an image too large or too small.
    """
    header = _header(data)
    form = _form(header)
    if form.kind not in _GREY + _COLOUR:
        raise ValueError("DICOM whose photometric interpretation is none of " + ", ".join(_GREY + _COLOUR))
    check_shape(form.columns, form.rows)
    values = _first_frame(header)
    if form.kind in _COLOUR:
        return Image.fromarray(_eight_bit_colour(values, form.bits)), str(form)
    try:
        shown = brightness(values, header)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"DICOM whose tables cannot be applied ({type(error).__name__})") from None
    return Image.fromarray(np.rint(shown * 255.0).astype(np.uint8)), str(form)


def _header(data: bytes) -> Dataset:
    """The elements that pixels need.

    Raises:
        ValueError: the content is not DICOM, or has no pixels.
    """
    require_packages("DICOM", "dicom", "pydicom")
    from pydicom import dcmread

    prefixed = data[_PREFIX] == b"DICM"
    lacking = "not DICOM: it lacks the DICM prefix, and no data set with pixels follows"
    try:
        if prefixed and _DEFLATED.encode() in data[:_META]:
            header = _inflated(data)
        else:
            header = dcmread(BytesIO(data), specific_tags=list(_TAGS), force=not prefixed)
        absent = [tag for tag in _NEEDED if header.get(tag) in (None, "", b"")]
    except MemoryError:
        raise
    except Exception as error:
        reason = f"a damaged DICOM header ({type(error).__name__})" if prefixed else lacking
        raise ValueError(reason) from None
    if absent:
        raise ValueError(f"DICOM without pixels: no {', '.join(absent)}" if prefixed else lacking)
    return header


def _inflated(data: bytes) -> Dataset:
    """The header of a deflated file, which is inflated up to a limit.

    Raises:
        ValueError: more than the limit.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag
    from pydicom.uid import ExplicitVRLittleEndian

    length = data[_PREFIX.stop : _PREFIX.stop + 12]
    if length[:8] != _META_LENGTH:
        raise ValueError("no length of the meta information")
    start = _PREFIX.stop + 12 + int.from_bytes(length[8:], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(data[start:], _MOST_INFLATED)
    if inflater.unconsumed_tail:
        raise ValueError("more than the limit")
    header = read_dataset(BytesIO(content), False, True, specific_tags=[Tag(name) for name in _TAGS])
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return header


def _form(header: Dataset) -> _Form:
    """How pixels are stored. Elements that are absent or empty, and follow from others, are filled in."""
    try:
        kind = str(header.PhotometricInterpretation).strip().upper()
        bits = int(header.BitsStored)
        header.PhotometricInterpretation = kind
        header.NumberOfFrames = frames = int(header.get("NumberOfFrames") or 1)
        for name, value in (
            ("SamplesPerPixel", 3 if kind in _COLOUR else 1),
            ("PlanarConfiguration", 0),
            ("BitsAllocated", 8 if bits <= 8 else 16),
            ("PixelRepresentation", 0),
        ):
            if header.get(name) in (None, ""):
                setattr(header, name, value)
        if not 1 <= bits <= int(header.BitsAllocated):
            raise ValueError("no number of bits")
        return _Form(kind, frames, int(header.Rows), int(header.Columns), bits)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"a damaged DICOM header ({type(error).__name__})") from None


def _first_frame(header: Dataset) -> NDArray[Any]:
    """Stored values (H, W) or (H, W, 3) of the first frame, YBR turned into RGB."""
    from pydicom.encaps import get_frame
    from pydicom.pixels.utils import pixel_array

    syntax = _syntax(header)
    advice = _advice(syntax)
    if not syntax.is_compressed and _has_more_rows(header):
        raise ValueError("DICOM with more pixels than its header says")
    try:
        unused = 0 if syntax.is_compressed and syntax != _RLE else _unused_bits(header)
        header.BitsStored += unused
        if syntax in _JPEG:
            check_end(get_frame(header.PixelData, 0, number_of_frames=int(header.NumberOfFrames)))
        return np.asarray(pixel_array(header, index=0)) >> unused
    except MemoryError:
        raise
    except Exception as error:
        reason = f"DICOM whose pixels cannot be decoded ({type(error).__name__})"
        if syntax.is_compressed:
            reason += f", compressed as {syntax.name}; the file may be damaged, or {advice} may help"
        else:
            reason += "; the file may be truncated"
        raise ValueError(reason) from None


def _has_more_rows(header: Dataset) -> bool:
    """Whether pixels are left over, beyond a few bytes of padding: rows or frames that no element counts."""
    from pydicom.pixels.utils import get_expected_length

    row = int(header.Columns) * int(header.SamplesPerPixel) * int(header.BitsAllocated) // 8
    return len(header.PixelData) - get_expected_length(header) >= max(row, 2)


def _syntax(header: Dataset) -> UID:
    """The transfer syntax, which can be decoded here.

    Raises:
        ValueError: it cannot; names it and what to install.
    """
    from pydicom import uid
    from pydicom.pixels.decoders.base import get_decoder

    syntax = uid.UID(str(header.file_meta.get("TransferSyntaxUID") or ""))
    if not syntax:
        if header["PixelData"].is_undefined_length:
            raise ValueError("compressed DICOM that does not name its transfer syntax")
        implicit, little = header.original_encoding
        native = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = syntax = uid.ImplicitVRLittleEndian if implicit else native
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        if syntax.is_private or syntax.name == str(syntax):
            raise ValueError("DICOM of an unknown transfer syntax") from None
        raise ValueError(f"DICOM stored as {syntax.name}, which is not read") from None
    if not available:
        raise AbsentDecoderError(f"compressed as {syntax.name}; {_advice(syntax)}")
    return syntax


def _advice(syntax: UID) -> str:
    packages = next((names for part, names in _PACKAGES.items() if part in syntax.name), "pylibjpeg")
    return f"pip install {packages}"


def _unused_bits(header: Dataset) -> int:
    """How many bits lie below those of a pixel, where its highest bit is not the highest stored one."""
    high = number(header.get("HighBit"))
    if high is None or not header.BitsStored <= high < header.BitsAllocated:
        return 0
    return int(high) + 1 - int(header.BitsStored)


def _eight_bit_colour(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    if values.ndim != 3 or values.shape[2] != 3:
        raise ValueError("DICOM in colour without three samples a pixel")
    if bits <= _BYTE:
        return values.astype(np.uint8)
    # Many writers declare 16 bits and use 12. All three colours are stretched alike.
    return stretched(values.reshape(len(values), -1)).reshape(values.shape)
