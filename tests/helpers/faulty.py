"""Plugins with one fault each; their errors quote a report, as those of real code may."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.core.types import Inputs, Prediction, Reference, Study, Task
from harness.method.contract import FitRun
from harness.metrics.base import Metric, MetricOutput
from tests.helpers.toys import Echo, ToyData


class Lengths(Metric):
    """Mean number of words: works, and the others differ from it by one fault."""

    name: ClassVar[str] = "lengths"
    task: ClassVar[Task] = Task.REPORT
    outputs: tuple[MetricOutput, ...] = (MetricOutput("words", bounds=(0.0, np.inf)),)

    @property
    def signature(self) -> str:
        return f"{self.name}|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Any:
        return np.array([[len((each.report or "").split()), 1.0] for each in predictions])

    def reduce(self, totals: Any) -> Any:
        return {"words": totals[..., 0] / totals[..., 1]}


class Reuses(Lengths):
    """Fills the same arrays each time that it is asked."""

    name = "reuses"
    outputs = (MetricOutput("words_again", bounds=(0.0, np.inf)),)
    rows = np.empty((1000, 2))
    means = np.empty(100_000)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Any:
        self.rows[: len(predictions)] = super().statistics(predictions, references)
        return self.rows[: len(predictions)]

    def reduce(self, totals: Any) -> Any:
        shape = totals.shape[:-1]
        means = self.means[: int(np.prod(shape))].reshape(shape)
        np.divide(totals[..., 0], totals[..., 1], out=means)
        return {"words_again": means}


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


class Interrupts(Lengths):
    """Raises what is no failure anywhere else, with a report."""

    name = "interrupts"
    outputs = (MetricOutput("interrupted"),)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Any:
        raise KeyboardInterrupt(f"SECRET {references[0].report}")


class Leaves(Lengths):
    """Ends the process at once, as if all were well."""

    name = "leaves"
    outputs = (MetricOutput("left"),)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Any:
        os._exit(0)


class Endless(Lengths):
    """Divides by nothing."""

    name = "endless"
    outputs = (MetricOutput("quotient"),)

    def reduce(self, totals: Any) -> Any:
        return {"quotient": np.full(totals.shape[:-1], np.inf)}


class Beyond(Lengths):
    """Counts words, and declares a share."""

    name = "beyond"
    outputs = (MetricOutput("share"),)

    def reduce(self, totals: Any) -> Any:
        return {"share": super().reduce(totals)["words"]}


class Imaginary(Lengths):
    """Returns complex numbers."""

    name = "imaginary"
    outputs = (MetricOutput("root"),)

    def reduce(self, totals: Any) -> Any:
        return {"root": super().reduce(totals)["words"] + 0j}


class Prints(Lengths):
    """Prints what it reads, in every way there is."""

    name = "prints"
    outputs = (MetricOutput("printed", bounds=(0.0, np.inf)),)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Any:
        text = f"SECRET {references[0].report}"
        print(text)
        sys.stderr.write(text)
        logging.getLogger("faulty").error(text)
        for number in (1, 2):
            os.write(number, text.encode())
        return super().statistics(predictions, references)

    def reduce(self, totals: Any) -> Any:
        return {"printed": super().reduce(totals)["words"]}


class Disturbs(Lengths):
    """Sorts the predictions that it gets, and turns the references around."""

    name = "disturbs"
    outputs = (MetricOutput("disturbed", bounds=(0.0, np.inf)),)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Any:
        assert isinstance(predictions, list)
        assert isinstance(references, list)
        predictions.sort(key=lambda each: str(each.report))
        references.reverse()
        for reference in references:
            if reference.labels is not None:
                assert not reference.labels.flags.writeable
        return super().statistics(predictions, references)

    def reduce(self, totals: Any) -> Any:
        return {"disturbed": super().reduce(totals)["words"]}


class Replaces(Lengths):
    """Goes to another folder, and puts a function of its own in the place of one that others call."""

    name = "replaces"
    outputs = (MetricOutput("replaced", bounds=(0.0, np.inf)),)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Any:
        os.chdir("/")
        np.quantile = np.median  # type: ignore[assignment]
        return super().statistics(predictions, references)


class Remarks(Lengths):
    """Remarks a number."""

    name = "remarks"
    outputs = (MetricOutput("remarked", bounds=(0.0, np.inf)),)

    def reduce(self, totals: Any) -> Any:
        return {"remarked": super().reduce(totals)["words"]}

    def remarks(self, statistics: Any) -> dict[str, str]:
        return {"remarked": 5}  # type: ignore[dict-item]


class Namesake(Lengths):
    """Is called as a metric that is there."""

    name = "bleu"


class Usurper(Lengths):
    """Has an output of a metric that is there."""

    name = "usurper"
    outputs = (MetricOutput("rouge_l"),)


class Impostor(Lengths):
    """Signs as another metric."""

    name = "impostor"

    @property
    def signature(self) -> str:
        return "bleu|v:1"


class Doubled(Lengths):
    """Declares one output twice."""

    name = "doubled"
    outputs = (MetricOutput("twice"), MetricOutput("twice"))


class Unfinished(Metric):
    """Lacks everything but a name."""

    name = "unfinished"


class Plain(ToyData):
    pass


Plain.__doc__ = None


class NoCard(Echo):
    """A method without a card."""

    card = None  # type: ignore[assignment]


class Forgetful(Echo):
    """Learns a word and does not save it."""

    word = "nothing"

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        self.word = "effusion"

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return [Prediction(report=f"{self.word}.") for _ in inputs.ids]


class Changing(Echo):
    """Changes the studies that it is given."""

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        for study in train:
            object.__setattr__(study, "report", "SECRET")
            study.attributes["sex"] = "M"  # type: ignore[index]


class Unrepeatable(Echo):
    """Learns something else each time, as networks on a GPU do."""

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        self.word = os.urandom(4).hex()

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return [Prediction(report=f"{self.word} and effusion") for _ in inputs.ids]

    def save(self, directory: Path) -> None:
        (directory / "word.txt").write_text(self.word)

    def load(self, directory: Path) -> None:
        self.word = (directory / "word.txt").read_text()


class NoSpace(Echo):
    """Says that the disk is full, which it is not."""

    def save(self, directory: Path) -> None:
        raise OSError(errno.ENOSPC, "no space", "SECRET")


class LinksOut(Echo):
    """Saves a link to a file elsewhere."""

    def save(self, directory: Path) -> None:
        super().save(directory)
        (directory / "weights.bin").symlink_to("/etc/hostname")


class Elsewhere(ToyData):
    """Its reports are others in each process, as with a salted hash."""

    def studies(self, split: str) -> list[Study]:
        return [replace(each, report=f"{each.report} {os.getpid()}") for each in super().studies(split)]


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
