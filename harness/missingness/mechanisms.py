"""Missing-data mechanisms: which study is the first to lose a modality, and what that depends on.

A mechanism gives every study a priority. Missing completely at random it is a hash of study id and mask seed.
At random (MAR) and not at random (MNAR) it is drawn so that a study's chance depends on something observed,
on the findings that are to be predicted (Rubin 1976), or on the content that is lost (self-masked, Mohan et
al. 2013). The study whose fact ranks highest is nine times as likely to be next as the one that ranks
lowest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.core.types import CONTEXT, Study

PREFIX_BATCH = 32
"""Studies in a batch of ``prefix``: the batch size that KEDR's paper names."""

_GOLDEN = 0x9E3779B97F4A7C15
_ODDS = 9.0
"""How much likelier the highest-ranking study is to be next than the lowest-ranking one."""
_NO_FINDING = "No Finding"


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What is known of the studies beside their modalities.

    Attributes:
        attributes: per study, attribute name -> value or None.
        labels: (n, L), NaN where a study has none; None where the dataset has no labels.
        label_names: L names.
        multilabel: labels are independent findings.
        content: modality -> how much of it each study has, (n,), NaN where a study lacks it: words of the
            context, mean brightness of a view. It may read images. None where it is not known.
    """

    attributes: tuple[Mapping[str, str | float | None], ...] = ()
    labels: NDArray[np.float64] | None = None
    label_names: tuple[str, ...] = ()
    multilabel: bool = True
    content: Callable[[str], NDArray[np.float64]] | None = None

    @classmethod
    def of(cls, studies: Sequence[Study], label_names: tuple[str, ...], multilabel: bool) -> Observed:
        """Facts of studies; images are read when ``content`` is called."""
        labels = None
        if label_names:
            absent = np.full(len(label_names), np.nan)
            rows = [absent if study.labels is None else study.labels for study in studies]
            labels = np.array(rows, dtype=np.float64).reshape(len(studies), len(label_names))
        attributes = tuple(study.attributes for study in studies)
        return cls(attributes, labels, label_names, multilabel, partial(_content, studies))


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """What a mechanism may look at.

    Attributes:
        ids: n unique study ids, in the order of the dataset's files.
        modalities: per study, the modalities it has by nature.
        keys: uint64 (n,), a hash of each id: the only source of per-study randomness.
        observed: attributes and labels.
    """

    ids: tuple[str, ...]
    modalities: tuple[frozenset[str], ...]
    keys: NDArray[np.uint64]
    observed: Observed = field(default_factory=Observed)

    @classmethod
    def of(
        cls, ids: Sequence[str], modalities: Sequence[frozenset[str]], observed: Observed | None = None
    ) -> Population:
        """Studies by id, with the modalities that each has by nature.

        Raises:
            HarnessError: an id occurs more than once, or the lengths differ.
        """
        if len(ids) != len(modalities):
            raise HarnessError(f"{len(ids)} study ids for {len(modalities)} studies")
        if len(set(ids)) != len(ids):
            twice = Counter(ids).most_common(1)[0][0]
            raise HarnessError(
                f"study id {twice!r} occurs more than once", "ids have to be unique within a split"
            )
        return cls(tuple(ids), tuple(modalities), keys_of(ids), observed or Observed())


@dataclass(frozen=True, slots=True)
class Mechanism:
    """How the studies that lose a modality are drawn.

    Attributes:
        name: canonical, e.g. ``mar:age``: what rows and manifests say.
        priorities: (mask seed, modality) -> (n,); the study with the lowest one is the first to lose. With a
            modality, it is the first to lose that one, drawn apart from other modalities; with None, whatever
            the policy takes.
        by_share: a study loses at every rate that is not below its priority, instead of as many studies as
            the rate asks for.
    """

    name: str
    priorities: Callable[[int, str | None], NDArray[Any]]
    by_share: bool = False


def mechanism_of(spec: str, population: Population, losable: Sequence[str]) -> Mechanism:
    """The mechanism that ``--mechanism`` names, for these studies.

    Args:
        spec: ``mcar``; ``mar:ATTRIBUTE`` (``mar:-ATTRIBUTE`` the other way round); ``mnar`` (number of
            findings), ``mnar:any`` (a finding or none), ``mnar:LABEL`` (that one); ``self-masked`` (much
            content), ``self-masked:-`` (little content); ``prefix``, ``prefix:N``.
        population: the studies.
        losable: modalities that the policy can take.

    Raises:
        UnknownNameError: no such mechanism, attribute or label.
        HarnessError: what the mechanism depends on is the same for all studies, or is not known.
    """
    name, _, argument = spec.partition(":")
    if name == "self-masked":
        return _self_masked(argument.strip(), population, losable)
    makers = {"mcar": _mcar, "mar": _mar, "mnar": _mnar, "prefix": _prefix}
    if name not in makers:
        raise UnknownNameError(
            f"--mechanism {spec}: no such mechanism", f"available: {', '.join(MECHANISMS)}"
        )
    return makers[name](argument.strip(), population)


MECHANISMS = ("mcar", "mar:ATTRIBUTE", "mnar", "mnar:any", "mnar:LABEL", "self-masked", "prefix")
"""What ``--mechanism`` takes."""


def _mcar(argument: str, population: Population) -> Mechanism:
    if argument:
        raise HarnessError(f"--mechanism mcar:{argument}: mcar depends on nothing", "use --mechanism mcar")
    return Mechanism("mcar", lambda seed, modality: mix(population.keys, seed, _stream(0, modality)))


def _mar(argument: str, population: Population) -> Mechanism:
    """Attributes are ranked; categories in alphabetical order; an unknown value stands in the middle."""
    attributes = population.observed.attributes
    names = sorted({name for each in attributes for name in each})
    if not names:
        raise HarnessError("--mechanism mar: the dataset has no attributes", "use mcar or mnar")
    prefix = argument.removeprefix("-")
    matches = [prefix] if prefix in names else [name for name in names if name.startswith(prefix)]
    if not prefix or len(matches) != 1:
        hint = did_you_mean(prefix, names) if prefix and not matches else f"attributes: {', '.join(names)}"
        raise UnknownNameError(f"--mechanism mar:{argument}: name one attribute, e.g. mar:{names[0]}", hint)
    values = _ranked([each.get(matches[0]) for each in attributes])
    sign = "-" if argument.startswith("-") else ""
    return _depending_on(f"mar:{sign}{matches[0]}", -values if sign else values, population)


def _mnar(argument: str, population: Population) -> Mechanism:
    observed = population.observed
    if observed.labels is None:
        raise HarnessError("--mechanism mnar: the dataset has no labels to depend on", "use mcar or mar")
    if argument in ("", "number", "any"):
        if not observed.multilabel:
            raise HarnessError(
                f"--mechanism mnar: each study of this dataset has one class, name it, e.g. "
                f"mnar:{observed.label_names[0]}",
                f"classes: {', '.join(observed.label_names)}",
            )
        findings = [index for index, name in enumerate(observed.label_names) if name != _NO_FINDING]
        load = observed.labels[:, findings].sum(axis=1)
        if argument == "any":
            return _depending_on("mnar:any", np.where(np.isnan(load), np.nan, load > 0), population)
        return _depending_on("mnar", load, population)
    labels = {name.lower(): index for index, name in enumerate(observed.label_names)}
    if argument.lower() not in labels:
        raise UnknownNameError(
            f"--mechanism mnar:{argument}: no such label", did_you_mean(argument, observed.label_names)
        )
    index = labels[argument.lower()]
    return _depending_on(f"mnar:{observed.label_names[index]}", observed.labels[:, index], population)


def _prefix(argument: str, population: Population) -> Mechanism:
    """The first ``int(rate * size)`` studies of every batch in file order, the same for every mask seed."""
    if argument and not (argument.isdecimal() and int(argument)):
        raise HarnessError(
            f"--mechanism prefix:{argument}: not a number of studies", "e.g. prefix:32, the batch's size"
        )
    size = int(argument or PREFIX_BATCH)
    count = len(population.ids)
    place = np.arange(count)
    batch = np.minimum(size, count - place // size * size)
    shares = (place % size + 1) / batch
    return Mechanism(
        f"prefix:{size}" if size != PREFIX_BATCH else "prefix",
        lambda seed, modality: shares,
        by_share=True,
    )


def _self_masked(argument: str, population: Population, losable: Sequence[str]) -> Mechanism:
    """Self-masked MNAR: a modality is likelier to be lost the more of it there is.

    Where a policy draws studies before modalities (``any``, ``alternate``), a study's height is the mean over
    the modalities that it may lose.
    """
    content = population.observed.content
    if argument not in ("", "-"):
        raise UnknownNameError(
            f"--mechanism self-masked:{argument}: no such order", "use self-masked or self-masked:-"
        )
    if content is None:
        raise HarnessError("--mechanism self-masked: the contents of the studies are not known", "use mcar")
    name, sign = ("self-masked:-", -1.0) if argument else ("self-masked", 1.0)
    heights = {modality: sign * _heights(content(modality)) for modality in losable}
    if not heights:  # nothing is lost
        return Mechanism(name, lambda seed, modality: np.zeros(len(population.ids)))
    if not any(height.any() for height in heights.values()):
        raise HarnessError(
            f"--mechanism {name}: {' and '.join(losable)} are alike in all {len(population.ids)} studies",
            "nothing can depend on them",
        )
    owned = np.array([[name in own for name in losable] for own in population.modalities], dtype=np.float64)
    stacked = np.stack(list(heights.values()), axis=1)
    mean = (stacked * owned).sum(axis=1) / np.maximum(1.0, owned.sum(axis=1))

    def priorities(seed: int, modality: str | None) -> NDArray[np.float64]:
        return _waiting(population.keys, seed, modality, mean if modality is None else heights[modality])

    return Mechanism(name, priorities)


def _content(studies: Sequence[Study], modality: str) -> NDArray[np.float64]:
    """How much of a modality each study has, (n,), NaN where it lacks it."""
    if modality == CONTEXT:
        return np.array(
            [np.nan if study.context is None else len(study.context.split()) for study in studies],
            dtype=np.float64,
        )
    means = (study.images[modality].mean() if modality in study.images else np.nan for study in studies)
    return np.fromiter(means, dtype=np.float64, count=len(studies))


def _depending_on(name: str, values: NDArray[Any], population: Population) -> Mechanism:
    """Weighted sampling without replacement (Efraimidis & Spirakis 2006): nested, and free of the order."""
    height = _heights(np.asarray(values, dtype=np.float64))
    if not height.any():
        raise HarnessError(
            f"--mechanism {name}: it is the same for all {len(population.ids)} studies",
            "nothing can depend on it",
        )
    return Mechanism(name, lambda seed, modality: _waiting(population.keys, seed, modality, height))


def _waiting(
    keys: NDArray[np.uint64], seed: int, modality: str | None, height: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Exponential waiting times (n,), shorter for studies of great height (n,)."""
    draws = mix(keys, seed, _stream(2, modality)) >> np.uint64(11)
    uniform = (draws.astype(np.float64) + 0.5) / float(1 << 53)
    waiting: NDArray[np.float64] = -np.log(uniform) / _ODDS ** (height / 2)
    return waiting


def _stream(number: int, modality: str | None) -> int | str:
    """The stream of random numbers for what a policy takes, or of one modality's own."""
    return number if modality is None else f"{number}\0{modality}"


def _heights(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean ranks of values (n,), from -1 for the lowest to 1 for the highest; 0 where a value is unknown."""
    defined = ~np.isnan(values)
    heights = np.zeros(len(values))
    levels, place, count = np.unique(values[defined], return_inverse=True, return_counts=True)
    if len(levels) > 1:
        below = np.cumsum(count) - count
        middle = below + (count - 1) / 2
        span = middle[-1] - middle[0]
        heights[defined] = ((middle - middle[0]) / span * 2 - 1)[place]
    return heights


def _ranked(values: Sequence[str | float | None]) -> NDArray[np.float64]:
    """Numbers as they are; anything else by the alphabetical place of its text; NaN where None."""
    defined = [value for value in values if value is not None]
    if all(isinstance(value, int | float) for value in defined):
        return np.array([np.nan if value is None else float(value) for value in values])
    order = {text: float(place) for place, text in enumerate(sorted({str(value) for value in defined}))}
    return np.array([np.nan if value is None else order[str(value)] for value in values])


def keys_of(ids: Sequence[str]) -> NDArray[np.uint64]:
    """A hash of each id, uint64 (n,)."""
    digests = (hashlib.blake2b(study.encode(), digest_size=8).digest() for study in ids)
    return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)


def mix(keys: NDArray[np.uint64], seed: int, stream: int | str) -> NDArray[np.uint64]:
    """Hash of (key, seed, stream) with the splitmix64 finaliser (Steele, Lea & Flood 2014), vectorised."""
    start = hashlib.blake2b(f"{seed}\0{stream}".encode(), digest_size=8).digest()
    mixed = keys ^ np.uint64(int.from_bytes(start, "big"))
    mixed = mixed + np.uint64(_GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
