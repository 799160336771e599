"""Base class of methods whose predictor is a ``torch.nn.Module``."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from harness.core.errors import CorruptFileError
from harness.core.types import Inputs, Prediction, Study, Targets
from harness.core.weights import RANDOM
from harness.method.attention import WordAttention
from harness.method.config import TrainingConfig
from harness.method.contract import C, FitRun, Method
from harness.method.pretrained import require_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from harness.method.probes import Probe

R = TypeVar("R")

_WORD = "normal"
"""Every text of the default example batch."""


class TorchMethod(Method[C]):
    """A method whose predictor is a ``torch.nn.Module``; the training loop takes it as a ``Trainable``.

    Subclasses implement ``artifacts``, ``build``, ``losses``, ``optimizer`` and ``generate``; training,
    checkpointing, early stopping, device moves and saving are done here and in ``harness.method.training``.
    """

    network: torch.nn.Module

    @property
    def name(self) -> str:
        """The method's registry name: what error messages of the training loop call it."""
        return self.card.name

    @property
    def reads(self) -> frozenset[str]:
        """Modalities that the card declares."""
        return self.card.reads

    @property
    def settings(self) -> TrainingConfig:
        """The section ``training`` of ``Config``, which every learned method has."""
        config: Any = self.config
        training: TrainingConfig = config.training
        return training

    @property
    def spreadable(self) -> bool:
        """True: ``losses`` calls ``network`` as a whole, so ``--strategy fsdp`` can spread its parameters."""
        return True

    @abstractmethod
    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """What is learned before gradient steps, as JSON: a vocabulary, class priors."""

    @abstractmethod
    def build(self, artifacts: dict[str, Any]) -> torch.nn.Module:
        """The network for these artifacts. Must also build under ``torch.device("meta")``."""

    @abstractmethod
    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Scalar losses of a batch; ``loss`` is minimised, the others are named in errors.

        ``select``, where present, is the validation quantity that early stopping watches; else ``loss``.
        """

    @abstractmethod
    def optimizer(self, steps: int) -> tuple[torch.optim.Optimizer, Any]:
        """Optimiser and per-step learning-rate scheduler (or None) for a run of ``steps`` steps."""

    def loss_terms(self, losses: dict[str, Tensor]) -> Mapping[str, Tensor]:
        """The weighted summands of ``losses["loss"]``, by name; their sum is the loss.

        The training's history records which share of the loss and of its gradient each of them has.
        """
        return {"loss": losses["loss"]}

    def probes(self, inputs: Inputs, targets: Targets) -> Sequence[Probe]:
        """Numbers that show whether the named parts of the network act, on a batch of validation studies.

        Called in eval mode, without gradients, after each validated epoch; see ``harness.method.probes``.
        """
        return ()

    @abstractmethod
    def generate(self, inputs: Inputs) -> list[Prediction]:
        """``predict`` in eval mode, without gradients, on the network's device."""

    def reference_artifacts(self) -> dict[str, Any] | None:
        """Artifacts of the paper's size, for ``harness describe`` and ``harness bench methods``.

        None, the default, says that the size follows from the training data: it is not counted before.
        """
        return None

    def example_batch(self, batch_size: int = 1) -> tuple[Inputs, Targets]:
        """A batch on which FLOPs are counted: black images and one word for every text, nothing missing.

        Methods whose cost follows from the length of a text override it.
        """
        import torch

        info = self.info
        shape = (batch_size, info.channels, info.image_size, info.image_size)
        images = {view: torch.zeros(shape) for view in info.image_modalities}
        context: list[str | None] = [_WORD if info.has_context else None] * batch_size
        present = {name: torch.ones(batch_size, dtype=torch.bool) for name in info.modalities}
        inputs = Inputs(["example"] * batch_size, images, context, present, [0] * batch_size)
        labels = torch.zeros(batch_size, len(info.label_names)) if info.label_names else None
        return inputs, Targets([_WORD] * batch_size, labels)

    def as_fitted(self, inputs: Inputs) -> Any:
        """Run the network as it remains after training, for methods that then leave parts of it behind.

        Returns:
            Anything but None; None, the default, says that all parts of the network remain.
        """
        return None

    def prepare(self, artifacts: dict[str, Any]) -> None:
        """Build ``network`` from artifacts and remember them for ``save``."""
        self._artifacts = artifacts
        self.network = self.build(artifacts)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """Train ``network`` with the harness' only loop; resumes from ``run.directory``."""
        import torch

        from harness.method.training import train_network

        require_weights(self.config.pretrained)
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

    def latent_vectors(self, inputs: Inputs) -> Mapping[str, Tensor]:
        """``latents`` in eval mode, without gradients, on the network's device."""
        return {}

    def latents(self, inputs: Inputs) -> Mapping[str, Any]:
        """Latents as float32 arrays, of a batch in eval mode on the network's device."""
        vectors = self._frozen(self.latent_vectors, inputs)
        return {kind: each.float().cpu().numpy() for kind, each in vectors.items()}

    def attention_maps(self, inputs: Inputs, reports: Sequence[str]) -> Sequence[WordAttention]:
        """``attention`` in eval mode, without gradients, on the network's device."""
        return ()

    def attention(self, inputs: Inputs, reports: Sequence[str]) -> Sequence[WordAttention]:
        """Attention of a batch in eval mode on the network's device."""
        return self._frozen(self.attention_maps, inputs, reports)

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
        """Rebuild the network from ``artifacts.json`` and fill it from ``model.safetensors``.

        The pretrained weights that training started from are not needed any more.
        """
        from safetensors.torch import load_model

        config = self.config
        fields = {part.setting.partition(".")[2]: RANDOM for part in config.pretrained}
        try:
            self.config = config.model_copy(update=fields)
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
        finally:
            self.config = config
