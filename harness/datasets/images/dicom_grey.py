"""Grey values of a DICOM image as its header says that they are shown.

In the order of the standard (PS3.3 C.7.6.3, C.11.1, C.11.2, C.11.6): stored values, modality LUT or rescale,
the first usable VOI LUT or else the first usable window (LINEAR, LINEAR_EXACT, SIGMOID), inversion of
MONOCHROME1 and of the presentation LUT shape INVERSE. The two are one inversion where a file has both, as
mammograms and digital radiographs have. A frame's own functional groups count where the header has no value.

Without a usable window, values go through ``harness.datasets.images.convert.stretched``. Pixel padding, of
one value or of a range in either direction, does not count and is shown black, on whichever side of the used
values it lies. An element that is empty counts as absent, and so does a table or window that shows one grey
of an image that has several.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.images.convert import stretched

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TRANSFORMATION, _WINDOW = "PixelValueTransformationSequence", "FrameVOILUTSequence"
_GROUPS = {
    "RescaleSlope": _TRANSFORMATION,
    "RescaleIntercept": _TRANSFORMATION,
    "WindowCenter": _WINDOW,
    "WindowWidth": _WINDOW,
    "VOILUTFunction": _WINDOW,
}
"""Element -> the functional group that has it in files of the enhanced kinds."""
_FRAMES = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
GREY_TAGS = (
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "PresentationLUTShape",
    *_GROUPS,
    *_FRAMES,
)
"""Elements that this module reads, beside those of the pixels."""


def brightness(values: NDArray[Any], header: Dataset) -> NDArray[np.float64]:
    """Stored values (H, W) to grey values in [0, 1]; 1 is white.

    Raises:
        Exception: a table or number of the header makes no sense.
    """
    if values.ndim != 2:
        raise ValueError("grey values with several samples a pixel")
    padding = _padding(values, header)
    shown = _through_voi(_rescaled(values, header), header, padding)
    inverted = header.PhotometricInterpretation == "MONOCHROME1"
    inverted |= str(header.get("PresentationLUTShape") or "").strip().upper() == "INVERSE"
    shown = 1.0 - shown if inverted else shown
    if padding is not None:
        shown[padding] = 0.0
    return shown


def _rescaled(values: NDArray[Any], header: Dataset) -> NDArray[np.float64]:
    """Values after the modality LUT, or after slope and intercept."""
    table = _table(header, "ModalityLUTSequence")
    if table is not None:
        return _looked_up(values, table, header).astype(np.float64)
    slope, intercept = (number(_element(header, name)) for name in ("RescaleSlope", "RescaleIntercept"))
    # A slope of 0 would make one grey of all.
    return np.asarray(values.astype(np.float64) * (slope or 1.0) + (intercept or 0.0))


def _through_voi(
    values: NDArray[np.float64], header: Dataset, padding: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """Values to [0, 1] by the first VOI LUT or window that shows something, or by their range."""
    own = slice(None) if padding is None or padding.all() else ~padding
    several = _differ(values[own])
    table = _table(header, "VOILUTSequence")
    if table is not None:
        bits = int(_numbers(table.LUTDescriptor)[2] or 0)
        if not 1 <= bits <= 16:
            raise ValueError("a table of no bits")
        shown = np.clip(_looked_up(values, table, header) / (2**bits - 1), 0.0, 1.0)
        if not several or _differ(shown[own]):
            return shown
    function = str(_element(header, "VOILUTFunction") or "LINEAR").strip().upper()
    smallest = 1.0 if function == "LINEAR" else 1e-9
    for center, width in _windows(header):
        if width >= smallest:
            shown = window(values, center, width, function)
            if not several or _differ(shown[own]):
                return shown
    return stretched(values, padding) / 255.0


def _differ(values: NDArray[np.float64]) -> bool:
    return bool(values.min() < values.max())


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


def _windows(header: Dataset) -> Iterator[tuple[float, float]]:
    """Center and width of every window that has both."""
    centers, widths = (_numbers(_element(header, name)) for name in ("WindowCenter", "WindowWidth"))
    for center, width in zip(centers, widths, strict=False):
        if center is not None and width is not None:
            yield center, width


def _padding(values: NDArray[Any], header: Dataset) -> NDArray[np.bool_] | None:
    """Which stored values (H, W) are padding, PS3.3 C.7.5.1.1.2; None where the header names none."""
    first = number(header.get("PixelPaddingValue"))
    if first is None:
        return None
    last = number(header.get("PixelPaddingRangeLimit"))
    ends = sorted((int(first), int(first if last is None else last)))
    # Some writers store the value with another sign or other unused bits than the pixels.
    step = 2 ** int(header.BitsStored)
    low, high = (end % step for end in ends)
    wrapped = values.astype(np.int64) % step
    inside = (values >= ends[0]) & (values <= ends[1])
    return inside | ((wrapped >= low) & (wrapped <= high)) if low <= high else inside


def _table(header: Dataset, name: str) -> Any:
    """The first item of a sequence of tables that has a descriptor and data, or None."""
    for item in header.get(name) or ():
        described = None not in (descriptor := _numbers(item.get("LUTDescriptor"))) and len(descriptor) == 3
        if described and item.get("LUTData") not in (None, "", b"", []):
            return item
    return None


def _looked_up(values: NDArray[Any], item: Any, header: Dataset) -> NDArray[np.int64]:
    """Values through a table, PS3.3 C.11.2.1.1; beyond its ends it goes on as it ends."""
    entries, first, bits = (int(each or 0) for each in _numbers(item.LUTDescriptor))
    entries = entries or 2**16
    data = item.LUTData
    if isinstance(data, bytes):  # words; some writers pack tables of 8 bits as bytes
        wide = "<u2" if header.file_meta.TransferSyntaxUID.is_little_endian else ">u2"
        table: NDArray[Any] = np.frombuffer(data, dtype=wide if len(data) >= 2 * entries else np.uint8)
    else:
        table = np.asarray(data, dtype=np.int64)
    if len(table) < entries or bits > 16:
        raise ValueError("a short table")
    # The descriptor's second number is signed where the values are, and read as unsigned by some writers.
    first = first - 2**16 if first >= 2**15 and values.min() < 0 else first
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, entries - 1)
    return np.asarray(table[index], dtype=np.int64)


def _element(header: Dataset, name: str) -> Any:
    """An element of the header, or else of the first frame's functional groups; None where it is empty."""
    value = header.get(name)
    if any(each not in (None, "") for each in _several(value)):
        return value
    for frames in _FRAMES:
        for groups in list(header.get(frames) or ())[:1]:
            for group in list(groups.get(_GROUPS[name]) or ())[:1]:
                if group.get(name) not in (None, ""):
                    return group.get(name)
    return None


def number(value: Any) -> float | None:
    """The first of one or several numbers; None where there is none."""
    return next(iter(_numbers(value)), None)


def _numbers(value: Any) -> list[float | None]:
    """What an element holds: finite numbers, and None for each that is empty or not finite.

    Raises:
        ValueError: text that is no number.
    """
    if isinstance(value, bytes):  # words whose sign the parser left open
        value = np.frombuffer(value, dtype="<u2").tolist()
    numbers = [None if each in (None, "") else float(each) for each in _several(value)]
    return [each if each is not None and np.isfinite(each) else None for each in numbers]


def _several(value: Any) -> list[Any]:
    """The values of an element; none where it is empty."""
    if value is None or value in ("", b""):
        return []
    return [value] if isinstance(value, str | bytes) or not hasattr(value, "__len__") else list(value)
