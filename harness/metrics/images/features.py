"""Features of images, computed once for all metrics, modality states, entries and processes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from harness.core.feature_store import store_of
from harness.metrics.images.extractors import BATCH, Extractor, Floats, Image, Network, digest, extract

LIMIT = 20_000
"""Images whose features are kept in memory, per extractor: 200 MB at 1,280 features."""

_STORE = "metrics"

_held: dict[str, dict[bytes, Floats]] = {}
_networks: dict[str, Network] = {}


def features(extractor: Extractor, images: Sequence[Image]) -> Floats:
    """Features (n, width) of uint8 images (H, W) or (H, W, C), in the same order.

    Raises:
        UnavailableError: the extractor's weights are absent.
    """
    name = f"{extractor.name} {extractor.source()}"
    vectors = _held.setdefault(name, {})
    keys = [_digest(image) for image in images]
    new = {key: image for key, image in zip(keys, images, strict=True) if key not in vectors}
    if len(vectors) + len(new) > LIMIT:
        vectors.clear()
        new = dict(zip(keys, images, strict=True))
    recorded = _recorded(extractor, list(new))
    vectors.update(recorded)
    absent = [key for key in new if key not in recorded]
    for start in range(0, len(absent), BATCH):
        some = absent[start : start + BATCH]
        if name not in _networks:
            _networks[name] = extractor.network()
        vectors.update(
            zip(some, extract(_networks[name], [new[key] for key in some], extractor.width), strict=True)
        )
        _record(extractor, {key: vectors[key] for key in some})
    return np.stack([vectors[key] for key in keys])


def _recorded(extractor: Extractor, keys: Sequence[bytes]) -> dict[bytes, Floats]:
    """Features on disk: another process may have computed those of the same real images."""
    store = store_of(_STORE)
    if store is None or not keys:
        return {}
    records = store.read([_name(extractor, key) for key in keys])
    return {
        key: np.frombuffer(record, np.float32).astype(np.float64)
        for key, record in zip(keys, records, strict=True)
        if record is not None and len(record) == 4 * extractor.width
    }


def _record(extractor: Extractor, vectors: dict[bytes, Floats]) -> None:
    """Keep features on disk; networks compute in single precision, so that nothing is lost."""
    store = store_of(_STORE)
    if store is not None:
        store.write(
            {_name(extractor, key): vector.astype(np.float32).tobytes() for key, vector in vectors.items()}
        )


def _name(extractor: Extractor, key: bytes) -> bytes:
    identity = f"{extractor.name} {extractor.preparation} {_weights(extractor.source())} {_torch()}"
    return hashlib.blake2b(identity.encode() + key, digest_size=16).digest()


@cache
def _weights(source: Path) -> str:
    return digest(source)


@cache
def _torch() -> str:
    import torch

    return torch.__version__


def _digest(image: Image) -> bytes:
    state = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    state.update(np.ascontiguousarray(image).tobytes())
    return state.digest()
