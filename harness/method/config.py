"""Settings of a method and of its training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from harness.core.settings import Settings
from harness.method.pretrained import PretrainedPart

_MOST = 10**9
"""Epochs, and studies at a time: more is a mistake, and far more no number of the machine."""


class TrainingConfig(Settings):
    """How the training loop runs; every learned method's ``Config`` has one as ``training``.

    Attributes:
        epochs: passes over the training studies.
        batch_size: studies per optimiser step on one device.
        gradient_clip: largest gradient norm; 0 switches clipping off.
        accumulate: batches whose gradients are summed before a step.
        bucket: batches that are sorted by report length together, which leaves less padding; 0 does not sort.
        patience: validations without a better one before training stops; 0 never stops early.
        monitor: what makes a validation better: a lower ``loss``, or a higher score of the reports that are
            generated from the validation studies (``text``: half the mean of BLEU-1 to BLEU-4, half ROUGE-L).
        val_every: epochs from one validation to the next.
        keep: weights of the epoch with the ``best`` validation, or of the ``last`` one.
        precision: Lightning's precision on a GPU; a CPU always trains in float32.
    """

    epochs: int = Field(default=10, ge=0, le=_MOST)
    batch_size: int = Field(default=16, ge=1, le=_MOST)
    gradient_clip: float = Field(default=1.0, ge=0)
    accumulate: int = Field(default=1, ge=1)
    bucket: int = Field(default=0, ge=0)
    patience: int = Field(default=0, ge=0)
    monitor: Literal["loss", "text"] = "loss"
    val_every: int = Field(default=1, ge=1)
    keep: Literal["best", "last"] = "best"
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"] = "bf16-mixed"


class MethodConfig(Settings):
    """Base of every method's ``Config``: immutable, and an unknown key is an error that names it."""

    @property
    def pretrained(self) -> tuple[PretrainedPart, ...]:
        """Parts that start from pretrained weights, with what the settings say; none by default."""
        return ()


def defaults(config: type[BaseModel]) -> dict[str, Any]:
    """Defaults as plain values, so that naming one field of a section leaves the section's others alone."""
    fields = {
        name: field.get_default(call_default_factory=True)
        for name, field in config.model_fields.items()
        if not field.is_required()
    }
    return {
        name: value.model_dump() if isinstance(value, BaseModel) else value for name, value in fields.items()
    }
