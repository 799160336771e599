"""What a run shows while it works: row, phase, status and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
)
from rich.text import Text

from harness.core.signals import Stopped

_WIDE = 100
"""Characters of a line from which there is room for bars beside names and times."""


class _Times(ProgressColumn):
    """``elapsed 0:42, left 1:10``; what is left follows from the share that is done."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """The times of a bar."""
        elapsed = task.elapsed or 0.0
        share = task.completed / task.total if task.total else 0.0
        left = _clock(elapsed * (1 - share) / share) if share > 0 else "unknown"
        return Text(f"elapsed {_clock(elapsed)}, left {left}", "dim")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class ConsoleReporter:
    """Shows a bar per row on a terminal; elsewhere prints a line per phase and finished row (logs, CI)."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = console.is_terminal
        self.progress = Progress(
            # Labels and states may hold brackets, which are no markup.
            TextColumn("{task.fields[label]}", style="bold", markup=False),
            TextColumn("{task.description}", markup=False),
            *([BarColumn(bar_width=12)] if console.width >= _WIDE else []),
            TaskProgressColumn(),
            _Times(),
            TextColumn("{task.fields[status]}", style="dim", markup=False),
            console=console,
            transient=True,
            disable=not self.live,
        )
        self.bars: dict[str, TaskID] = {}
        self.started = time.monotonic()
        self.rows: dict[str, int] = {}
        self.finished: set[str] = set()
        self.total = 0
        self.run: TaskID | None = None

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        if isinstance(error, Stopped):
            for task in self.progress.tasks:
                if task.id == self.run:
                    continue
                at = f"{task.description} {task.percentage:.0f}% {task.fields['status']}".rstrip()
                self._say(f"{task.fields['label']}: stopped at {at}")

    def expect(self, rows: Sequence[str]) -> None:
        """Count these rows: each is numbered when it begins, and a bar shows how many are finished."""
        self.total = len(rows)
        self.rows = dict.fromkeys(rows, 0)
        self.run = self.progress.add_task("rows finished", label="run", status="", total=self.total)

    def phase(self, label: str, phase: str) -> Callable[[float, str], None]:
        """Restart the row's bar for a phase; elsewhere print a status line every half minute."""
        self._clear(label)
        self._count(label, finished=False)
        shown = self._numbered(label)
        bar = self.bars[label] = self.progress.add_task(phase, label=shown, status="", total=1.0)
        last = time.monotonic()

        def update(fraction: float, status: str) -> None:
            nonlocal last
            if self.bars.get(label) != bar:  # the row has gone on to another phase, or is finished
                return
            self.progress.update(bar, completed=fraction, status=status)
            if not self.live and time.monotonic() - last > 30:
                last = time.monotonic()
                self._say(f"{shown}: {phase} {fraction:.0%} {status}")

        return update

    def done(self, label: str, summary: str) -> None:
        """Print a finished row."""
        self._end(label, summary)

    def failed(self, label: str, reason: str) -> None:
        """Print a failed row; the run goes on."""
        self._end(label, f"FAILED: {reason}")

    def _end(self, label: str, summary: str) -> None:
        self._clear(label)
        self._count(label, finished=True)
        self._say(f"{self._numbered(label)}: {summary}")
        if not self.live and label in self.rows and len(self.finished) < self.total:
            left = (time.monotonic() - self.started) / len(self.finished) * (self.total - len(self.finished))
            self._say(f"{len(self.finished)} of {self.total} rows finished, about {_clock(left)} left")

    def _count(self, label: str, finished: bool) -> None:
        """Number a row that begins, and count those that are finished."""
        if label not in self.rows:
            return
        self.rows[label] = self.rows[label] or max(self.rows.values()) + 1
        (self.finished.add if finished else self.finished.discard)(label)
        if self.run is not None:
            self.progress.update(self.run, completed=len(self.finished))

    def _numbered(self, label: str) -> str:
        """``row 3 of 17: dia``; the label alone where it is no row, or rows are not counted."""
        number = self.rows.get(label)
        return f"row {number} of {self.total}: {label}" if number else label

    def _clear(self, label: str) -> None:
        if label in self.bars:
            self.progress.remove_task(self.bars.pop(label))

    def _say(self, text: str) -> None:
        elapsed = int(time.monotonic() - self.started)
        self.console.print(
            f"[{elapsed // 60:02d}:{elapsed % 60:02d}] {text}", markup=False, highlight=False, soft_wrap=True
        )
