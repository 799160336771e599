"""The result of an audit of a method, and where a store keeps it. No torch: leaderboards read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.core.content import file_digest
from harness.core.errors import CorruptFileError
from harness.core.files import clear_place, read_checked_json, write_checked_json
from harness.core.slugs import slug

_FOLDER = "audits"
_AGAIN = "delete it and run harness audit again"


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the audit.

    Attributes:
        check: e.g. ``mask-honest``.
        passed: the answer.
        detail: what was tried; where it failed, the study and the change that showed it.
    """

    check: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of one method on one dataset.

    Attributes:
        method: label of the leaderboard row, e.g. ``dia:no-alignment``.
        dataset: registry name.
        preset: size that was audited; ``-`` for controls.
        studies: number of test studies that were checked.
        code: fingerprint of the method's source; a verdict says nothing about other code.
        checks: in the order in which they are printed.
        checkpoints: cell below the store -> digest of its checkpoint, of those whose stored answers were
            asked for again; a verdict says nothing about another one.
        files: name -> start of the SHA-256 of each file of code and data that the method was made of.
        places: name -> where it lay; a verdict says nothing about other content of these files.
    """

    method: str
    dataset: str
    preset: str
    studies: int
    code: str
    checks: tuple[Check, ...]
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Every check was passed."""
        return all(check.passed for check in self.checks)

    def changed_files(self) -> list[str]:
        """Names of files that are not what they were during the audit, or that are gone.

        None where all are gone: the store is read on another machine, or the method was removed.
        """
        now = {name: file_digest(Path(place)) for name, place in self.places.items()}
        if not any(now.values()):
            return []
        return [name for name, digest in now.items() if digest[: len(self.files[name])] != self.files[name]]


def save(store: Path, verdict: Verdict, facts: Mapping[str, Any]) -> Path:
    """Keep a verdict as ``audits/DATASET/METHOD.json`` below the store, with facts of the run beside it."""
    path = verdict_path(store, verdict.dataset, verdict.method)
    content = {**asdict(verdict), "passed": verdict.passed, "facts": dict(facts)}
    clear_place(path)
    write_checked_json(path, content, names=2)
    return path


def verdict_path(store: Path, dataset: str, method: str) -> Path:
    """Where the verdict on a method is kept."""
    return store / _FOLDER / slug(dataset) / f"{slug(method)}.json"


def verdicts(store: Path) -> Iterator[Verdict]:
    """Every verdict below a store, in a stable order.

    Raises:
        CorruptFileError: a file there is not a verdict, or not what was written.
    """
    yield from map(read, paths(store))


def paths(store: Path) -> list[Path]:
    """The files of a store's verdicts, in a stable order."""
    return sorted((store / _FOLDER).glob("*/*.json"))


def read(path: Path) -> Verdict:
    """The verdict of a file.

    Raises:
        CorruptFileError: it is not what ``save`` wrote.
    """
    content = read_checked_json(path, names=2)
    try:
        checks = tuple(Check(**check) for check in content["checks"])
        values = {name: content[name] for name in ("method", "dataset", "preset", "studies", "code")}
        values |= {name: dict(content.get(name, {})) for name in ("checkpoints", "files", "places")}
        return Verdict(**values, checks=checks)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{path}: not an audit's verdict: {error!r}", _AGAIN) from error
