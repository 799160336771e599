"""The store: one folder per cell, one result file per row, a sealed checksum beside every finished file.

Layout below ``--store``::

    store.json                                      schema version
    cells/DATASET/METHOD/PRESET-sSEED-FINGERPRINT/
        cell.json                                   what was trained, on what, with which code
        training/                                   resumable state of an unfinished fit
        checkpoint/                                 the fitted method; sealed
        predictions/[shuffled-]STATE.jsonl          one line per study; sealed when complete
        predictions/imputed-...                     of and with generated views
        statistics/[shuffled-]STATE/METRIC-HASH.npy per-study rows (n, k); sealed
    results/DATASET/METHOD/RUN.json                 the printed numbers of one leaderboard row, its manifest,
                                                    their checksum at the end;
                                                    RUN ends with a digest of what the numbers depend on
    results/DATASET/METHOD/RUN.npz                  their bootstrap replicates, for paired ranks;
                                                    RUN.json holds their checksum
    audits/DATASET/METHOD.json                      the verdict of harness audit
    timings/DATE-PROCESS.seconds.json               what the time of one run went into
    downstream/DATASET/lite0-HASH.npy               features of 128 images (n, 1280); sealed

A file that is not what was written, and that can be made again, is renamed to ``NAME.damaged``; a line on
standard error names it, and the run makes it anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from harness.core.errors import CorruptFileError, HarnessError
from harness.core.files import (
    DAMAGED,
    STORE_MARKER,
    checksum_of,
    clear_disk_errors,
    clear_place,
    private_folder,
    read_json,
    unless_damaged,
    write_checked_json,
    write_json,
)
from harness.core.locks import clear_lock
from harness.core.names import did_you_mean
from harness.core.slugs import slug
from harness.store import OWN_FOLDERS, SHOWN_FOLDERS, verdicts
from harness.store.cell import _TEMPORARY, Cell
from harness.store.manifest import Manifest, ReliabilityBins
from harness.store.results import (
    Measurement,
    StoredResult,
    check_replicates,
    row_of,
    visible,
    write_replicates,
)

SCHEMA = 1

_AGAIN = "delete it and run again"

_FOLDERS = (*OWN_FOLDERS, *SHOWN_FOLDERS)

_TABLES = (".md", ".json", ".html", ".svg", ".png", ".pdf")
"""How the names of tables and figures end."""


_AS_WRITTEN = frozenset({"config", "execution", "files"})
"""Fields of a manifest that hold paths, whose characters all count; they are not shown."""


class Store:
    """A results store on disk; opening one creates it or checks its schema."""

    def __init__(self, root: Path) -> None:
        self.root = root
        marker = root / STORE_MARKER
        read = partial(_has_marker, marker)
        if not (unless_damaged(marker, read) if _is_ours(root) else read()):
            # Another run may make the same store meanwhile, or have been killed while it did.
            if root.exists() and not _is_ours(root) and not marker.exists():
                raise _not_ours(root)
            private_folder(root)
            with suppress(FileNotFoundError):  # another run has made the store and cleared up
                write_json(marker, {"schema": SCHEMA})
        _check_schema(f"{root}: a store", read_json(marker))

    def enter(self) -> Self:
        """Register as a run on this store for as long as this object exists.

        A run that is alone removes the unfinished files of killed runs; those in a cell go when it is locked.
        """
        lock = self.root / ".runs.lock"
        clear_lock(lock)
        with clear_disk_errors(self.root):
            presence = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        weakref.finalize(self, os.close, presence)
        with suppress(OSError):
            fcntl.flock(presence, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folders = [self.root / name for name in _FOLDERS if name != "cells"]
            for leftover in (*self.root.glob(_TEMPORARY), *(p for f in folders for p in f.rglob(_TEMPORARY))):
                leftover.unlink(missing_ok=True)
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
        clear_place(description)
        if not description.exists():
            write_json(description, {"fingerprint": fingerprint, **identity})
        return cell

    def write_result(
        self,
        key: str,
        rows: list[Measurement],
        manifest: Manifest,
        replicates: Mapping[str, NDArray[np.float32]] | None = None,
        reliability: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write one leaderboard row (its numbers over metrics and rates), its replicates and its manifest.

        Args:
            key: ``DATASET/METHOD/RUN``.
            rows: the numbers.
            manifest: how they came about.
            replicates: metric -> bootstrap replicates (R, B), one line per missing rate.
            reliability: modality state -> bins of a reliability diagram.
        """
        path = self.root / "results" / f"{key}.json"
        checksum = "" if replicates is None else write_replicates(path.with_suffix(".npz"), replicates)
        content = {"schema": SCHEMA, "replicates": {"sha256": checksum}, "manifest": manifest.to_json()}
        content |= {"rows": [asdict(row) for row in rows], "reliability": dict(reliability or {})}
        write_checked_json(path, content)
        return path

    def result(self, key: str) -> StoredResult | None:
        """The result of a key; None where there is none. A damaged one is set aside."""
        path = self.root / "results" / f"{key}.json"
        return unless_damaged(path, lambda: _read_result(path, key)) if path.exists() else None

    def set_aside_damaged(self) -> None:
        """Set aside results and verdicts that are not what was written, and folders where tables go."""
        for path in self._result_files():
            checksum = unless_damaged(path, partial(_check_result, path, self._key(path)))
            if checksum is not None:
                replicates = path.with_suffix(".npz")
                unless_damaged(replicates, partial(check_replicates, replicates, checksum))
        for path in verdicts.paths(self.root):
            unless_damaged(path, partial(verdicts.read, path))
        for path in sorted((self.root / "tables").rglob("*.*")):
            if path.suffix in _TABLES:
                clear_place(path)

    def has_numbers(self, key: str) -> bool:
        """Whether a readable result of this key holds at least one value."""
        result = self.result(key)
        return result is not None and any(row.value is not None for row in result.rows)

    def remove_results(self, keys: Sequence[str]) -> None:
        """Remove leaderboard rows with their replicates; what was trained and predicted stays.

        Raises:
            HarnessError: no such result; then none is removed.
            DiskError: nothing can be removed there.
        """
        existing = [self._key(path) for path in self._result_files()]
        for key in keys:
            if key not in existing:
                raise HarnessError(f"{key}: no such result in {self.root}", did_you_mean(key, existing))
        for path in (
            self.root / "results" / f"{key}{suffix}" for key in keys for suffix in (".npz", ".json")
        ):
            with clear_disk_errors(path):
                clear_place(path)
                path.unlink(missing_ok=True)

    def results(self) -> list[Measurement]:
        """Every stored number, in a stable order."""
        return [row for result in self.stored() for row in result.rows]

    def stored(self) -> list[StoredResult]:
        """Every stored leaderboard row, in a stable order."""
        return [_read_result(path, self._key(path)) for path in self._result_files()]

    def _result_files(self) -> list[Path]:
        folder = self.root / "results"
        if os.path.lexists(folder) and not folder.is_dir():
            raise CorruptFileError(f"{folder}: a file or a lost link is in the place of a folder", _AGAIN)
        linked = (each for path in folder.rglob("*") if path.is_symlink() for each in path.rglob("*"))
        return sorted({path for path in (*folder.rglob("*"), *linked) if path.suffix == ".json"})

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root / "results").with_suffix("").as_posix()


def _check_result(path: Path, key: str) -> str:
    """The checksum of the replicates beside a result that is what was written."""
    checksum, content = checksum_of(path), read_json(path)
    if not checksum:
        raise CorruptFileError(f"{path}: its checksum is gone", _AGAIN)
    try:
        _check_place(path, key, content["rows"])
        return _replicates_checksum(path, content)
    except (KeyError, TypeError) as error:
        raise CorruptFileError(f"{path}: not a result file: {error}", _AGAIN) from error


def _replicates_checksum(path: Path, content: Mapping[str, Any]) -> str:
    """The checksum of the replicates beside a result.

    Raises:
        CorruptFileError: an earlier version wrote the result, without one.
    """
    if "replicates" not in content:
        raise CorruptFileError(
            f"{path}: an earlier version wrote this result, without the checksum of its replicates",
            "the same harness run writes it again, from what the store holds",
        )
    return str(content["replicates"]["sha256"])


def _check_place(path: Path, key: str, rows: Sequence[Any]) -> None:
    """Refuse a result that was copied or moved: its rows would stand under the key of another one."""
    own = next((row["key"] for row in rows if isinstance(row, dict) and row.get("key")), key)
    if own != key:
        raise CorruptFileError(
            f"{path}: the result {visible(str(own))[:300]}, in the place of another one",
            "move it back or delete it",
        )


def _read_result(path: Path, key: str) -> StoredResult:
    checksum, content = checksum_of(path), read_json(path)
    if not isinstance(content, dict):
        raise CorruptFileError(f"{path}: not a result file", _AGAIN)
    try:
        _check_schema(f"{path}: a result", content)
    except HarnessError as error:
        raise CorruptFileError(error.message, error.hint) from None
    try:
        manifest = Manifest.model_validate(
            {
                name: value if name in _AS_WRITTEN else visible(value, also="\n\t")
                for name, value in content["manifest"].items()
            }
        )
        reliability = {
            state: ReliabilityBins.model_validate(bins)
            for state, bins in content.get("reliability", {}).items()
        }
        if not checksum:
            state = "not at its end" if "sha256" in content else "gone"
            raise CorruptFileError(f"{path}: its checksum is {state}", _AGAIN)
        _check_place(path, key, content["rows"])
        shared = {"key": key, "test_set": manifest.test_set}
        rows = [row_of(row | shared) for row in content["rows"]]
        replicates = _replicates_checksum(path, content)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
        raise CorruptFileError(f"{path}: not a result file: {reason}", _AGAIN) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptFileError(f"{path}: not a result file: {error}", _AGAIN) from error
    return StoredResult(path, key, rows, manifest, reliability, checksum, replicates)


def _not_ours(root: Path) -> HarnessError:
    hint = "choose another"
    if root.is_dir() and {path.name for path in root.iterdir()} <= set(_FOLDERS):
        hint += "; or was a store moved or deleted while a run wrote to it? Then this is what came after"
    return HarnessError(f"--store {root}: exists and is not a results store", hint)


def _is_ours(root: Path) -> bool:
    """An empty folder, one in which a run was killed early, or a store, whatever became of its marker."""
    if not root.is_dir():
        return False
    names = {path.name for path in root.iterdir() if not path.match(f".{STORE_MARKER}.*.tmp")} - {
        STORE_MARKER
    }
    return not names or bool(names & {".runs.lock", f"{STORE_MARKER}{DAMAGED}"})


def _has_marker(marker: Path) -> bool:
    """Whether a store's marker is there.

    Raises:
        CorruptFileError: it says no schema.
    """
    if not os.path.lexists(marker):
        return False
    content = read_json(marker)
    if not (isinstance(content, dict) and isinstance(content.get("schema"), int)):
        raise CorruptFileError(f"{marker}: it names no schema", _AGAIN)
    return True


def _check_schema(what: str, content: Any) -> None:
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise HarnessError(
            f"{what} of schema {schema}, but this version reads schema {SCHEMA}",
            "use another --store, or the version that wrote it",
        )
