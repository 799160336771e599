"""The data of the doubles, in a module that a box hides."""

from __future__ import annotations

from dataclasses import replace

from harness.core.types import Study
from tests.helpers.doubles import drawn_long
from tests.helpers.sin_data import SinData


class LongData(SinData):
    """The studies of ``SinData``, with long reports."""

    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, name="long-data", fingerprint="long-1")

    def studies(self, split: str) -> list[Study]:
        return drawn_long(split)
