"""What is asked of a method about a batch of studies: predict, draw reports, generate a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from harness.core.types import Inputs, Prediction
from harness.evaluation.synthesis import conditioned, generated, merged
from harness.method.answers import checked_predictions, checked_reports
from harness.method.contract import Method
from harness.store.predictions import DRAWN_REPORTS, PREDICTIONS, Codec

Answer = TypeVar("Answer")


class Request(Protocol[Answer]):
    """One question, asked once per study and modality state; its answers go into one file per state."""

    @property
    def prefix(self) -> str:
        """Begins the name of the files of its answers."""
        ...

    @property
    def phase(self) -> str:
        """The phase that progress shows, in front of the modality state."""
        ...

    @property
    def codec(self) -> Codec[Answer]:
        """How an answer is written to a line of a file."""
        ...

    def __call__(self, method: Method[Any], inputs: Inputs, state: str) -> Sequence[Answer]:
        """One answer per study of the batch, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Predict:
    """The method's prediction: report, class probabilities or both."""

    prefix: str = ""
    phase: str = "predict "
    codec: Codec[Prediction] = PREDICTIONS

    def __call__(self, method: Method[Any], inputs: Inputs, state: str) -> Sequence[Prediction]:
        """``Method.predict``."""
        return checked_predictions(method, method.predict(inputs), len(inputs))


@dataclass(frozen=True, slots=True)
class DrawReports:
    """``draws`` random reports per study (``--report-samples``)."""

    draws: int
    phase: str = "draw "
    codec: Codec[list[str]] = DRAWN_REPORTS

    @property
    def prefix(self) -> str:
        """Another number of draws has other files."""
        return f"samples-{self.draws}-"

    def __call__(self, method: Method[Any], inputs: Inputs, state: str) -> Sequence[list[str]]:
        """``Method.sample``."""
        return checked_reports(method.sample(inputs, self.draws), len(inputs), self.draws)


@dataclass(frozen=True, slots=True)
class GenerateView:
    """An image of ``view`` from everything else that a study has.

    Attributes:
        view: image modality; the method never gets the study's own.
        reports: study id -> report that is a condition, or None.
        run_seed: of the run; noise follows from it, the study, the state and the view.
    """

    view: str
    reports: Mapping[str, str | None]
    run_seed: int
    codec: Codec[Prediction] = PREDICTIONS

    @property
    def prefix(self) -> str:
        """One file per view."""
        return f"synthesis-{self.view}-"

    @property
    def phase(self) -> str:
        """Names the view."""
        return f"generate {self.view}, "

    def __call__(self, method: Method[Any], inputs: Inputs, state: str) -> Sequence[Prediction]:
        """``Method.synthesize`` with the view blanked."""
        conditions = conditioned(inputs, [self.view], self.reports, self.run_seed, state)
        return generated(method, conditions, [self.view])


@dataclass(frozen=True, slots=True)
class GenerateSeveral:
    """Several modalities from everything else that a study has.

    Conditions and noise are the same whether they are generated together or one by one.

    Attributes:
        targets: image modalities or ``report``; the method never gets the study's own.
        together: in one call; otherwise one call per target.
        reports, run_seed: as in ``GenerateView``.
    """

    targets: tuple[str, ...]
    together: bool
    reports: Mapping[str, str | None]
    run_seed: int
    codec: Codec[Prediction] = PREDICTIONS

    @property
    def prefix(self) -> str:
        """One file per set of targets and way."""
        return f"synthesis-{'+'.join(self.targets)}-{'together' if self.together else 'apart'}-"

    @property
    def phase(self) -> str:
        """Names the targets."""
        way = "together" if self.together else "one by one"
        return f"generate {' and '.join(self.targets)} {way}, "

    def __call__(self, method: Method[Any], inputs: Inputs, state: str) -> Sequence[Prediction]:
        """``Method.synthesize`` with all targets blanked."""
        conditions = conditioned(inputs, self.targets, self.reports, self.run_seed, state)
        if self.together:
            return generated(method, conditions, self.targets)
        return merged([generated(method, conditions, [target]) for target in self.targets])
