"""One line of a benchmark table: what was measured, ours, the peer's, and how many times better ours is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "no peer", "skipped", "failed"]

_SMALLER = ("s", "GiB")
"""Units of which less is better."""


@dataclass(frozen=True, slots=True)
class Row:
    """A measurement, or the reason why there is none.

    Attributes:
        suite: what it is part of, e.g. ``metrics``.
        benchmark: the work that was measured.
        ours, peer: the values, in ``unit``; None where nothing was measured.
        unit: ``s``, ``GiB``, a rate (``images/s``) or the name of a score.
        of: name of the peer, its version where it is known, and how it was measured.
        gib, peer_gib: peak memory of the processes that did the work, GiB.
        note: what a reader must know, or why a benchmark failed.
        state: ``ok``; ``no peer`` where ours stands alone; ``skipped`` or ``failed`` without a value.
        interval: 95 % interval of ours, where there is one.
        place: caption, line and column of a table that the value is a cell of; None: a line of its own.
    """

    suite: str
    benchmark: str
    ours: float | None = None
    peer: float | None = None
    unit: str = "s"
    of: str = ""
    gib: float | None = None
    peer_gib: float | None = None
    note: str = ""
    state: State = "ok"
    interval: tuple[float, float] | None = None
    place: tuple[str, str, str] | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better ours is than the peer; None without both."""
        if not self.ours or not self.peer:
            return None
        return self.peer / self.ours if self.unit in _SMALLER else self.ours / self.peer

    @property
    def identity(self) -> tuple[str, str, str]:
        """Key of the same benchmark in other runs."""
        return self.suite, self.benchmark, self.of

    def to_json(self) -> dict[str, Any]:
        """All attributes, and the ratio."""
        return asdict(self) | {"ratio": self.ratio}


def measured(suite: str, benchmark: str, ours: float, **rest: Any) -> Row:
    """A row with the state that follows from its peer; ``rest`` are its other attributes."""
    state: State = "ok" if rest.get("peer") is not None else "no peer"
    return Row(suite, benchmark, ours, state=state, **rest)


def best(work: Callable[[], object], repeats: int = 3) -> float:
    """Shortest of some wall times, in seconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)
