"""Features of images, computed once however many metrics, states, rows and processes ask for them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from harness.core.feature_store import store_of
from harness.metrics.images.extractors import BATCH, Extractor, Floats, Image, Network, digest, extract

LIMIT = 20_000
"""Images whose features are held, by extractor: 200 MB at 1,280 features."""

_STORE = "metrics"

_kept: dict[str, dict[bytes, Floats]] = {}
_networks: dict[str, Network] = {}


def features(extractor: Extractor, images: Sequence[Image]) -> Floats:
    """Features (n, width) of uint8 images (H, W) or (H, W, C), in the order given.

    Raises:
        UnavailableError: the extractor's weights are absent.
    """
    name = f"{extractor.name} {extractor.source()}"
    known = _kept.setdefault(name, {})
    keys = [_digest(image) for image in images]
    new = {key: image for key, image in zip(keys, images, strict=True) if key not in known}
    if len(known) + len(new) > LIMIT:
        known.clear()
        new = dict(zip(keys, images, strict=True))
    found = _recorded(extractor, list(new))
    known.update(found)
    absent = [key for key in new if key not in found]
    for start in range(0, len(absent), BATCH):
        some = absent[start : start + BATCH]
        if name not in _networks:
            _networks[name] = extractor.network()
        known.update(
            zip(some, extract(_networks[name], [new[key] for key in some], extractor.width), strict=True)
        )
        _record(extractor, {key: known[key] for key in some})
    return np.stack([known[key] for key in keys])


def _recorded(extractor: Extractor, keys: Sequence[bytes]) -> dict[bytes, Floats]:
    """What is on disk: another process may have looked at the same real images."""
    store = store_of(_STORE)
    if store is None or not keys:
        return {}
    records = store.read([_name(extractor, key) for key in keys])
    return {
        key: np.frombuffer(record, np.float32).astype(np.float64)
        for key, record in zip(keys, records, strict=True)
        if record is not None and len(record) == 4 * extractor.width
    }


def _record(extractor: Extractor, found: dict[bytes, Floats]) -> None:
    """Keep features on disk; networks compute in single precision, so that nothing is lost."""
    store = store_of(_STORE)
    if store is not None:
        store.write({_name(extractor, key): row.astype(np.float32).tobytes() for key, row in found.items()})


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
    found = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    found.update(np.ascontiguousarray(image).tobytes())
    return found.digest()
