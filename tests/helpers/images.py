"""Image files of every kind that the tests decode, sound and broken, made on the spot."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.datasets.images.pixels import ImageFile

PATIENT = "Doe^Jane^Confidential"


def ramp(height: int = 40, width: int = 60, top: int = 255) -> NDArray[np.int64]:
    """Grey values from 0 to ``top``, rising from left to right and a little from row to row."""
    rising = np.arange(height * width).reshape(width, height).T
    return (rising * top) // (height * width - 1)


def source_of(path: Path, where: str = "list.csv, line 2", **more: Any) -> ImageFile:
    """A file as an adapter names it."""
    return ImageFile(path, where, hashlib.sha256(path.read_bytes()).hexdigest(), **more)


def jpeg(path: Path, seed: int = 0, size: tuple[int, int] = (60, 40), mode: str = "RGB", **more: Any) -> Path:
    """A JPEG of coarse noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **more)
    return path


def slowly(path: Path) -> Image.Image:
    """An image that takes its time, so that a process can be killed between two."""
    time.sleep(0.02)
    return Image.open(path)


def truncated(path: Path, keep: float = 0.6) -> Path:
    """The same file without its end."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def dicom(path: Path, values: NDArray[Any], **elements: Any) -> Path:
    """A DICOM file of grey values (H, W) or RGB (H, W, 3), with a patient's name in its header.

    Args:
        elements: keyword -> value; None leaves the element out.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = elements.pop("syntax", ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    deep = values.dtype.itemsize * 8
    facts = {
        "PatientName": PATIENT,
        "PatientID": "12345678",
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "SamplesPerPixel": 1 if values.ndim == 2 else 3,
        "PhotometricInterpretation": "MONOCHROME2" if values.ndim == 2 else "RGB",
        "PlanarConfiguration": None if values.ndim == 2 else 0,
        "BitsAllocated": deep,
        "BitsStored": deep,
        "HighBit": None,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        "PixelData": values.tobytes(),
        **elements,
    }
    if facts["HighBit"] is None:
        facts["HighBit"] = int(facts["BitsStored"]) - 1
    for name, value in facts.items():
        if value is not None:
            setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def lookup_table(first: int, table: NDArray[np.uint16], bits: int) -> Any:
    """A VOI LUT sequence of one item."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    item = Dataset()
    item.LUTDescriptor = [len(table), first, bits]
    item.LUTData = table.astype("<u2").tobytes()
    return Sequence([item])
