"""The contract that every method fulfils.

A method is three calls: ``fit`` on training and validation studies, ``predict`` on blanked inputs, and
``save``/``load``. Masks, scoring, batching order and checkpoints belong to the harness.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Sized
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from pydantic import ValidationError

from harness.core.dotted import merged, nested
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.core.types import DatasetInfo, Inputs, Prediction, Study
from harness.method.attention import WordAttention
from harness.method.card import MethodCard
from harness.method.config import MethodConfig, defaults


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


class ExpertRouting(Protocol):
    """To which experts one block of a network sent the words of a batch.

    Attributes:
        words: the routed words.
    """

    @property
    def words(self) -> Sized:
        """The routed words; only their number is read."""
        ...

    def utilisation(self) -> Any:
        """Shares (blocks, experts) of the words; rows sum to 1."""
        ...


C = TypeVar("C", bound=MethodConfig)


class Method(ABC, Generic[C]):
    """Base class of every method. Subclasses set ``card`` and ``Config``; the rest is optional.

    Attributes:
        card: what the method is.
        Config: its settings.
        has_experts: ``routing`` has an answer; mixtures of experts set it.
        has_branches: ``confidences`` has an answer; methods that weight their branches by confidence set it.
        has_attention: ``attention`` has an answer; methods whose words attend to image positions set it.
        SAMPLERS: label -> options of ``sample_with``, of methods whose sampler can be chosen after training.
            ``harness bench sampling`` compares them with the last one, which is the paper's.
        peer: module that adapts the method's official code for ``harness bench methods``, or None.
    """

    card: ClassVar[MethodCard]
    Config: ClassVar[type[MethodConfig]]
    has_experts: ClassVar[bool] = False
    has_branches: ClassVar[bool] = False
    has_attention: ClassVar[bool] = False
    SAMPLERS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    peer: ClassVar[str | None] = None

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
        config = cls.configured(variant=variant, preset=preset, overrides=overrides)
        with redirect_stdout(sys.stderr):  # standard output is for results
            return cls(config, info)  # type: ignore[arg-type]

    @classmethod
    def configured(
        cls, *, variant: str | None = None, preset: str = "tiny", overrides: Mapping[str, Any] | None = None
    ) -> MethodConfig:
        """The configuration that ``create`` would give a method, checked without a dataset.

        Raises:
            UnknownNameError: preset or variant is not on the card.
            HarnessError: an override names no field of ``Config`` or has a value it refuses.
        """
        values = merged(_named_values(cls, preset, variant), nested(overrides or {}))
        try:
            return cls.Config.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise HarnessError(
                f"--set {cls.card.name}.{key}: {first['msg'].lower()}",
                did_you_mean(key.split(".")[0], cls.Config.model_fields),
            ) from None

    @property
    def remark(self) -> str:
        """One line that every row of this method on this dataset must say; empty, the default, says nothing.

        It follows from settings and dataset alone, and is asked of a method that is not fitted.
        """
        return ""

    @abstractmethod
    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """Learn from training studies; select on validation studies; never see a test study."""

    @abstractmethod
    def predict(self, inputs: Inputs) -> list[Prediction]:
        """One prediction per study of the batch: a function of that study's inputs and seed alone."""

    def sample(self, inputs: Inputs, draws: int) -> list[list[str]]:
        """``draws`` random reports for each study; called where the card declares ``samples``.

        A report is a function of its study's inputs and seed and of its number among the draws alone, so that
        more draws leave the first ones as they were.
        """
        raise NotImplementedError(f"{self.card.name} draws no reports")

    def synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        """Generate image modalities or ``report``; called where the card declares ``Task.SYNTHESIZE``.

        Conditions are the modalities present in ``inputs`` and ``inputs.reports``; a target is never among
        them. Noise follows from ``inputs.seeds``. A prediction has ``images`` of the image targets.
        """
        raise NotImplementedError(f"{self.card.name} synthesizes nothing")

    def sample_with(self, *args: Any, **options: Any) -> None:
        """Sample with other options from here on, those of one entry of ``SAMPLERS``; nothing is trained."""
        raise NotImplementedError(f"{self.card.name} has one sampler")

    def routing(self, inputs: Inputs) -> Sequence[ExpertRouting]:
        """Where a mixture of experts sends the words of a batch; called where ``has_experts``.

        Raises:
            HarnessError: this variant has no experts.
        """
        return ()

    def confidences(self, inputs: Inputs) -> Mapping[str, Any]:
        """Branch -> its confidence in each study of a batch, (B,) in [0, 1]; called where ``has_branches``.

        A branch whose modality a study lacks has a confidence, too. Empty for variants without confidence.
        """
        return {}

    def latents(self, inputs: Inputs) -> Mapping[str, Any]:
        """Kind of latent -> its vectors in each study of a batch, (B, d), d the same for all kinds.

        A row of NaN says that the study has no such latent. Empty, the default, for methods and variants
        that have none with a name.
        """
        return {}

    def attention(self, inputs: Inputs, reports: Sequence[str]) -> Sequence[WordAttention]:
        """Where each word of the reports looked, a study each; called where ``has_attention``.

        Args:
            reports: what the method wrote about the studies of the batch.

        Returns:
            Empty, the default, for variants whose words do not attend to image positions.
        """
        return ()

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write what ``load`` needs into ``directory`` (safetensors and JSON; no pickles)."""

    @abstractmethod
    def load(self, directory: Path) -> None:
        """Become the fitted method that was saved into ``directory``."""

    def to(self, device: str) -> Self:
        """Move to ``device``; methods without tensors stay where they are."""
        return self


def _named_values(method: type[Method[Any]], preset: str, variant: str | None) -> dict[str, Any]:
    """Values of ``Config``: its defaults, then those of a preset, then those of a variant.

    Controls have one preset: any name means it.
    """
    card = method.card
    if preset not in card.presets and not card.learned:
        preset = next(iter(card.presets))
    if preset not in card.presets:
        raise UnknownNameError(
            f"--preset {preset}: {card.name} has no such preset", did_you_mean(preset, card.presets)
        )
    values = merged(defaults(method.Config), nested(card.presets[preset]))
    if variant is None:
        return values
    if variant not in card.variants:
        raise UnknownNameError(f"unknown variant {card.name}:{variant}", did_you_mean(variant, card.variants))
    return merged(values, nested(card.variants[variant][1]))
