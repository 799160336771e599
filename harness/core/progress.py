"""Reporters: the interface through which a run shows its progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[float, str], None]


class Reporter(Protocol):
    """Shows the progress of a run, one phase of one row at a time.

    A reporter may also have ``expect(rows)``: a run calls it once, before its first row, with the labels of
    all its rows.
    """

    def phase(self, label: str, phase: str) -> Progress:
        """Start a phase of a row; the result takes (fraction in [0, 1], status)."""
        ...

    def done(self, label: str, summary: str) -> None:
        """A row is finished."""
        ...

    def failed(self, label: str, reason: str) -> None:
        """A row could not be finished; the run goes on."""
        ...


class _Silent:
    """Shows nothing."""

    def phase(self, label: str, phase: str) -> Progress:
        return lambda fraction, status: None

    def done(self, label: str, summary: str) -> None:
        return

    def failed(self, label: str, reason: str) -> None:
        return


SILENT: Reporter = _Silent()


class ShownAs:
    """A reporter that shows everything under one label: work for a row that has no row of its own."""

    def __init__(self, reporter: Reporter, label: str) -> None:
        self.reporter, self.label = reporter, label

    def phase(self, label: str, phase: str) -> Progress:
        """Start a phase."""
        return self.reporter.phase(self.label, phase)

    def done(self, label: str, summary: str) -> None:
        """The work is finished."""
        self.reporter.done(self.label, summary)

    def failed(self, label: str, reason: str) -> None:
        """The work could not be finished."""
        self.reporter.failed(self.label, reason)
