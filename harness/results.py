"""The store: one folder a cell, every finished file sealed with its checksum, one result file a row.

Layout below ``--store``::

    store.json                                      schema version
    cells/DATASET/METHOD/PRESET-sSEED-FINGERPRINT/
        cell.json                                   what was trained, on what, with which code
        training/                                   resumable state of an unfinished fit
        checkpoint/                                 the fitted method; sealed
        predictions/[shuffled-]STATE.jsonl          a line a study; sealed when complete
        predictions/imputed-...                     of and with generated views: see harness.imputation
        statistics/[shuffled-]STATE/METRIC-HASH.npy per-study rows (n, k); sealed
    results/DATASET/METHOD/RUN.json                 the printed numbers of one leaderboard row, its manifest
    results/DATASET/METHOD/RUN.npz                  their bootstrap replicates, for paired ranks
    audits/DATASET/METHOD.json                      the verdict of harness audit
    timings/DATE-PROCESS.seconds.json               what the time of one run went into
    downstream/DATASET/lite0-HASH.npy               features of 128 pictures (n, 1280); sealed
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self
from zipfile import BadZipFile

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from harness.errors import CorruptFileError, HarnessError
from harness.files import (
    clear_disk_errors,
    is_sealed,
    private_folder,
    read_json,
    seal,
    verify,
    write_atomic,
    write_json,
)

SCHEMA = 1

_LOCK_SECONDS = 1.0
"""How long a run waits for a lock before it says who holds it."""

_TEMPORARY = ".*.tmp"
"""What files are called until they are whole."""

_LONGEST = 220
"""Characters of a file name; with suffixes and those of temporaries it stays below the usual 255."""

Status = Literal["ok", "failed", "unavailable", "n/a"]


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One printed number: the long form of every leaderboard.

    Attributes:
        group: what the metric looks at, e.g. ``report text`` or ``diagnosis``; each group has its own table.
        higher_is_better: direction of the metric.
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
    higher_is_better: bool = True
    key: str = ""
    test_set: str = ""


_ROW_FIELDS = tuple(field.name for field in fields(ResultRow))


@dataclass(frozen=True, slots=True)
class StoredResult:
    """One leaderboard row as its result file holds it."""

    path: Path
    key: str
    rows: list[ResultRow]
    manifest: Mapping[str, Any]
    reliability: Mapping[str, Any]

    def replicates(self) -> dict[str, NDArray[np.float32]]:
        """Metric -> bootstrap replicates (R, B), a line per missing rate; empty where there are none."""
        path = self.path.with_suffix(".npz")
        if not path.exists():
            return {}
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise CorruptFileError(f"{path}: not bootstrap replicates", "delete it and run again") from error


def row_of(values: Mapping[str, Any]) -> ResultRow:
    """A number from JSON; keys that this version does not know are left out, and so are control characters.

    A terminal would obey them.
    """
    known = {name: _visible(values[name]) for name in _ROW_FIELDS if name in values}
    ci95 = values["ci95"]
    return ResultRow(**known | {"ci95": None if ci95 is None else (ci95[0], ci95[1])})


class Store:
    """A results store on disk; opening one creates it or checks its schema."""

    def __init__(self, root: Path) -> None:
        self.root = root
        marker = root / "store.json"
        if not marker.exists():
            # Another run may make the same store meanwhile, or have been killed while it did.
            if root.exists() and not _is_new(root) and not marker.exists():
                raise HarnessError(f"--store {root}: exists and is not a results store", "choose another")
            private_folder(root)
            with suppress(FileNotFoundError):  # another run has made the store and cleared up
                write_json(marker, {"schema": SCHEMA})
        _check_schema(f"{root}: a store", read_json(marker))

    def enter(self) -> Self:
        """Be known as a run on this store for as long as this object lives.

        A run that is alone removes what killed ones were writing; those in cells go when a cell is locked.
        """
        with clear_disk_errors(self.root):
            presence = os.open(self.root / ".runs.lock", os.O_RDWR | os.O_CREAT, 0o600)
        weakref.finalize(self, os.close, presence)
        with suppress(OSError):
            fcntl.flock(presence, fcntl.LOCK_EX | fcntl.LOCK_NB)
            names = ("masks", "results", "audits", "samples", "tables", "timings", "downstream")
            folders = [self.root / name for name in names]
            for left in (*self.root.glob(_TEMPORARY), *(p for f in folders for p in f.rglob(_TEMPORARY))):
                left.unlink(missing_ok=True)
        with suppress(OSError):  # file systems without locks are refused where a cell needs one
            fcntl.flock(presence, fcntl.LOCK_SH)
        return self

    def cell(self, dataset: str, method: str, preset: str, seed: int, identity: Mapping[str, Any]) -> Cell:
        """The cell of one trained method; ``identity`` is everything that its weights depend on."""
        text = json.dumps(identity, sort_keys=True, default=str)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:12]
        name = f"{preset}-s{seed}-{fingerprint}"
        cell = Cell(self.root / "cells" / slug(dataset) / slug(method) / name)
        description = cell.directory / "cell.json"
        if not description.exists():
            write_json(description, {"fingerprint": fingerprint, **identity})
        return cell

    def write_result(
        self,
        key: str,
        rows: list[ResultRow],
        manifest: Mapping[str, Any],
        reliability: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write one leaderboard row (its numbers over metrics and rates) with its manifest.

        Args:
            key: ``DATASET/METHOD/RUN``.
            rows: the numbers.
            manifest: how they came about.
            reliability: modality state -> bins of a reliability diagram.
        """
        path = self.root / "results" / f"{key}.json"
        content = {"schema": SCHEMA, "manifest": manifest, "rows": [asdict(row) for row in rows]}
        write_json(path, content | {"reliability": dict(reliability or {})})
        return path

    def results(self) -> list[ResultRow]:
        """Every stored number, in a stable order."""
        return [row for result in self.stored() for row in result.rows]

    def stored(self) -> list[StoredResult]:
        """Every stored leaderboard row, in a stable order."""
        folder = self.root / "results"
        found = []
        for path in sorted(folder.rglob("*.json")):
            content = read_json(path)
            key = path.relative_to(folder).with_suffix("").as_posix()
            _check_schema(f"{path}: a result", content)
            try:
                manifest = content["manifest"]
                own = {"key": key, "test_set": manifest.get("test_set", "")}
                rows = [row_of(row | own) for row in content["rows"]]
            except (KeyError, TypeError, AttributeError) as error:
                raise CorruptFileError(
                    f"{path}: not a result file: {error}", "delete it and run again"
                ) from error
            found.append(StoredResult(path, key, rows, manifest, content.get("reliability", {})))
        return found


class Cell:
    """The files of one trained method."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def training(self) -> Path:
        """Folder of the resumable state of an unfinished fit."""
        return self.directory / "training"

    @property
    def checkpoint(self) -> Path:
        """Folder of the fitted method."""
        return self.directory / "checkpoint"

    @contextmanager
    def lock(self, waiting: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
        """Hold the cell against other runs, after the one that holds it now; a lock dies with its process.

        Args:
            waiting: called about once a second with who holds it.
        """
        holder = self.directory / ".holder.json"
        with clear_disk_errors(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(self.directory / ".lock")
            self._acquire(lock, holder, waiting)
        try:
            for left in self.directory.rglob(_TEMPORARY):
                left.unlink(missing_ok=True)
            write_json(holder, {"process": os.getpid(), "machine": platform.node()})
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def _acquire(self, lock: FileLock, holder: Path, waiting: Callable[[str], None]) -> None:
        while True:
            try:
                lock.acquire(timeout=_LOCK_SECONDS)
            except Timeout:
                waiting(_said_by(holder))
            except NotImplementedError:
                raise HarnessError(
                    f"{self.directory}: its file system cannot lock files", "choose another --store"
                ) from None
            else:
                return

    def is_fitted(self) -> bool:
        """Whether a complete checkpoint exists; a damaged one raises."""
        done = self.checkpoint / "done.json"
        if not done.exists():
            return False
        found = read_json(done)
        owner = found.get("cell", self.directory.name)  # early stores did not say
        if owner != self.directory.name:
            raise CorruptFileError(
                f"{self.checkpoint}: the checkpoint of {owner}: of other code, data or settings",
                "delete it and run again",
            )
        for name in found["files"]:
            verify(self.checkpoint / name)
        return True

    def mark_fitted(self, facts: Mapping[str, Any]) -> None:
        """Seal every file of the checkpoint; from here on it is not trained again."""
        files = sorted(
            path.name for path in self.checkpoint.iterdir() if not path.name.endswith(".sha256.json")
        )
        files = [name for name in files if name != "done.json"]
        for name in files:
            seal(self.checkpoint / name)
        write_json(self.checkpoint / "done.json", {"files": files, "cell": self.directory.name, **facts})

    def facts(self) -> dict[str, Any]:
        """What ``mark_fitted`` recorded (training seconds, parameters)."""
        return dict(read_json(self.checkpoint / "done.json"))

    def predictions(self, state: str) -> Path:
        """JSONL file of one modality state."""
        return self.directory / "predictions" / f"{slug(state)}.jsonl"

    def statistics(self, state: str, metric: str, signature: str, references: str) -> Path:
        """Array file of one metric on one state; ``references`` identifies the test set scored against."""
        digest = hashlib.sha256(f"{signature}\0{references}".encode()).hexdigest()[:10]
        return self.directory / "statistics" / slug(state) / f"{slug(metric)}-{digest}.npy"


def _visible(value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(each if each.isprintable() else " " for each in value)


def _is_new(root: Path) -> bool:
    """An empty folder, or one that a killed run had begun to make a store of."""
    return root.is_dir() and all(path.match(".store.json.*.tmp") for path in root.iterdir())


def _check_schema(what: str, content: Any) -> None:
    found = content.get("schema") if isinstance(content, dict) else None
    if found != SCHEMA:
        raise HarnessError(
            f"{what} of schema {found}, but this version reads schema {SCHEMA}",
            "use another --store, or the version that wrote it",
        )


def _said_by(holder: Path) -> str:
    """Who holds a lock, in words; it may be gone, or not have said so yet."""
    try:
        found = json.loads(holder.read_text())
        return f"process {found['process']} on {found['machine']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Atomically write and seal an array."""
    write_atomic(path, lambda stream: np.save(stream, array, allow_pickle=False))
    seal(path)


def load_array(path: Path) -> NDArray[Any] | None:
    """A sealed array, or None where it was never finished; a damaged one raises ``CorruptFileError``."""
    if not is_sealed(path):
        return None
    verify(path)
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CorruptFileError(f"{path}: not an array: {error}", "delete it and run again") from error
    return array


def slug(name: str) -> str:
    """A file name for a method or dataset name (``dia:no-alignment`` -> ``dia@no-alignment``)."""
    safe = re.sub(r"[^A-Za-z0-9._+@=-]|^\.+", "_", name.replace(":", "@"))
    if len(safe) <= _LONGEST:
        return safe
    return f"{safe[: _LONGEST - 11]}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"
