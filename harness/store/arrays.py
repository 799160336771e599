"""Sealed NumPy arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import CorruptFileError
from harness.core.files import (
    is_sealed,
    seal,
    verify,
    write_atomic,
)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Atomically write and seal an array."""
    write_atomic(path, lambda stream: np.save(stream, array, allow_pickle=False))
    seal(path)


def load_array(path: Path) -> NDArray[Any] | None:
    """A sealed array, or None where it was never finished; a damaged one raises ``CorruptFileError``."""
    if not is_sealed(path):
        return None
    verify(path)
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CorruptFileError(f"{path}: not an array: {error}", "delete it and run again") from error
    return array
