"""What a dataset of another package holds: its own fingerprint may stay while its data change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.core.types import Study
from harness.datasets.base import Dataset

_LOOKED_AT = 16
"""Studies of each split whose pixels count: to decode all images takes too long."""


def add_to_fingerprint(dataset: Dataset, splits: Mapping[str, Sequence[Study]]) -> None:
    """Add a digest of the studies to the fingerprint in ``dataset.info``.

    All texts, labels, attributes and names count, and the pixels of some studies of each split.
    """
    if not (isinstance(dataset.info.fingerprint, str) and dataset.info.fingerprint):
        return  # a fault, which the check of the studies names
    digest = hashlib.sha256()
    for split, studies in splits.items():
        some = sampled(len(studies))
        for number, study in enumerate(studies):
            for part in parts_of(study, with_pixels=number in some):
                digest.update(len(part).to_bytes(8, "little") + part)
        digest.update(split.encode())
    info = replace(dataset.info, fingerprint=f"{dataset.info.fingerprint}+{digest.hexdigest()[:12]}")
    try:
        dataset.info = info
    except AttributeError:  # a property, or a frozen class
        own = type(dataset)
        facts = {"info": info, "__module__": own.__module__, "__qualname__": own.__qualname__}
        object.__setattr__(dataset, "__class__", type(own.__name__, (own,), facts))


def sampled(count: int) -> set[int]:
    """Numbers of the studies of a split whose pixels count."""
    return set(np.linspace(0, count - 1, _LOOKED_AT).round().astype(int).tolist())


def parts_of(study: Study, with_pixels: bool) -> Iterator[bytes]:
    """A study as byte strings."""
    texts = (study.id, study.patient_id, study.report, study.context, sorted(study.images))
    attributes = sorted(map(repr, study.attributes.items()))
    yield repr((*texts, attributes)).encode(errors="surrogatepass")
    if study.labels is not None:
        yield np.asarray(study.labels, dtype=np.float64).tobytes()
    for view in sorted(study.images) if with_pixels else ():
        yield np.ascontiguousarray(study.images[view]).tobytes()
