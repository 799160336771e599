"""Which study loses which modality at which rate: drop policies, mechanisms, nested seeded masks.

A mask is a function of study ids, seed, policy and mechanism (and of what the mechanism depends on) alone:
not of the method that is scored, nor of the order of studies (except ``prefix``). Masks are nested: what is
missing at rate 0.2 is missing, the same way, at 0.4.
"""

from __future__ import annotations

import hashlib
import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.arguments import of_type, several_of, whole_number
from harness.core.errors import CorruptFileError, HarnessError
from harness.missingness.mechanisms import Mechanism, Population, mechanism_of, mix
from harness.missingness.policy import ALTERNATE, DropPolicy
from harness.missingness.states import lost_by, missing_in

_CODES = np.frombuffer((string.digits + string.ascii_lowercase).encode(), np.uint8)
"""ASCII codes of the digits that stand for states in files."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskPlan:
    """Which state every study is in, for every mask seed and rate.

    Attributes:
        policy: name of the drop policy.
        mechanism: name of the mechanism.
        states: ``("full", "context", ...)``.
        rates: R requested missing rates.
        seeds: S mask seeds.
        ids: n study ids.
        assignment: int8 (S, R, n), index into ``states``; 0 is full.
    """

    policy: str
    mechanism: str
    states: tuple[str, ...]
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    assignment: NDArray[np.int8]

    def achieved(self) -> NDArray[np.float64]:
        """Share of studies that really lose a modality at each rate, (R,), averaged over seeds.

        It falls short of the rate where too few studies have the modality and another one to keep.
        """
        return (self.assignment != 0).mean(axis=(0, 2))

    @property
    def digest(self) -> str:
        """Digest of the states of all studies, for every mask seed and rate."""
        return hashlib.sha256(self.assignment.tobytes()).hexdigest()[:16]

    def used_states(self) -> tuple[str, ...]:
        """The states that occur at least once: what has to be predicted."""
        return tuple(self.states[index] for index in np.unique(self.assignment))

    def is_mixture(self, rate_index: int) -> bool:
        """Whether studies that can lose something are in different states at a rate."""
        at_corner = self.rates[rate_index] == 1.0 and self.states[1:] == (self.policy,)
        return not at_corner and bool(self.assignment[:, rate_index].any())

    def state_names(self, seed_index: int, rate_index: int) -> list[str]:
        """The state of each study under one mask."""
        return [self.states[index] for index in self.assignment[seed_index, rate_index]]

    def to_json(self) -> dict[str, Any]:
        """A JSON object; each mask is a string with one digit (index into ``states``) per study."""
        masks = [[_CODES[row].tobytes().decode() for row in per_seed] for per_seed in self.assignment]
        return {
            "policy": self.policy,
            "mechanism": self.mechanism,
            "states": list(self.states),
            "rates": list(self.rates),
            "seeds": list(self.seeds),
            "ids": list(self.ids),
            "masks": masks,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> MaskPlan:
        """The plan that ``to_json`` wrote.

        Raises:
            CorruptFileError: a field is absent or of another type, or the shapes do not fit.
        """
        try:
            states, ids = (_names(value[field]) for field in ("states", "ids"))
            policy, mechanism = _names([value["policy"]]) + _names([value["mechanism"]])
            rates = tuple(float(_number(each)) for each in value["rates"])
            seeds = tuple(_whole(each) for each in value["seeds"])
            index = np.full(256, -1, dtype=np.int8)
            index[_CODES[: len(states)]] = np.arange(len(states))
            digits = "".join(row for per_seed in value["masks"] for row in per_seed).encode("ascii")
            assignment = index[np.frombuffer(digits, np.uint8)].reshape(len(seeds), len(rates), len(ids))
            if (assignment < 0).any():
                raise ValueError("a digit of no state")
            return cls(policy, mechanism, states, rates, seeds, ids, assignment)
        except (KeyError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise CorruptFileError(
                f"not a mask plan ({type(error).__name__})", "delete it and run again"
            ) from error


def _names(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(each, str) and each for each in values):
        raise TypeError("no names")
    return tuple(values)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("no whole number")
    return value


@dataclass(frozen=True, slots=True)
class Missingness:
    """What goes missing: the settings from which masks are made.

    Attributes:
        policy: name of a drop policy: a modality, several joined by ``+`` (all of them at once),
            ``alternate`` (image modalities take turns among the studies that lose one), ``any`` (uniformly
            one of the study's modalities), ``subsets`` (each modality for itself) or a pattern
            ``frontal=0.2+context=0.6`` (each for itself, at its own rate).
        mechanism: as ``mechanisms.mechanism_of`` takes it.
        rates: missing rates in [0, 1].
        seeds: mask seeds.
    """

    policy: str
    mechanism: str
    rates: Sequence[float]
    seeds: Sequence[int]


def draw_plan(population: Population, modalities: Sequence[str], missingness: Missingness) -> MaskPlan:
    """Masks for every seed and rate.

    At rate r, ``round(r * n)`` of the n studies lose what the policy takes, or as many as are eligible. A
    study is eligible to lose what it has of a target if it keeps at least one other modality. Under
    ``subsets`` each modality is lost by this share of the studies; a pattern's rates are multiplied by r.

    Args:
        population: the studies.
        modalities: the dataset's modalities, images first (``DatasetInfo.modalities``).
        missingness: policy, mechanism, rates and seeds.

    Raises:
        HarnessError: a rate, policy or mechanism that makes no sense; the message names the flag.
    """
    of_type(missingness.policy, str, "policy", "a text")
    of_type(missingness.mechanism, str, "mechanism", "a text")
    rates = check_rates(missingness.rates)
    wanted = "a list of whole numbers"
    seeds = tuple(whole_number(seed, "seeds", 0) for seed in several_of(missingness.seeds, "seeds", wanted))
    # Where nothing is dropped, a dataset need not support the policy.
    policy = missingness.policy
    drop = DropPolicy.of(policy, modalities) if any(rates) else DropPolicy(policy, ())
    mechanism = mechanism_of(missingness.mechanism, population, drop.losable)
    if mechanism.by_share and drop.targets and drop.targets != tuple(modalities[:1]):
        raise HarnessError(
            f"--mechanism {mechanism.name} with --drop {policy}: "
            "prefix takes the first modality away, no other",
            f"use --drop {modalities[0]}",
        )
    draw = _Draw(population, modalities, drop, mechanism, _eligible(population, drop, modalities))
    states = [draw.independent(seed, rates) if drop.shares else draw.one_each(seed, rates) for seed in seeds]
    assignment = np.stack(states) if states else np.zeros((0, len(rates), len(population.ids)), dtype=np.int8)
    return MaskPlan(policy, mechanism.name, drop.states, rates, seeds, population.ids, assignment)


@dataclass(frozen=True, slots=True, eq=False)
class _Draw:
    """Masks of one seed, states (R, n): indices into those of the policy."""

    population: Population
    modalities: Sequence[str]
    drop: DropPolicy
    mechanism: Mechanism
    eligible: NDArray[np.bool_]

    def one_each(self, seed: int, rates: Sequence[float]) -> NDArray[np.int8]:
        """A study loses one target, or nothing."""
        population = self.population
        states = np.zeros((len(rates), len(population.ids)), dtype=np.int8)
        if not self.drop.targets:
            return states
        eligible = self.eligible
        priority = self.mechanism.priorities(seed, None)
        # Ties fall to the smaller hash of the id, never to the position in the file.
        order = np.lexsort((population.keys, priority))
        order = order[eligible[order].any(axis=1)]
        losses = _losses(self.drop, eligible, order, mix(population.keys, seed, 1))
        for column, rate in enumerate(rates):
            count = round(rate * len(population.ids))
            if self.mechanism.by_share:
                count = int(np.searchsorted(priority[order], rate + 1e-9, side="right"))
            states[column, order[:count]] = losses[:count]
        return states

    def independent(self, seed: int, rates: Sequence[float]) -> NDArray[np.int8]:
        """Every modality is lost for itself, by its share of the studies times the rate.

        The k-th study that a modality is taken from loses it at all rates above (k + 1/2) / (share n). The
        modality that would be the last one to go stays: so masks are nested, and no study is empty.
        """
        losable = self.drop.losable
        entry = np.stack([self._entry_rates(seed, name) for name in losable], axis=1)
        has = np.isfinite(entry)
        held = {*self.modalities} - {*losable}
        safe = np.array([bool(own & held) for own in self.population.modalities], dtype=bool)
        last = np.where(has, entry, -np.inf).argmax(axis=1)
        entry[~safe, last[~safe]] = np.inf
        codes = 1 << np.arange(len(losable))
        index = np.zeros(1 << len(losable), dtype=np.int8)
        for number, state in enumerate(self.drop.states):
            lost = missing_in(state)
            index[sum(int(code) for code, name in zip(codes, losable, strict=True) if name in lost)] = number
        states: NDArray[np.int8] = np.stack([index[(entry < rate) @ codes] for rate in rates])
        return states

    def _entry_rates(self, seed: int, name: str) -> NDArray[np.float64]:
        """The rate above which each study loses a modality, (n,); infinite for those that lack it."""
        population = self.population
        having = np.array([name in own for own in population.modalities], dtype=bool)
        order = np.lexsort((population.keys, self.mechanism.priorities(seed, name)))
        order = order[having[order]]
        rates = np.full(len(having), np.inf)
        rates[order] = (np.arange(len(order)) + 0.5) / (self.drop.shares[name] * len(having))
        return rates


def _eligible(population: Population, drop: DropPolicy, modalities: Sequence[str]) -> NDArray[np.bool_]:
    """(n, n_targets): the study has something of the target, and a modality that it keeps."""
    offered = frozenset(modalities)
    able = {
        present: [bool(lost_by(present, target, offered)) for target in drop.targets]
        for present in set(population.modalities)
    }
    rows = [able[present] for present in population.modalities]
    return np.array(rows, dtype=bool).reshape(len(population.ids), len(drop.targets))


def check_rates(rates: Sequence[float]) -> tuple[float, ...]:
    """The rates as floats, or an error that names ``--missing``."""
    for rate in several_of(rates, "rates", "a list of numbers"):
        of_type(rate, (int, float, np.integer, np.floating), "rates", "a list of numbers")
        if not (math.isfinite(rate) and 0.0 <= rate <= 1.0):
            raise HarnessError(
                f"--missing {rate}: a missing rate lies between 0 and 1", "e.g. --missing 0.2,0.4"
            )
    return tuple(float(rate) for rate in rates)


def _losses(
    drop: DropPolicy, eligible: NDArray[np.bool_], order: NDArray[np.intp], draws: NDArray[np.uint64]
) -> NDArray[np.int8]:
    """Index of the state that each study of ``order`` gets, (m,)."""
    allowed = eligible[order]
    if drop.name == ALTERNATE:
        turn = np.arange(len(order)) % len(drop.targets)
        ring = (turn[:, None] + np.arange(len(drop.targets))) % len(drop.targets)
        # A study without the modality whose turn it is loses the next image modality it can spare.
        step = np.take_along_axis(allowed, ring, axis=1).argmax(axis=1)
        return (np.take_along_axis(ring, step[:, None], axis=1)[:, 0] + 1).astype(np.int8)
    uniform = (draws[order] >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    pick = np.floor(uniform * allowed.sum(axis=1)).astype(np.int64)
    nth = allowed.cumsum(axis=1) == (pick + 1)[:, None]
    return ((nth & allowed).argmax(axis=1) + 1).astype(np.int8)
