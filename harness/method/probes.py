"""Probes: the vital signs of a network's named parts, measured while it trains.

A loss that falls does not show that a part of the network takes part in it: a posterior may collapse, an
expert may stay idle, a loss term may be too small to move a weight. A probe is one number about one part,
beside the number that it would have if the part did nothing and the number that it has where the part acts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness.core.types import Study
from harness.method.batching import collate, targets_of
from harness.method.epochs import Batch

if TYPE_CHECKING:
    from harness.method.trainable import Trainable

SAMPLE = 64
"""Studies on which probes are measured."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One number about one named part of a network.

    Attributes:
        part: the part as its paper names it, e.g. ``KED``.
        quantity: what was measured, with its unit, e.g. ``posterior KL, nats per study``.
        value: as measured.
        dead: what it is where the part does nothing: a noise floor, chance, a collapse.
        alive: what it is where the part acts.
    """

    part: str
    quantity: str
    value: float
    dead: float
    alive: float

    def __post_init__(self) -> None:
        if self.dead == self.alive:
            raise ValueError(f"{self.part}: {self.quantity}: dead and alive are the same number")


@dataclass(frozen=True, slots=True)
class ProbeSample:
    """The studies on which a training run's probes are measured, the same ones after every epoch.

    Attributes:
        whole: up to ``SAMPLE`` studies, in one batch.
        step: those of them that fit a training step, for gradients.
    """

    whole: Batch
    step: Batch

    @classmethod
    def of(cls, studies: Sequence[Study], trainable: Trainable) -> ProbeSample:
        """The studies whose hashes come first: a mixture of what the dataset holds, whatever its order."""
        ordered = sorted(studies, key=lambda study: hashlib.sha256(f"probe\0{study.id}".encode()).hexdigest())
        sizes = (min(SAMPLE, 4 * trainable.settings.batch_size), trainable.settings.batch_size)
        whole, step = (
            (collate(part, trainable.info, reads=trainable.reads), targets_of(part))
            for part in (ordered[:size] for size in sizes)
        )
        return cls(whole, step)

    def to(self, device: torch.device) -> ProbeSample:
        """The same studies on another device."""
        whole, step = ((inputs.to(device), targets.to(device)) for inputs, targets in (self.whole, self.step))
        return ProbeSample(whole, step)


def vital_signs(trainable: Trainable, sample: ProbeSample) -> dict[str, Any]:
    """Probes, and what each loss term counts, of a network in training.

    The network is in eval mode meanwhile; its weights, its buffers, its modes and the random numbers of the
    training stay as they are. A probe that raises does not end a training: its reason is given instead.

    Returns:
        ``probes``: the fields of each ``Probe``; ``terms``: name of a loss term -> its share of the loss
        (``loss``) and of the norms of all terms' gradients (``gradient``); ``error`` where there are none.
    """
    modes = [(module, module.training) for module in trainable.network.modules()]
    device = next(trainable.network.parameters()).device
    trainable.network.eval()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            here = sample.to(device)
            with torch.no_grad():
                probes = [_fields(probe) for probe in trainable.probes(*here.whole)]
            with torch.enable_grad():
                terms = _shares(trainable, here.step)
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        return {"error": f"{type(error).__name__}: {reason}"}
    finally:
        for module, mode in modes:
            module.training = mode
    return {"probes": probes, "terms": terms}


def _fields(probe: Probe) -> dict[str, Any]:
    return asdict(probe) | ({} if math.isfinite(probe.value) else {"value": None})


def _shares(trainable: Trainable, batch: Batch) -> dict[str, dict[str, float]]:
    """Loss term -> its share of the loss and of the gradients' norms."""
    losses = trainable.losses(*batch)
    terms = trainable.loss_terms(losses)
    total, loss = sum(float(term.detach()) for term in terms.values()), float(losses["loss"].detach())
    if not math.isclose(total, loss, rel_tol=1e-3, abs_tol=1e-4):
        raise ValueError(
            f"the loss terms {', '.join(terms)} add up to {total:.4g}, but the loss is {loss:.4g}"
        )
    parameters = [each for each in trainable.network.parameters() if each.requires_grad]
    sizes = {name: abs(float(term.detach())) for name, term in terms.items()}
    norms = {name: _gradient_norm(term, parameters) for name, term in terms.items()}
    return {
        name: {"loss": _share(sizes, name), "gradient": _share(norms, name)}
        for name in terms
        if len(terms) > 1
    }


def _gradient_norm(term: torch.Tensor, parameters: Sequence[torch.Tensor]) -> float:
    if not term.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
    squares = [float(each.float().square().sum()) for each in gradients if each is not None]
    return math.sqrt(sum(squares))


def _share(sizes: Mapping[str, float], name: str) -> float:
    total = sum(sizes.values())
    return sizes[name] / total if total else 0.0
