"""From studies to a batch: absent modalities are blanked here and nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence

import numpy as np
import torch

from harness.core.errors import HarnessError
from harness.core.types import CONTEXT, DatasetInfo, Inputs, Study, Targets
from harness.missingness.states import FULL, missing_in


def study_seed(run_seed: int, study_id: str, state: str) -> int:
    """A 63-bit seed that depends on run seed, study and modality state, and on nothing else."""
    digest = hashlib.blake2b(f"{run_seed}\0{study_id}\0{state}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def collate(
    studies: Sequence[Study],
    info: DatasetInfo,
    *,
    reads: Container[str] | None = None,
    dropped: str | None = None,
    run_seed: int = 0,
    donors: Mapping[str, Study] | None = None,
) -> Inputs:
    """Inputs of a batch of studies in one modality state.

    Args:
        studies: B studies.
        info: names the modalities and the image shape.
        reads: modalities that the method's card declares; those that the dataset does not map to one of
            them (``DatasetInfo.read_by``) are blanked. None: nothing is blanked.
        dropped: modality to blank for every study of the batch, several joined by ``+`` as in a state's name,
            or None.
        run_seed: goes into each study's seed.
        donors: study id -> study whose images replace its own (the shuffled-image control); which
            views are present still follows the study itself.
    """
    size = (len(studies), info.image_size, info.image_size, info.channels)
    state = dropped or FULL
    visible = (frozenset(info.modalities) if reads is None else info.read_by(reads)) - missing_in(state)

    images: dict[str, torch.Tensor] = {}
    present: dict[str, torch.Tensor] = {}
    for view in info.image_modalities:
        fractions = np.empty(size, dtype=np.float32)
        has_view = np.zeros(len(studies), dtype=bool)
        for row, study in enumerate(studies):
            source = donors[study.id] if donors is not None else study
            if view in visible and view in study.images and view in source.images:
                # NumPy converts and divides block by block: each pixel passes through the cache once.
                np.divide(_pixels(source, view), np.float32(255.0), out=fractions[row], dtype=np.float32)
                has_view[row] = True
        fractions[~has_view] = 0.0
        images[view] = torch.from_numpy(fractions).permute(0, 3, 1, 2)
        present[view] = torch.from_numpy(has_view)
    context: list[str | None] = [None] * len(studies)
    if info.has_context:
        if CONTEXT in visible:
            context = [study.context for study in studies]
        present[CONTEXT] = torch.tensor([text is not None for text in context])
    seeds = [study_seed(run_seed, study.id, state) for study in studies]
    return Inputs([study.id for study in studies], images, context, present, seeds)


def _pixels(study: Study, view: str) -> np.ndarray:
    """A view's pixels, uint8 (H, W, C).

    Raises:
        HarnessError: they are of another kind, in which white may be any number.
    """
    pixels = study.images[view]
    kind = getattr(pixels, "dtype", type(pixels).__name__)
    if kind != np.uint8:
        raise HarnessError(f"study {study.id}: its {view} view is {kind}", "give uint8, 0 to 255")
    return pixels


def targets_of(studies: Sequence[Study]) -> Targets:
    """Targets of a batch of training or validation studies; labels only where every study has some."""
    labels = [study.labels for study in studies]
    stacked = None
    if labels and all(label is not None for label in labels):
        stacked = torch.from_numpy(np.stack([label for label in labels if label is not None]))
    return Targets([study.report or "" for study in studies], stacked)
