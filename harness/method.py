"""The contract every method fulfils, and the base class of those written in PyTorch.

A method is three calls: ``fit`` on training and validation studies, ``predict`` on blanked inputs, and
``save``/``load``. Masks, scoring, batching order and checkpoints belong to the harness.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import CorruptFileError, HarnessError, UnknownNameError
from harness.names import did_you_mean
from harness.types import IMAGE, DatasetInfo, Inputs, Prediction, Study, Targets, Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class TrainingConfig(BaseModel):
    """How the training loop runs; every learned method's ``Config`` has one as ``training``.

    Attributes:
        epochs: passes over the training studies.
        batch_size: studies per optimiser step on one device.
        gradient_clip: largest gradient norm; 0 switches clipping off.
        accumulate: batches whose gradients are summed before a step.
        bucket: batches that are sorted by report length together, which leaves less padding; 0 does not sort.
        patience: epochs without a better validation loss before training stops; 0 never stops early.
        val_every: epochs from one validation to the next.
        keep: weights of the epoch with the ``best`` validation loss, or of the ``last`` one.
        precision: Lightning's precision on a GPU; a CPU always trains in float32.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = 10
    batch_size: int = 16
    gradient_clip: float = 1.0
    accumulate: int = 1
    bucket: int = Field(default=0, ge=0)
    patience: int = 0
    val_every: int = Field(default=1, ge=1)
    keep: Literal["best", "last"] = "best"
    precision: str = "bf16-mixed"


class MethodConfig(BaseModel):
    """Base of every method's ``Config``: immutable, and an unknown key is an error that names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Deviation:
    """One place where the paper is silent or contradicts itself, and what was chosen."""

    where: str
    chosen: str


@dataclass(frozen=True, slots=True)
class MethodCard:
    """What a method is, without importing or building it further.

    Attributes:
        name: registry name.
        title: the paper's title, or what the control does.
        paper: citation or link; empty for controls.
        licence: licence of this implementation's sources and weights.
        tasks: what it produces.
        reads: modalities it can use; others are ignored.
        presets: preset name -> ``Config`` overrides.
        variants: ablation name -> (description, ``Config`` overrides).
        deviations: where the paper left a choice.
        published: figures that the paper prints, e.g. ``{"parameters": 589.7e6}``.
        learned: False for controls that fit without gradient steps.
        samples: it can draw random reports (``Method.sample``).
        gpus: GPUs that a cluster sets aside for a cell, where it has any.
        memory_gib: memory that a cluster sets aside for a cell, GiB; 0 leaves it open.
    """

    name: str
    title: str
    paper: str
    licence: str
    tasks: frozenset[Task]
    reads: frozenset[str]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"tiny": {}})
    variants: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    deviations: tuple[Deviation, ...] = ()
    published: Mapping[str, Any] = field(default_factory=dict)
    learned: bool = True
    samples: bool = False
    gpus: int = 1
    memory_gib: float = 0.0

    def __post_init__(self) -> None:
        """Who reads radiographs by view also reads a study's only picture."""
        if "frontal" in self.reads:
            object.__setattr__(self, "reads", self.reads | {IMAGE})


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
R = TypeVar("R")


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


class TorchMethod(Method[C]):
    """A method whose predictor is a ``torch.nn.Module``.

    Subclasses implement ``artifacts``, ``build``, ``losses``, ``optimizer`` and ``generate``; training,
    checkpointing, early stopping, device moves and saving are done here and in ``harness.training``.
    """

    network: torch.nn.Module

    @abstractmethod
    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """What is learned before gradient steps, as JSON: a vocabulary, class priors."""

    @abstractmethod
    def build(self, artifacts: dict[str, Any]) -> torch.nn.Module:
        """The network for these artifacts. Must also build under ``torch.device("meta")``."""

    @abstractmethod
    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Scalar losses of a batch; ``loss`` is what is minimised, the rest is shown.

        ``select``, where present, is the validation quantity that early stopping watches; else ``loss``.
        """

    @abstractmethod
    def optimizer(self, steps: int) -> tuple[torch.optim.Optimizer, Any]:
        """Optimiser and per-step learning-rate scheduler (or None) for a run of ``steps`` steps."""

    @abstractmethod
    def generate(self, inputs: Inputs) -> list[Prediction]:
        """``predict`` in eval mode, without gradients, on the network's device."""

    def prepare(self, artifacts: dict[str, Any]) -> None:
        """Build ``network`` from artifacts and remember them for ``save``."""
        self._artifacts = artifacts
        self.network = self.build(artifacts)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """Train ``network`` with the harness' only loop; resumes from ``run.directory``."""
        import torch

        from harness.training import train_network

        torch.manual_seed(run.seed)
        self.prepare(self.artifacts(train))
        train_network(self, train, val, run)

    def predict(self, inputs: Inputs) -> list[Prediction]:
        """Generate in eval mode on the network's device."""
        return self._frozen(self.generate, inputs)

    def draw_reports(self, inputs: Inputs, draws: int) -> list[list[str]]:
        """``sample`` in eval mode, without gradients, on the network's device."""
        raise NotImplementedError(f"{self.card.name} draws no reports")

    def sample(self, inputs: Inputs, draws: int) -> list[list[str]]:
        """Draw reports in eval mode on the network's device."""
        return self._frozen(self.draw_reports, inputs, draws)

    def _frozen(self, call: Callable[..., R], inputs: Inputs, *rest: Any) -> R:
        import torch

        self.network.eval()
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            return call(inputs.to(device), *rest)

    def to(self, device: str) -> Self:
        """Move the network to ``device``."""
        self.network.to(device)
        return self

    def save(self, directory: Path) -> None:
        """Write ``model.safetensors`` and ``artifacts.json``."""
        from safetensors.torch import save_model

        directory.mkdir(parents=True, exist_ok=True)
        save_model(self.network, str(directory / "model.safetensors"))
        (directory / "artifacts.json").write_text(json.dumps(self._artifacts, ensure_ascii=False))

    def load(self, directory: Path) -> None:
        """Rebuild the network from ``artifacts.json`` and fill it from ``model.safetensors``."""
        from safetensors.torch import load_model

        try:
            self.prepare(json.loads((directory / "artifacts.json").read_text()))
            load_model(self.network, str(directory / "model.safetensors"))
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise CorruptFileError(
                f"{directory}: not a checkpoint of {self.card.name}: {reason}", "delete it and run again"
            ) from error
        except Exception as error:  # safetensors raises its own type that derives from Exception alone
            if type(error).__name__ != "SafetensorError":
                raise
            raise CorruptFileError(
                f"{directory}/model.safetensors: {error}", "delete it and run again"
            ) from error


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` to ``{"a": {"b": 1}}``."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        *parents, leaf = str(key).split(".")
        branch = result
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = nested(value) if isinstance(value, Mapping) else value
    return result


def _defaults(config: type[BaseModel]) -> dict[str, Any]:
    """Defaults as plain values, so that naming one field of a section leaves the section's others alone."""
    fields = {
        name: field.get_default(call_default_factory=True)
        for name, field in config.model_fields.items()
        if not field.is_required()
    }
    return {
        name: value.model_dump() if isinstance(value, BaseModel) else value for name, value in fields.items()
    }


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``base``, mapping by mapping."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result
