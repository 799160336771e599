"""Masks for data of one's own: no dataset, no studies, only which modalities each sample has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.core.errors import HarnessError
from harness.missingness.mechanisms import Observed, Population
from harness.missingness.plan import MaskPlan, Missingness, draw_plan
from harness.missingness.states import lost_by, missing_in


@dataclass(frozen=True, slots=True, eq=False)
class ArrayMasks:
    """Masks of samples, as ``draw_masks`` draws them.

    Attributes:
        plan: the state of every sample for every mask seed and rate.
        modalities: M names, in the order of the columns.
        present: bool (n, M), what the samples have by nature.
    """

    plan: MaskPlan
    modalities: tuple[str, ...]
    present: NDArray[np.bool_]

    def left(self, rate: float, seed: int = 0) -> NDArray[np.bool_]:
        """Which modalities each sample has left, bool (n, M).

        Args:
            rate: one of the rates that masks were drawn for.
            seed: mask seed, counted from 0.

        Raises:
            HarnessError: no masks of this rate or seed.
        """
        if rate not in self.plan.rates or seed not in self.plan.seeds:
            rates = ", ".join(f"{each:g}" for each in self.plan.rates)
            raise HarnessError(
                f"no masks of rate {rate:g} and seed {seed}",
                f"rates: {rates}; seeds: 0 to {len(self.plan.seeds) - 1}",
            )
        states = self.plan.state_names(self.plan.seeds.index(seed), self.plan.rates.index(rate))
        lost = np.array([[name in missing_in(state) for name in self.modalities] for state in states])
        return self.present & ~lost.reshape(self.present.shape)

    def in_state(self, state: str) -> NDArray[np.bool_]:
        """Which modalities are left where all samples are put into one state, e.g. ``frontal+context``.

        A sample that would be left with nothing keeps everything.

        Raises:
            HarnessError: the state names no modality of these.
        """
        unknown = missing_in(state) - {*self.modalities}
        if unknown:
            raise HarnessError(f"{state}: no modality {min(unknown)!r}", f"has {', '.join(self.modalities)}")
        offered = frozenset(self.modalities)
        rows = []
        for row in self.present:
            own = frozenset(name for name, has in zip(self.modalities, row, strict=True) if has)
            rows.append([name in own - lost_by(own, state, offered) for name in self.modalities])
        return np.array(rows, dtype=bool).reshape(self.present.shape)


def draw_masks(
    present: ArrayLike,
    modalities: Sequence[str],
    missingness: Missingness,
    *,
    ids: Sequence[str] | None = None,
    attributes: Mapping[str, Sequence[float | str | None]] | None = None,
    labels: ArrayLike | None = None,
) -> ArrayMasks:
    """Draw nested, seeded masks for samples.

    Args:
        present: bool (n, M), which modalities each sample has by nature.
        modalities: M names.
        missingness: drop policy, mechanism, rates and mask seeds, e.g.
            ``Missingness("any", "mcar", (0.2, 0.4), range(20))``.
        ids: n unique names; masks depend on names, not on positions. Default: the positions.
        attributes: name -> n values, for ``mar:NAME``.
        labels: (n, L), for ``mnar``; exclusive classes where each row has one 1, else independent findings.

    Raises:
        HarnessError: shapes do not fit, a sample has nothing, or settings that make no sense.
    """
    if len({*modalities}) < len(modalities):
        raise HarnessError("modalities have a name twice", "name each one once")
    _check_order(present, modalities, ids)
    _check_order(labels, None, ids)
    has = np.asarray(present)
    if has.ndim != 2 or has.shape[1] != len(modalities) or not np.isin(has, (0, 1)).all():
        raise HarnessError(
            f"present is {has.dtype} {has.shape}", f"expected True or False, (n, {len(modalities)})"
        )
    has = has.astype(bool)
    empty = np.flatnonzero(~has.any(axis=1))
    if len(empty):
        raise HarnessError(f"{len(empty)} samples have no modality, the first is number {empty[0]}")
    names = [str(index) for index in range(len(has))] if ids is None else [str(each) for each in ids]
    own = [frozenset(np.array(modalities, dtype=object)[row]) for row in has]
    population = Population.of(names, own, _observed(len(has), _columns(attributes, ids), labels))
    return ArrayMasks(draw_plan(population, modalities, missingness), tuple(modalities), has)


def _check_order(values: Any, names: Sequence[str] | None, ids: Any) -> None:
    """Refuse a table of samples whose own names say that its order is another one.

    Raises:
        HarnessError: columns that are not ``names``, or an index with the ids in another order.
    """
    index = getattr(values, "index", None) if hasattr(values, "iloc") else None
    if index is None:
        return
    if names is not None and list(map(str, values.columns)) != list(map(str, names)):
        raise HarnessError("the columns of present are not the modalities", "bring both into one order")
    theirs = getattr(ids, "index", None) if hasattr(ids, "iloc") else None
    listed = [] if ids is None else list(map(str, ids))
    other = set(listed) == set(map(str, index)) and listed != list(map(str, index))
    if other or (theirs is not None and not theirs.equals(index)):
        raise HarnessError("a table of samples has them in another order than ids", "bring both into one")


def _columns(attributes: Any, ids: Any) -> dict[str, list[Any]]:
    """Name -> values of each sample.

    Raises:
        HarnessError: no mapping or table.
    """
    if attributes is None:
        return {}
    if not (isinstance(attributes, Mapping) or hasattr(attributes, "columns")):
        raise HarnessError(f"attributes are a {type(attributes).__name__}", "give a mapping: name -> values")
    for name in attributes:
        _check_order(attributes[name], None, ids)
    return {str(name): list(attributes[name]) for name in attributes}


def _observed(
    n: int, attributes: Mapping[str, Sequence[float | str | None]], labels: ArrayLike | None
) -> Observed:
    """What mechanisms may look at.

    Raises:
        HarnessError: a column has another length than the samples.
    """
    matrix = None if labels is None else np.asarray(labels, dtype=np.float64)
    if matrix is not None and (matrix.ndim != 2 or len(matrix) != n):
        raise HarnessError(f"labels are {matrix.shape}", f"expected ({n}, L)")
    for name, column in attributes.items():
        if len(column) != n:
            raise HarnessError(f"attribute {name} has {len(column)} values for {n} samples")
    rows = tuple({name: column[index] for name, column in attributes.items()} for index in range(n))
    label_names = () if matrix is None else tuple(f"label {index}" for index in range(matrix.shape[1]))
    exclusive = matrix is not None and bool((matrix.sum(axis=1) == 1).all())
    return Observed(rows, matrix, label_names, multilabel=not exclusive)
