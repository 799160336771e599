"""What reads tables, texts and folders of images. The names of ``__all__`` are what datasets of plugins use.

They are imported when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.datasets.images.pixels import Digests, ImageFile
    from harness.datasets.readers.folders import (
        FolderDataset,
        Record,
        Release,
        inside,
        read_table,
        root_of,
    )
    from harness.datasets.readers.profiles import Profile, one_line
    from harness.datasets.readers.records import Listing, Problem, ReportRecord
    from harness.datasets.readers.report_dataset import ImageTree, ReportDataset

__all__ = [
    "Digests",
    "FolderDataset",
    "ImageFile",
    "ImageTree",
    "Listing",
    "Problem",
    "Profile",
    "Record",
    "Release",
    "ReportDataset",
    "ReportRecord",
    "inside",
    "one_line",
    "read_table",
    "root_of",
]

_READERS = ("folders", "profiles", "records", "report_dataset")


def __getattr__(name: str) -> Any:
    """A name of ``__all__``, imported now."""
    if name in __all__:
        for module in ("harness.datasets.images.pixels", *(f"{__name__}.{each}" for each in _READERS)):
            if hasattr(home := import_module(module), name):
                return getattr(home, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
