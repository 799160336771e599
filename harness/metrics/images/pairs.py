"""Real and generated images of one view, study by study."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference
from harness.metrics.images.extractors import Image


def pairs_of(
    view: str, predictions: Sequence[Prediction], references: Sequence[Reference]
) -> tuple[list[int], list[Image], list[Image]]:
    """Indices of references that have a real image of the view, these images, and the generated ones.

    Raises:
        HarnessError: counts differ, a prediction lacks the view, or no reference has it.
    """
    if len(predictions) != len(references):
        raise HarnessError(
            f"{len(predictions)} predictions for {len(references)} references", "join them by id first"
        )
    real = {
        index: one.images[view] for index, one in enumerate(references) if one.images and view in one.images
    }
    if not real:
        raise HarnessError(f"no study has a real {view} image", "choose another view")
    generated: list[Image] = []
    for index in real:
        images = predictions[index].images or {}
        if view not in images:
            raise HarnessError(
                f"study {references[index].id!r} has no generated {view} image",
                f"it has {', '.join(images) or 'none'}",
            )
        generated.append(images[view])
    return list(real), list(real.values()), generated
