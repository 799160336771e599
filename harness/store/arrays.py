"""Sealed NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import CorruptFileError
from harness.core.files import is_sealed, seal, unless_damaged, verify, write_atomic


def save_array(
    path: Path, array: NDArray[Any], names: int = 0, facts: Mapping[str, Any] | None = None
) -> None:
    """Atomically write and seal an array; ``names`` and ``facts`` as ``seal`` takes them."""
    write_atomic(path, lambda stream: np.save(stream, array, allow_pickle=False))
    seal(path, names, facts)


def load_array(path: Path, names: int = 0) -> NDArray[Any] | None:
    """A sealed array, or None where it was never finished; a damaged one raises ``CorruptFileError``.

    Args:
        names: with how many names of its path it was sealed.
    """
    if path.is_dir():
        raise CorruptFileError(f"{path}: a folder is in its place", "delete it and run again")
    if not is_sealed(path):
        return None
    verify(path, names)
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CorruptFileError(f"{path}: not an array: {error}", "delete it and run again") from error
    return array


def sound_array(path: Path, names: int = 0) -> NDArray[Any] | None:
    """``load_array`` of what can be made again: a damaged array is set aside and counts as never finished."""
    return unless_damaged(path, lambda: load_array(path, names))
