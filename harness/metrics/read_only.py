"""Studies as code of others gets them: what it changes in place would change other metrics' numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar, overload

from numpy.typing import NDArray

from harness.core.types import JointPrediction, Prediction, Reference

Shown = TypeVar("Shown", Prediction, Reference)


def read_only(shown: Shown) -> Shown:
    """The same prediction or reference, with arrays that cannot be written; nothing is copied."""
    changed: dict[str, Any] = {"images": None if shown.images is None else _Images(shown.images)}
    if isinstance(shown, Reference):
        changed["labels"] = _fixed(shown.labels)
    else:
        changed["probabilities"] = _fixed(shown.probabilities)
    if isinstance(shown, JointPrediction):
        changed["apart"] = read_only(shown.apart)
    return replace(shown, **changed)


@overload
def _fixed(array: NDArray[Any]) -> NDArray[Any]: ...
@overload
def _fixed(array: None) -> None: ...
def _fixed(array: NDArray[Any] | None) -> NDArray[Any] | None:
    if array is None:
        return None
    view = array.view()
    view.flags.writeable = False
    return view


class _Images(Mapping[str, NDArray[Any]]):
    """Images that are opened when they are asked for, as those behind it."""

    def __init__(self, images: Mapping[str, NDArray[Any]]) -> None:
        self._images = images

    def __getitem__(self, view: str) -> NDArray[Any]:
        return _fixed(self._images[view])

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)
