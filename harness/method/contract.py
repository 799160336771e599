"""The contract every method fulfils, and the base class of those written in PyTorch.

A method is three calls: ``fit`` on training and validation studies, ``predict`` on blanked inputs, and
``save``/``load``. Masks, scoring, batching order and checkpoints belong to the harness.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from pydantic import ValidationError

from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.core.types import DatasetInfo, Inputs, Prediction, Study
from harness.method.card import MethodCard
from harness.method.config import MethodConfig, _defaults, merged, nested

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class FitRun:
    """What the harness gives a method for one training run.

    Attributes:
        directory: where resumable checkpoints live; an interrupted ``fit`` continues from there.
        device: torch device string, e.g. ``cpu`` or ``cuda:0``.
        seed: seeds initialisation, shuffling and dropout.
        progress: called with (fraction done in [0, 1], one line of status).
    """

    directory: Path
    device: str
    seed: int
    progress: Callable[[float, str], None] = lambda fraction, status: None


C = TypeVar("C", bound=MethodConfig)


class Method(ABC, Generic[C]):
    """Base class of every method. Subclasses set ``card`` and ``Config``."""

    card: ClassVar[MethodCard]
    Config: ClassVar[type[MethodConfig]]

    def __init__(self, config: C, info: DatasetInfo) -> None:
        self.config = config
        self.info = info

    @classmethod
    def create(
        cls,
        info: DatasetInfo,
        *,
        variant: str | None = None,
        preset: str = "tiny",
        overrides: Mapping[str, Any] | None = None,
    ) -> Self:
        """Build an unfitted method from preset, then variant, then ``--set`` overrides (later wins).

        Override keys may be dotted (``training.epochs``).

        Raises:
            UnknownNameError: preset or variant is not on the card.
            HarnessError: an override names no field of ``Config`` or has a value it refuses.
        """
        card = cls.card
        if preset not in card.presets and not card.learned:
            preset = next(iter(card.presets))
        if preset not in card.presets:
            raise UnknownNameError(
                f"--preset {preset}: {card.name} has no such preset", did_you_mean(preset, card.presets)
            )
        values = merged(_defaults(cls.Config), nested(card.presets[preset]))
        if variant is not None:
            if variant not in card.variants:
                raise UnknownNameError(
                    f"unknown variant {card.name}:{variant}", did_you_mean(variant, card.variants)
                )
            values = merged(values, nested(card.variants[variant][1]))
        values = merged(values, nested(overrides or {}))
        try:
            config = cls.Config.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise HarnessError(
                f"--set {card.name}.{key}: {first['msg'].lower()}",
                did_you_mean(key.split(".")[0], cls.Config.model_fields),
            ) from None
        return cls(config, info)  # type: ignore[arg-type]

    @abstractmethod
    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """Learn from training studies; select on validation studies; never see a test study."""

    @abstractmethod
    def predict(self, inputs: Inputs) -> list[Prediction]:
        """One prediction per study of the batch: a function of that study's inputs and seed alone."""

    def sample(self, inputs: Inputs, draws: int) -> list[list[str]]:
        """``draws`` random reports for each study, asked for where the card says ``samples``.

        A report is a function of its study's inputs and seed and of its number among the draws alone, so that
        more draws leave the first ones as they were.
        """
        raise NotImplementedError(f"{self.card.name} draws no reports")

    def synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        """Generate image modalities or ``report``, asked for where the card declares ``Task.SYNTHESIZE``.

        Conditions are the modalities present in ``inputs`` and ``inputs.reports``; a target is never among
        them. Noise follows from ``inputs.seeds``. A prediction has ``images`` of the image targets.
        """
        raise NotImplementedError(f"{self.card.name} synthesizes nothing")

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write what ``load`` needs into ``directory`` (safetensors and JSON; no pickles)."""

    @abstractmethod
    def load(self, directory: Path) -> None:
        """Become the fitted method that was saved into ``directory``."""

    def to(self, device: str) -> Self:
        """Move to ``device``; methods without tensors stay where they are."""
        return self
