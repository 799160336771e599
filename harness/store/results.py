"""One printed number, and the result file of one leaderboard row."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from harness.core.errors import CorruptFileError
from harness.core.files import clear_place, digest_of, open_own, write_atomic
from harness.statistics.estimate import Estimate
from harness.store.manifest import Manifest, ReliabilityBins

Status = Literal["ok", "failed", "unavailable", "n/a"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One printed number: the long form of every leaderboard.

    Attributes:
        group: what the metric looks at, e.g. ``report text`` or ``diagnosis``; each group has its own table.
        higher_is_better: direction of the metric; None where neither more nor less is better.
        key: result file of the row below ``results``, without its suffix: what ``harness reproduce`` takes.
        test_set: digest of what was scored against; numbers with different ones are not compared.
    """

    dataset: str
    method: str
    preset: str
    seed: int
    drop: str
    mechanism: str
    rate: float
    metric: str
    value: float | None
    ci95: tuple[float, float] | None
    n: int
    signature: str
    status: Status = "ok"
    detail: str = ""
    control: bool = False
    group: str = ""
    higher_is_better: bool | None = True
    key: str = ""
    test_set: str = ""

    @property
    def estimate(self) -> Estimate | None:
        """Value and interval in one; None without a value, and NaN at both ends without an interval."""
        if self.value is None:
            return None
        return Estimate(self.value, *(self.ci95 or (math.nan, math.nan)), self.n)


_STRICT = TypeAdapter(Measurement)
_ROW_FIELDS = tuple(field.name for field in fields(Measurement))


@dataclass(frozen=True, slots=True)
class StoredResult:
    """One leaderboard row as its result file holds it.

    Attributes:
        key: the file below ``results``, without its suffix.
        reliability: modality state -> bins of a reliability diagram; empty for methods without probabilities.
        checksum: that the file ends with, and that fits.
        replicates_checksum: of the file of bootstrap replicates beside it; empty where the row has none.
    """

    path: Path
    key: str
    rows: list[Measurement]
    manifest: Manifest
    reliability: Mapping[str, ReliabilityBins]
    checksum: str = ""
    replicates_checksum: str = ""

    @property
    def time(self) -> tuple[int, int]:
        """When it was written: seconds, then nanoseconds, for results of the same second."""
        return self.manifest.unix_time, self.path.stat().st_mtime_ns

    def replicates(self) -> dict[str, NDArray[np.float32]]:
        """Metric -> bootstrap replicates (R, B), one line per missing rate; empty where there are none.

        Raises:
            CorruptFileError: they are not what was written with these numbers.
        """
        path = self.path.with_suffix(".npz")
        if not path.exists():
            return {}
        check_replicates(path, self.replicates_checksum)
        try:
            with open_own(path) as stream, np.load(stream, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise _not_replicates(path) from error


def write_replicates(path: Path, replicates: Mapping[str, NDArray[np.float32]]) -> str:
    """Atomically write arrays (R, B) per metric; the checksum of the file."""
    clear_place(path)
    write_atomic(path, lambda stream: np.savez(stream, **replicates))  # type: ignore[arg-type]
    return digest_of(path)


def check_replicates(path: Path, checksum: str) -> None:
    """Compare a file of replicates, if it is there, with the checksum that its result holds.

    Raises:
        CorruptFileError: it is not what was written with the numbers of the result.
    """
    if os.path.lexists(path) and digest_of(path) != checksum:
        raise _not_replicates(path)


def _not_replicates(path: Path) -> CorruptFileError:
    return CorruptFileError(f"{path}: not the bootstrap replicates of its result", "delete it and run again")


def row_of(values: Mapping[str, Any]) -> Measurement:
    """A number from JSON, without keys that this version does not know.

    Control characters become spaces: a terminal would execute them.
    """
    fields_of_row = {name: visible(values[name]) for name in _ROW_FIELDS if name in values}
    ci95 = values["ci95"]
    return Measurement(**fields_of_row | {"ci95": None if ci95 is None else (ci95[0], ci95[1])})


def checked_row(values: Mapping[str, Any]) -> Measurement:
    """``row_of`` for a foreign file: every field is of its type, so that no text stands for a number.

    Raises:
        TypeError: the row is no object.
        ValidationError: a field is absent or of another type.
    """
    fields_of_row = {name: visible(values[name]) for name in _ROW_FIELDS if name in values}
    return _STRICT.validate_json(json.dumps(fields_of_row), strict=True)


def visible(value: Any, also: str = "") -> Any:
    """A value of a foreign JSON file whose texts hold no escape codes and no marks of direction.

    Args:
        value: of any depth.
        also: characters that stay, though they show nothing.
    """
    if isinstance(value, str):
        if value.isprintable():
            return value
        return "".join(each if each.isprintable() or each in also else " " for each in value)
    if isinstance(value, dict):
        return {visible(name): visible(each, also) for name, each in value.items()}
    return [visible(each, also) for each in value] if isinstance(value, list) else value
