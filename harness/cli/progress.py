"""What a run shows while it works: row, phase, status and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.core.signals import Stopped


class ConsoleReporter:
    """Shows a bar per row on a terminal; elsewhere prints a line per phase and finished row (logs, CI)."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = console.is_terminal
        self.progress = Progress(
            # Labels and states may hold brackets, which are no markup.
            TextColumn("{task.fields[label]}", style="bold", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}", style="dim", markup=False),
            console=console,
            transient=True,
            disable=not self.live,
        )
        self.bars: dict[str, TaskID] = {}
        self.started = time.monotonic()

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        if isinstance(error, Stopped):
            for task in self.progress.tasks:
                at = f"{task.description} {task.percentage:.0f}% {task.fields['status']}".rstrip()
                self._say(f"{task.fields['label']}: stopped at {at}")

    def phase(self, label: str, phase: str) -> Callable[[float, str], None]:
        """Restart the row's bar for a phase; elsewhere print a status line every half minute."""
        self._clear(label)
        bar = self.bars[label] = self.progress.add_task(phase, label=label, status="", total=1.0)
        last = time.monotonic()

        def update(fraction: float, status: str) -> None:
            nonlocal last
            if self.bars.get(label) != bar:  # the row has gone on to another phase, or is finished
                return
            self.progress.update(bar, completed=fraction, status=status)
            if not self.live and time.monotonic() - last > 30:
                last = time.monotonic()
                self._say(f"{label}: {phase} {fraction:.0%} {status}")

        return update

    def done(self, label: str, summary: str) -> None:
        """Print a finished row."""
        self._clear(label)
        self._say(f"{label}: {summary}")

    def failed(self, label: str, reason: str) -> None:
        """Print a failed row; the run goes on."""
        self._clear(label)
        self._say(f"{label}: FAILED: {reason}")

    def _clear(self, label: str) -> None:
        if label in self.bars:
            self.progress.remove_task(self.bars.pop(label))

    def _say(self, text: str) -> None:
        elapsed = int(time.monotonic() - self.started)
        self.console.print(
            f"[{elapsed // 60:02d}:{elapsed % 60:02d}] {text}", markup=False, highlight=False, soft_wrap=True
        )
