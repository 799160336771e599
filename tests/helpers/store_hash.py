"""What is in a store, without what may differ between two runs of the same thing: times, dates, places."""

from __future__ import annotations

import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.files import DAMAGED, verify
from harness.store.tolerance import TOLERANCE

SEAL = ".sha256.json"
VOLATILE = {
    "seconds",
    "seconds_of_last_session",
    "seconds_per_study",
    "training_seconds",
    "peak_memory_gib",
    "unix_time",
    "store",
    "workers",
    "threads",
    "sha256",
}
"""Keys that hold times, memory, where and beside what a run worked, and a checksum over all of it."""

_LOGS = ("error.txt", "output.txt", ".lock", ".runs.lock", ".holder.json")
DIGITS = round(-math.log10(TOLERANCE))
"""BLAS sums in an order that depends on where arrays lie in memory, so the last digits are left out."""


def store_hash(store: Path) -> str:
    """SHA-256 over names and contents of everything in a store that is not a time, a date or a log."""
    return hashlib.sha256(json.dumps(contents(store), sort_keys=True).encode()).hexdigest()


def contents(store: Path) -> dict[str, str]:
    """File name below the store -> digest of its lasting content; for telling what differs.

    Damaged files that were set aside are left out.
    """
    return {
        path.relative_to(store).as_posix(): hashlib.sha256(_lasting(path)).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file()
        and path.name not in _LOGS
        and not path.name.endswith(".seconds.json")
        and DAMAGED not in path.relative_to(store).as_posix()
        and path.parent.name != "used"  # in one process it names modules that other plugins imported first
    }


def _lasting(path: Path) -> bytes:
    if path.name.endswith(SEAL):
        verify(path.with_name(path.name.removesuffix(SEAL)))
        return b"fits"
    if path.suffix == ".json":
        return json.dumps(_stable(json.loads(path.read_text())), sort_keys=True).encode()
    if path.suffix == ".ckpt":
        return repr(_stable(torch.load(path, weights_only=True))).encode()
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return b"".join(name.encode() + _array(arrays[name]) for name in sorted(arrays.files))
    if path.suffix == ".npy":
        return _array(np.load(path))
    return path.read_bytes()


def _array(values: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values.round(6))
    return stream.getvalue()


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _stable(each) for key, each in value.items() if key not in VOLATILE}
    if isinstance(value, list | tuple):
        return [_stable(each) for each in value]
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
