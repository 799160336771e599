"""The image in a DICOM file, as its own window shows it. Nothing else of the file is read or repeated.

In the order of the standard (PS3.3 C.7.6.3, C.11.1, C.11.2): stored values, modality LUT or rescale, the
first VOI LUT or else the first window (LINEAR, LINEAR_EXACT, SIGMOID), MONOCHROME1 inverted. Without a usable
window the lowest value is black and the highest white. Pixels with RGB or YBR colour are shown as stored.

Errors are worded here: those of the parser may repeat what stands in the header.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.datasets.images.convert import check_shape, stretched

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

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
    "ModalityLUTSequence",
    "RescaleIntercept",
    "RescaleSlope",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "PixelData",
)
"""All that is parsed; the elements of patient and study are skipped unread."""

_NEEDED = ("PhotometricInterpretation", "Rows", "Columns", "BitsStored", "PixelData")
_DEFLATED, _META = b"1.2.840.10008.1.2.1.99", 2048
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_PACKAGES = {"JPEG 2000": "pylibjpeg-openjpeg", "JPEG": "pylibjpeg-libjpeg", "RLE": "pylibjpeg-rle"}
"""What a transfer syntax is called -> the package that decodes it; the first that fits."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How pixels are stored."""

    kind: str
    frames: int
    rows: int
    columns: int
    bits: int


def dicom_image(data: bytes) -> tuple[Image.Image, str]:
    """The image, ``L`` or ``RGB``, and what it was stored as, e.g. ``MONOCHROME1, 12 bits``.

    Raises:
        ValueError: not DICOM, no pixels, several frames, a colour model or compression that cannot be read, a
            image too large or too small.
    """
    header = _header(data)
    form = _form(header)
    if form.kind not in _GREY + _COLOUR:
        raise ValueError("DICOM whose photometric interpretation is none of " + ", ".join(_GREY + _COLOUR))
    if form.frames != 1:
        raise ValueError(f"DICOM with {form.frames} frames, not one image")
    check_shape(form.columns, form.rows)
    values = _decoded(header)
    stored = f"{form.kind}, {form.bits} bits"
    if form.kind in _COLOUR:
        return Image.fromarray(_eight_bit_colour(values, form.bits)), stored
    try:
        brightness = _shown(values, header)
    except Exception as error:
        raise ValueError(f"DICOM whose tables cannot be applied ({type(error).__name__})") from None
    if form.kind == "MONOCHROME1":
        brightness = 1.0 - brightness
    return Image.fromarray(np.rint(brightness * 255.0).astype(np.uint8)), stored


def _header(data: bytes) -> Dataset:
    """The elements that pixels need.

    Raises:
        ValueError: the content is not DICOM, or has no pixels.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    if _DEFLATED in data[:_META]:  # it would be inflated whole before its size can be read
        raise ValueError("deflated DICOM, which is not read")
    try:
        header = dcmread(BytesIO(data), specific_tags=list(_TAGS))
        absent = [tag for tag in _NEEDED if tag not in header]
    except InvalidDicomError:
        raise ValueError("not DICOM: it lacks the DICM prefix") from None
    except Exception as error:
        raise ValueError(f"a damaged DICOM header ({type(error).__name__})") from None
    if absent:
        raise ValueError(f"DICOM without pixels: no {', '.join(absent)}")
    return header


def _form(header: Dataset) -> _Form:
    try:
        return _Form(
            str(header.PhotometricInterpretation),
            int(header.get("NumberOfFrames") or 1),
            int(header.Rows),
            int(header.Columns),
            int(header.BitsStored),
        )
    except Exception as error:
        raise ValueError(f"a damaged DICOM header ({type(error).__name__})") from None


def _decoded(header: Dataset) -> NDArray[Any]:
    """Stored values (H, W) or (H, W, 3), YBR turned into RGB."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import UID

    syntax = UID(str(header.file_meta.get("TransferSyntaxUID", "")))
    try:
        available = get_decoder(syntax).is_available if syntax.is_compressed else True
    except (NotImplementedError, ValueError):
        raise ValueError("DICOM of an unknown or missing transfer syntax") from None
    advice = next((name for part, name in _PACKAGES.items() if part in syntax.name), "pylibjpeg")
    if not available:
        raise ValueError(f"compressed as {syntax.name}; pip install pylibjpeg {advice}")
    try:
        return np.asarray(pixel_array(header))
    except Exception as error:
        reason = f"DICOM whose pixels cannot be decoded ({type(error).__name__})"
        if syntax.is_compressed:
            reason += f", compressed as {syntax.name}; pip install pylibjpeg {advice} may help"
        else:
            reason += "; the file may be truncated"
        raise ValueError(reason) from None


def _shown(values: NDArray[Any], header: Dataset) -> NDArray[np.float64]:
    """Grey values (H, W) in [0, 1], before MONOCHROME1 is inverted."""
    from pydicom.pixels.processing import apply_modality_lut
    from pydicom.uid import UID

    if values.ndim != 2:
        raise ValueError("grey values with several samples a pixel")
    values = apply_modality_lut(values, header)
    tables = header.get("VOILUTSequence")
    if tables:
        syntax = UID(str(header.file_meta.TransferSyntaxUID))
        return _through_table(values, tables[0], syntax.is_little_endian)
    center, width = (_first(header.get(name)) for name in ("WindowCenter", "WindowWidth"))
    function = str(header.get("VOILUTFunction") or "LINEAR").upper()
    if center is None or width is None or width < (1.0 if function == "LINEAR" else 1e-9):
        return stretched(values) / 255.0
    return window(values, center, width, function)


def window(values: NDArray[Any], center: float, width: float, function: str) -> NDArray[np.float64]:
    """Values through a window, to [0, 1]: PS3.3 C.11.2.1.2 and C.11.2.1.3.

    Raises:
        ValueError: another function than LINEAR, LINEAR_EXACT and SIGMOID.
    """
    numbers = values.astype(np.float64)
    if function == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(-4.0 * (numbers - center) / width, -700.0, 700.0))))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    elif function != "LINEAR_EXACT":
        raise ValueError("an unknown VOI LUT function")
    # A LINEAR window of width 1 is a threshold.
    return (
        np.clip((numbers - center) / width + 0.5, 0.0, 1.0)
        if width
        else (numbers > center).astype(np.float64)
    )


def _through_table(values: NDArray[Any], item: Any, little_endian: bool) -> NDArray[np.float64]:
    """Values through a VOI LUT, to [0, 1]: PS3.3 C.11.2.1.1; beyond its ends the table goes on as it ends."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    data = item.LUTData
    entries = entries or 2**16
    if isinstance(data, bytes):  # words; some writers pack tables of 8 bits as bytes
        wide = "<u2" if little_endian else ">u2"
        table: NDArray[Any] = np.frombuffer(data, dtype=wide if len(data) >= 2 * entries else np.uint8)
    else:
        table = np.asarray(data, dtype=np.int64)
    if len(table) < entries or not 1 <= bits <= 16:
        raise ValueError("a short table")
    # The descriptor's second number is signed where the values are, and read as unsigned by some writers.
    first = first - 2**16 if first >= 2**15 and values.min() < 0 else first
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, entries - 1)
    return np.clip(table[index] / (2**bits - 1), 0.0, 1.0)


def _first(value: Any) -> float | None:
    """The first of one or several numbers; None where there is none."""
    if value is None or value == "":
        return None
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def _eight_bit_colour(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    if values.ndim != 3 or values.shape[2] != 3:
        raise ValueError("DICOM in colour without three samples a pixel")
    return (values >> max(bits - 8, 0)).astype(np.uint8)
