"""Masks for studies: a run's plan, plans in files that two labs share, and training without modalities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import CorruptFileError, HarnessError
from harness.core.files import clear_place, read_json, unless_damaged, write_json
from harness.core.types import CONTEXT, DatasetInfo, Study
from harness.missingness.mechanisms import Observed, Population
from harness.missingness.plan import MaskPlan, Missingness, check_rates, draw_plan
from harness.missingness.policy import DropPolicy
from harness.missingness.states import FULL, lost_by, missing_in


def plan_of(studies: Sequence[Study], info: DatasetInfo, missingness: Missingness) -> MaskPlan:
    """Masks for the studies of a dataset; see ``missingness.plan.draw_plan``."""
    population = Population.of(
        [study.id for study in studies],
        [study.modalities for study in studies],
        Observed.of(studies, info.label_names, info.multilabel),
    )
    return draw_plan(population, info.modalities, missingness)


def read_plan(path: Path, studies: Sequence[Study], info: DatasetInfo) -> MaskPlan:
    """A plan that was saved, for these studies; rate 0 is added where the file lacks it.

    A plan that this version draws itself keeps the name of its mechanism; any other one carries a digest in
    it, so that its rows never pass for those of the mechanism.

    Raises:
        HarnessError: no such file, other studies, a policy that the dataset does not allow, rates that do not
            ascend, a mask that takes something at rate 0 or leaves a study empty; the message names the file
            and the first study.
        CorruptFileError: not a plan.
    """
    if not path.is_file():
        raise HarnessError(f"--masks {path}: no such file", "a run keeps its plan below masks/ in its store")
    try:
        plan = MaskPlan.from_json(_each_key_once(path, read_json(path)))
    except CorruptFileError as error:
        message = error.message.removeprefix(f"{path}: ")
        raise CorruptFileError(
            f"--masks {path}: {message}", "a run keeps its plan below masks/ in its store"
        ) from error
    masks = _in_order(plan, path, studies)
    _check_states(masks, path, studies, info)
    _check_order(masks, path)
    if 0.0 not in masks.rates:
        nothing = np.zeros_like(masks.assignment[:, :1])
        joined = np.concatenate([nothing, masks.assignment], axis=1)
        masks = replace(masks, rates=(0.0, *masks.rates), assignment=joined)
    check_rates(masks.rates)
    return masks if _is_ours(masks, studies, info) else replace(masks, mechanism=_marked(masks))


def _each_key_once(path: Path, value: Any) -> Any:
    """What was read from a JSON file, unless a key stands twice in it: the last would count."""
    pairs = json.loads(path.read_bytes(), object_pairs_hook=list)
    if isinstance(value, dict) and len(pairs) != len(value):
        raise CorruptFileError("a key stands twice")
    return value


def narrowed(
    plan: MaskPlan,
    path: Path,
    *,
    drop: str | None = None,
    mechanism: str | None = None,
    rates: Sequence[float] | None = None,
    seeds: int | None = None,
) -> MaskPlan:
    """The part of a saved plan that flags select; a flag that is None selects all of the file.

    Raises:
        HarnessError: a flag asks for what the file does not hold.
    """
    for flag, value, stored in (("drop", drop, plan.policy), ("mechanism", mechanism, plan.mechanism)):
        if value is not None and value != stored:
            raise HarnessError(
                f"--{flag} {value}, but --masks {path} holds masks of {stored}", f"leave --{flag} out"
            )
    absent = [rate for rate in rates or () if rate not in plan.rates]
    if absent:
        held = ", ".join(f"{rate:g}" for rate in plan.rates)
        raise HarnessError(f"--missing {absent[0]:g}: --masks {path} has no such rate", f"rates: {held}")
    if seeds is not None and seeds > len(plan.seeds):
        raise HarnessError(
            f"--mask-seeds {seeds}: --masks {path} has {len(plan.seeds)}", "leave --mask-seeds out"
        )
    columns = [index for index, rate in enumerate(plan.rates) if rates is None or rate == 0 or rate in rates]
    return replace(
        plan,
        rates=tuple(plan.rates[index] for index in columns),
        seeds=plan.seeds[:seeds],
        assignment=plan.assignment[:seeds, columns],
    )


def _in_order(plan: MaskPlan, path: Path, studies: Sequence[Study]) -> MaskPlan:
    """The plan with its studies in the order of the test split."""
    place = {name: index for index, name in enumerate(plan.ids)}
    if len(place) != len(plan.ids):
        raise HarnessError(f"--masks {path}: a study id occurs more than once")
    ids = [study.id for study in studies]
    for here, there, what in ((ids, place, "has no mask for"), (plan.ids, set(ids), "has a mask for")):
        unmatched = [name for name in here if name not in there]
        if unmatched:
            raise HarnessError(
                f"--masks {path}: {what} {len(unmatched)} studies, the first is {unmatched[0]!r}",
                f"made for {len(plan.ids)} studies, the test set has {len(ids)}: same --dataset and --limit?",
            )
    order = [place[name] for name in ids]
    return replace(plan, ids=tuple(ids), assignment=plan.assignment[:, :, order])


def _check_states(plan: MaskPlan, path: Path, studies: Sequence[Study], info: DatasetInfo) -> None:
    try:
        states = DropPolicy.of(plan.policy, info.modalities).states
    except HarnessError as error:
        raise HarnessError(f"--masks {path}: its policy: {error.message}", error.hint) from error
    if not plan.states or plan.states[0] != FULL or not set(plan.states) <= set(states):
        raise HarnessError(
            f"--masks {path}: states {', '.join(plan.states)} do not fit --drop {plan.policy}",
            f"on {info.name} it has {', '.join(states)}",
        )
    offered = frozenset(info.modalities)
    for column, study in enumerate(studies):
        for index in np.unique(plan.assignment[:, :, column]):
            state = plan.states[index]
            if missing_in(state) & study.modalities and not lost_by(study.modalities, state, offered):
                raise HarnessError(f"--masks {path}: study {study.id} would lose {state}, its last modality")


def _check_order(plan: MaskPlan, path: Path) -> None:
    """Rates ascend, seeds are distinct, and at rate 0 nothing is lost: tables call it "nothing dropped"."""
    if any(one >= two for one, two in zip(plan.rates, plan.rates[1:], strict=False)):
        raise HarnessError(f"--masks {path}: its rates do not ascend, each once", "e.g. [0.0, 0.2, 0.4]")
    if len(set(plan.seeds)) < len(plan.seeds):
        raise HarnessError(f"--masks {path}: a seed stands twice")
    taken = plan.assignment[:, :1].any(axis=(0, 1)) if plan.rates[:1] == (0.0,) else np.zeros(len(plan.ids))
    if taken.any():
        first = plan.ids[int(np.flatnonzero(taken)[0])]
        raise HarnessError(
            f"--masks {path}: at rate 0 it takes something from {int(taken.sum())} studies, first {first!r}",
            "rate 0 is the whole test set",
        )


def _is_ours(plan: MaskPlan, studies: Sequence[Study], info: DatasetInfo) -> bool:
    try:
        redrawn = plan_of(studies, info, Missingness(plan.policy, plan.mechanism, plan.rates, plan.seeds))
    except HarnessError:
        return False
    return redrawn.states == plan.states and bool((redrawn.assignment == plan.assignment).all())


def _marked(plan: MaskPlan) -> str:
    return f"{plan.mechanism} (masks {digest_of(plan)[:8]})"


def digest_of(plan: MaskPlan) -> str:
    """Identity of a plan: what is missing where, at which rates, for which studies."""
    return hashlib.sha256(json.dumps(plan.to_json(), sort_keys=True).encode()).hexdigest()[:16]


def save_plan(store: Path, dataset: str, plan: MaskPlan) -> str:
    """Keep a plan in a store, once; its path relative to the store."""
    relative = Path("masks") / dataset / f"{digest_of(plan)}.json"
    path = store / relative
    clear_place(path)
    if unless_damaged(path, lambda: _kept(path)) is None:
        write_json(path, plan.to_json())
    return relative.as_posix()


def _kept(path: Path) -> MaskPlan | None:
    """The plan that a store keeps; None where it has none of this name.

    Raises:
        CorruptFileError: it is not the plan that its name says.
    """
    if not path.exists():
        return None
    plan = MaskPlan.from_json(read_json(path))
    if digest_of(plan) != path.stem:
        raise CorruptFileError(f"{path}: not the masks that were written", "delete it and run again")
    return plan


@dataclass(frozen=True, slots=True)
class MissingShares:
    """What a plan takes at one missing rate, as means over mask seeds.

    Attributes:
        studies: share of studies that lose something.
        instances: share of modality instances that are lost, of those that the studies have by nature.
        modalities: modality -> share of studies that lose it; with the share that lacks it by nature
            (``natural``), that is the share without it.
    """

    studies: float
    instances: float
    modalities: dict[str, float]


def missing_shares(plan: MaskPlan, studies: Sequence[Study], info: DatasetInfo) -> list[MissingShares]:
    """What a plan takes at each of its rates; ``studies`` are those of the plan, in its order."""
    offered, n = frozenset(info.modalities), len(studies)
    own = sum(len(study.modalities & offered) for study in studies)
    losses = np.array(
        [
            [
                [name in lost_by(study.modalities, state, offered) for name in info.modalities]
                for study in studies
            ]
            for state in plan.states
        ],
        dtype=np.float64,
    ).reshape(len(plan.states), n, len(info.modalities))
    shares = []
    for column, achieved in enumerate(plan.achieved()):
        states = plan.assignment[:, column]
        lost = sum(
            ((states == index).mean(axis=0) @ each for index, each in enumerate(losses)), start=np.zeros(1)
        )
        by_modality = dict(zip(info.modalities, (lost / max(1, n)).tolist(), strict=True))
        shares.append(MissingShares(float(achieved), float(lost.sum() / max(1, own)), by_modality))
    return shares


def natural(studies: Sequence[Study], info: DatasetInfo) -> dict[str, float]:
    """Share of studies that lack each modality by nature."""
    count = max(1, len(studies))
    return {name: sum(name not in study.modalities for study in studies) / count for name in info.modalities}


def thinned(
    studies: Sequence[Study], info: DatasetInfo, policy: str, mechanism: str, rate: float, seed: int
) -> list[Study]:
    """Training studies of which a share has modalities removed for good: ``--train-missing``."""
    if not rate or not studies:
        return list(studies)
    states = plan_of(studies, info, Missingness(policy, mechanism, (rate,), (seed,))).state_names(0, 0)
    return [
        study if state == FULL else without(study, missing_in(state))
        for study, state in zip(studies, states, strict=True)
    ]


def without(study: Study, lost: Collection[str]) -> Study:
    """The study as if it had been made without some modalities; its other images are not read."""
    views = tuple(view for view in study.images if view not in lost)
    return replace(
        study,
        context=None if CONTEXT in lost else study.context,
        images=study.images if len(views) == len(study.images) else _Fewer(study.images, views),
    )


class _Fewer(Mapping[str, NDArray[np.uint8]]):
    """Images of some views, still read at access."""

    def __init__(self, images: Mapping[str, NDArray[np.uint8]], views: tuple[str, ...]) -> None:
        self._images = images
        self._views = views

    def __getitem__(self, view: str) -> NDArray[np.uint8]:
        if view not in self._views:
            raise KeyError(view)
        return self._images[view]

    def __contains__(self, view: Any) -> bool:
        return view in self._views

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)
