"""Reporters: the interface through which a run shows its progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[float, str], None]


class Reporter(Protocol):
    """Shows the progress of a run, one phase of one row at a time."""

    def phase(self, label: str, phase: str) -> Progress:
        """Start a phase of a row; the result takes (fraction in [0, 1], status)."""
        ...

    def done(self, label: str, summary: str) -> None:
        """A row is finished."""
        ...

    def failed(self, label: str, reason: str) -> None:
        """A row could not be finished; the run goes on."""
        ...
