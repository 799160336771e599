"""Plugins with one fault each; their errors quote a report, as those of real code may."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.core.types import Prediction, Reference, Study, Task
from harness.metrics.base import Metric, MetricOutput
from tests.helpers.toys import Echo, ToyData


class Lengths(Metric):
    """Mean number of words: works, and the others differ from it by one fault."""

    name: ClassVar[str] = "lengths"
    task: ClassVar[Task] = Task.REPORT
    outputs: tuple[MetricOutput, ...] = (MetricOutput("words", bounds=(0.0, np.inf)),)
    signature = "lengths|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Any:
        return np.array([[len((each.report or "").split()), 1.0] for each in predictions])

    def reduce(self, totals: Any) -> Any:
        return {"words": totals[..., 0] / totals[..., 1]}


class Raises(Lengths):
    """Raises, and quotes what it read."""

    name = "raises"
    outputs = (MetricOutput("raised"),)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Any:
        raise ValueError(f"SECRET {references[0].report}")


class Exits(Lengths):
    """Ends the program, as some command-line tools do when they are called as a library."""

    name = "exits"
    outputs = (MetricOutput("exited"),)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Any:
        raise SystemExit(3)


class Flat(Lengths):
    """Returns one number per study instead of a row."""

    name = "flat"
    outputs = (MetricOutput("flattened"),)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Any:
        return super().statistics(predictions, references)[:, 0]


class Undefined(Lengths):
    """Returns NaN without saying that it may."""

    name = "undefined"
    outputs = (MetricOutput("not_a_number"),)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Any:
        return np.full((len(predictions), 2), np.nan)


class Forgets(Lengths):
    """Does not return the output that it declares."""

    name = "forgets"
    outputs = (MetricOutput("forgotten"),)


class Unfinished(Metric):
    """Lacks everything but a name."""

    name = "unfinished"


class Plain(ToyData):
    pass


Plain.__doc__ = None


class NoCard(Echo):
    """A method without a card."""

    card = None  # type: ignore[assignment]


class Stranger:
    """No method, no dataset and no metric, though it is registered as one."""

    name = "stranger"


class Unopened(ToyData):
    """Cannot be opened, and quotes what it read."""

    @classmethod
    def open(cls, root: Path | None = None, *, image_size: int | None = None) -> ToyData:
        raise ValueError("SECRET report")


class Unread(ToyData):
    """Opens, and fails when its studies are read."""

    @classmethod
    def open(cls, root: Path | None = None, *, image_size: int | None = None) -> ToyData:
        return cls()

    def studies(self, split: str) -> list[Study]:
        raise KeyError("SECRET report")


class Uncertain(Lengths):
    """Fails when it is asked whether it can run."""

    name = "uncertain"

    def unavailable(self) -> str | None:
        raise RuntimeError("SECRET path")
