"""What a run's time went into: each phase of each process, kept in the store beside the results.

A run writes ``STORE/timings/DATE-PROCESS.seconds.json`` when it ends. Nothing reads it but ``harness bench``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.clock import BETWEEN, Span, Watch
from harness.core.errors import CorruptFileError
from harness.core.files import read_json, write_json
from harness.evaluation import provenance

if TYPE_CHECKING:
    from harness.core.config import RunSettings
    from harness.core.progress import Progress, Reporter

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Share:
    """What one process spent on one phase of one row, all times together.

    Attributes:
        process: 0 is the run itself, the others are numbered as they begin.
        label, phase, seconds, processor_seconds: as of ``Span``.
    """

    process: int
    label: str
    phase: str
    seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True)
class Kept:
    """One run as its file holds it.

    Attributes:
        seconds: wall clock from the command's begin to its last file.
        succeeded: whether no cell failed and the run came to its end.
        cells: trained methods that the run is made of.
        trained: how many of them this run trained; the others were in the store.
        config: the run's flags.
        machine: what it ran on, and when.
        shares: where the time went.
    """

    seconds: float
    succeeded: bool
    cells: int
    trained: int
    config: dict[str, Any]
    machine: dict[str, Any]
    shares: tuple[Share, ...]


class Timings:
    """A reporter that says everything on to another and keeps how long each phase took.

    Args:
        reporter: hears what this one hears.
        since: when the run began, by ``time.monotonic``: until now it imported; by default now.
    """

    def __init__(self, reporter: Reporter, since: float | None = None) -> None:
        self.reporter = reporter
        self.started = time.monotonic() if since is None else since
        self.name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.getpid()}.seconds.json"
        self.watch = Watch(self.spent)
        self.spans: list[Span] = []
        self.facts: dict[str, Any] = {}
        if since is not None:
            self.watch.began("import", since)

    @classmethod
    def over(cls, reporter: Reporter) -> Timings:
        """The reporter itself where it keeps times, else one that does."""
        return reporter if isinstance(reporter, Timings) else cls(reporter)

    def begin(self, phase: str) -> None:
        """This process now does something that concerns all rows."""
        self.watch.begin(phase)

    def expect(self, rows: Sequence[str]) -> None:
        """The run has these rows; a reporter that counts them has a method of this name."""
        expect: Callable[[Sequence[str]], object] = getattr(self.reporter, "expect", lambda rows: None)
        expect(rows)

    def phase(self, label: str, phase: str) -> Progress:
        """A phase of a row in this process."""
        self.watch.begin(phase, label)
        return self.reporter.phase(label, phase)

    def done(self, label: str, summary: str) -> None:
        """A row of this process is finished."""
        self.watch.begin(BETWEEN)
        self.reporter.done(label, summary)

    def failed(self, label: str, reason: str) -> None:
        """A row of this process could not be finished."""
        self.watch.begin(BETWEEN)
        self.reporter.failed(label, reason)

    def spent(self, span: Span) -> None:
        """A phase is over, here or in another process."""
        self.spans.append(span)

    def elsewhere(self) -> Elsewhere:
        """The reporter for what happens in other processes, whose own clocks tell."""
        return Elsewhere(self.reporter, self.spent)

    def keep(self, settings: RunSettings, succeeded: bool, cells: Iterable[tuple[str, int]]) -> None:
        """Write the run's file; what follows counts for ``keep_again``.

        Args:
            settings: the run's.
            succeeded: whether no cell failed.
            cells: label and seed of what it trained or took from the store.
        """
        every = list(cells)
        config = {k: value for k, value in settings.flat().items() if k not in ("store", "root", "masks")}
        fitted = [span for span in self.spans if span.phase == "train"]
        self.facts = {
            "store": settings.config.store,
            "succeeded": succeeded,
            "cells": len(every),
            "trained": len(fitted),
            "config": config,
            "machine": provenance.measured_on(settings.execution.device),
        }
        self.keep_again()

    def keep_again(self) -> None:
        """Write the file anew, with what has been done since."""
        self.watch.end()
        facts = dict(self.facts)
        folder: Path = facts.pop("store")
        content = {
            "schema": SCHEMA,
            "seconds": round(time.monotonic() - self.started, 3),
            **facts,
            "shares": [asdict(share) for share in shares(self.spans, self.watch.process)],
        }
        write_json(folder / "timings" / self.name, content)


class Elsewhere:
    """A reporter of other processes: says on, and takes their spans."""

    def __init__(self, reporter: Reporter, spent: Callable[[Span], None]) -> None:
        self.phase, self.done, self.failed = reporter.phase, reporter.done, reporter.failed
        self.spent = spent


def shares(spans: Iterable[Span], first: str) -> list[Share]:
    """Spans of one process, row and phase as one; ``first`` is the process that becomes number 0."""
    numbers = {first: 0}
    total: dict[tuple[int, str, str], tuple[float, float]] = {}
    for span in spans:
        key = numbers.setdefault(span.process, len(numbers)), span.label, span.phase
        seconds, used = total.get(key, (0.0, 0.0))
        total[key] = seconds + span.seconds, used + span.processor_seconds
    return [Share(*key, round(seconds, 3), round(used, 3)) for key, (seconds, used) in total.items()]


def kept(store: Path) -> list[tuple[Path, Kept]]:
    """Files and contents of every run that a store knows of, oldest first.

    Raises:
        CorruptFileError: a file that is none of this version.
    """
    runs = []
    for path in sorted((store / "timings").glob("*.seconds.json")):
        content = read_json(path)
        try:
            if content.pop("schema") != SCHEMA:
                raise KeyError("schema")
            rows = tuple(Share(**share) for share in content.pop("shares"))
            runs.append((path, Kept(**content, shares=rows)))
        except (KeyError, TypeError, AttributeError) as error:
            raise CorruptFileError(f"{path}: not the times of a run", "delete it") from error
    return runs


def last_complete(store: Path) -> Kept | None:
    """The last run that came to its end, rather one that trained all of its cells; None without any."""
    ended = [run for _, run in kept(store) if run.succeeded]
    return next((run for run in reversed(ended) if run.trained >= run.cells), ended[-1] if ended else None)
