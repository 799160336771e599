"""The patient behind a phantom: what is drawn, before it is drawn."""

from __future__ import annotations

from dataclasses import dataclass

RENDERER_VERSION = 6
"""Raise it whenever a pixel changes: caches and the dataset's fingerprint carry it."""


@dataclass(frozen=True, slots=True)
class Patient:
    """What the renderer reads of a study.

    Attributes:
        sex: ``female``, ``male`` or None.
        acquisition: DICOM cells in the order of ``harness.datasets.iu.reports.ACQUISITION_FIELDS``; empty for
            a neutral device.
    """

    study_id: str
    codes: tuple[str, ...]
    age: float | None = None
    sex: str | None = None
    acquisition: tuple[str, ...] = ()
