"""Latent vectors of test studies from a stored trained method: what a map of them shows, and what it cannot.

A map (t-SNE) shows groups that may not be there and hides groups that are. So its measures stand beside it,
taken in the space of the latents themselves: how often a latent's nearest neighbours share its kind or its
finding, with an interval over patients and with the same number after a random exchange.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import registry
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.core.types import DatasetInfo, Study
from harness.datasets import selection
from harness.evaluation.benchmark import open_benchmark
from harness.evaluation.reproduce import entry_of, settings_of
from harness.evaluation.trial import Trial
from harness.method.batching import collate
from harness.method.fingerprint import code_fingerprint
from harness.metrics.clinical.chexpert_rules import labeler
from harness.metrics.clinical.labels import LABELS
from harness.missingness.states import FULL, subsets
from harness.statistics.bootstrap import bootstrap_weights, interval
from harness.statistics.estimate import Estimate
from harness.statistics.permutation import derangements, p_value
from harness.store.cell import Cell
from harness.store.results import StoredResult
from harness.store.store import Store

KIND = "kind of latent"
NEIGHBOURS = 10
PERMUTATIONS = 200
PERPLEXITY = 30.0
SEED = 0
"""Of the map, of the permutations and of the resampled patients."""
_BATCH = 32
_PRESENT = 1
"""Class of a present finding, as the rule labeller numbers them."""
_RULES = "chexpert_rules_f1"


@dataclass(frozen=True, slots=True)
class LatentOptions:
    """What is asked of the stored method.

    Attributes:
        states: modality states; empty: ``full`` and every modality that the method reads, dropped.
        finding: colours the map; empty: the class, or the finding that is nearest to half of the studies.
        limit: number of test studies.
        device: torch device; None: the row's.
    """

    states: tuple[str, ...] = ()
    finding: str = ""
    limit: int = 200
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """One property of each study.

    Attributes:
        name: of the finding, or ``class``.
        values: what it may be, by its code.
        codes: of each study, (n,).
    """

    name: str
    values: tuple[str, ...]
    codes: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Points:
    """Latents of one modality state, study by study: those that a study has.

    Attributes:
        vectors: float64 (m, d).
        study: number of the study, (m,), in ascending order.
        kind: number of the kind, (m,).
    """

    vectors: NDArray[np.float64]
    study: NDArray[np.intp]
    kind: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Latents:
    """Latents of the studies in every asked state.

    Attributes:
        label: of the row; dataset: as tables call it; seed: of training.
        remark: what a reader of the numbers has to hear, or empty.
        ids: of the studies, n of them; patients: theirs.
        kinds: of latents, in the method's order.
        states: modality state -> its points.
        truth: what the studies show; None where the dataset has neither labels nor reports with rule labels.
    """

    label: str
    dataset: str
    seed: int
    remark: str
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    kinds: tuple[str, ...]
    states: dict[str, Points]
    truth: Truth | None


@dataclass(frozen=True, slots=True)
class Purity:
    """How many of a latent's nearest neighbours are like it, mean over what they may be.

    Neighbours are of other patients, by the distance between the latents themselves, not on the map.

    Attributes:
        state: modality state.
        of: ``KIND``, or the finding.
        among: the kind of latent that is looked at; ``all`` for ``KIND``.
        estimate: the share in [0, 1], with its interval over patients; their neighbours stay as they are.
        chance: mean of the share after random exchanges: of the kinds within each study, or of the findings
            between patients.
        chance95: what 95 % of the exchanges give.
        p: share of exchanges that are as high.
    """

    state: str
    of: str
    among: str
    estimate: Estimate
    chance: float
    chance95: tuple[float, float]
    p: float

    def to_json(self) -> dict[str, Any]:
        """Its numbers."""
        return {
            "state": self.state,
            "of": self.of,
            "among": self.among,
            "purity": self.estimate.value,
            "ci95": list(self.estimate.ci95),
            "n": self.estimate.n,
            "chance": self.chance,
            "chance95": list(self.chance95),
            "p": self.p,
        }


def collect(store: Store, stored: StoredResult, options: LatentOptions) -> Latents:
    """Latents of test studies, from the checkpoint that a row was measured with.

    Args:
        store: results store with the checkpoint.
        stored: the row.
        options: states, finding and number of studies.

    Raises:
        HarnessError: no checkpoint, or a method without latents.
        UnknownNameError: no such state or finding.
    """
    label = stored.manifest.method
    if "+" in label:
        raise HarnessError(f"{label}: a rerun has the latents of its method", "name the method itself")
    benchmark = open_benchmark(settings_of(stored, store.root, device=options.device))
    trial = Trial(benchmark, entry_of(benchmark, stored), stored.manifest.seed)
    info = trial.info
    every_state = (FULL, *subsets(info.modalities))
    for name in options.states:
        if name not in every_state:
            raise UnknownNameError(f"no modality state {name}", did_you_mean(name, every_state))
    default = (FULL, *(each for each in info.modalities if each in trial.reads))
    states = options.states or default
    cell = Cell(store.root / stored.manifest.cell)
    if not cell.is_fitted():
        raise HarnessError(f"{label}: no checkpoint in {cell.directory}", "run the method again")
    method = trial.new_method()
    method.load(cell.checkpoint)
    method.to(benchmark.device)
    studies = selection.select(trial.studies, options.limit)
    truth = _truth(studies, info, options.finding)
    by_state = {state: _vectors(method, studies, trial, state) for state in states}
    kinds = tuple(name for name in by_state[states[0]] if _any(by_state, name))
    return Latents(
        label=label,
        dataset=info.title,
        seed=stored.manifest.seed,
        remark=_remark(stored, trial),
        ids=tuple(study.id for study in studies),
        patients=tuple(study.patient_id for study in studies),
        kinds=kinds,
        states={state: _points([vectors[kind] for kind in kinds]) for state, vectors in by_state.items()},
        truth=truth,
    )


def _any(by_state: dict[str, dict[str, NDArray[np.float64]]], kind: str) -> bool:
    """Whether some study has the kind of latent in some state."""
    return any(bool(np.isfinite(vectors[kind]).all(axis=1).any()) for vectors in by_state.values())


def _remark(stored: StoredResult, trial: Trial) -> str:
    if stored.manifest.code == code_fingerprint(trial.entry.method_class):
        return ""
    return f"{stored.manifest.method} was trained by another version of its code, which this one reads"


def _vectors(
    method: Any, studies: Sequence[Study], trial: Trial, state: str
) -> dict[str, NDArray[np.float64]]:
    """Kind of latent -> (n, d) in one modality state."""
    dropped = None if state == FULL else state
    parts: list[dict[str, Any]] = []
    for start in range(0, len(studies), _BATCH):
        batch = studies[start : start + _BATCH]
        inputs = collate(batch, trial.info, reads=method.card.reads, dropped=dropped, run_seed=trial.seed)
        parts.append({kind: np.array(each) for kind, each in method.latents(inputs).items()})
    if not parts[0]:
        raise HarnessError(f"{trial.entry.label} names no latents", "docs/probes.md says which methods do")
    return {kind: np.concatenate([part[kind] for part in parts]).astype(np.float64) for kind in parts[0]}


def _points(vectors: Sequence[NDArray[np.float64]]) -> Points:
    """Study by study, the kinds that it has."""
    stacked = np.stack(vectors, axis=1)
    study, kind = np.nonzero(np.isfinite(stacked).all(axis=2))
    return Points(stacked[study, kind], study, kind)


def _truth(studies: Sequence[Study], info: DatasetInfo, finding: str) -> Truth | None:
    """The dataset's labels, else those that rules read in the reports."""
    labels = [study.labels for study in studies if study.labels is not None]
    if len(labels) == len(studies):
        if not info.multilabel and not finding:
            return Truth("class", tuple(info.label_names), np.argmax(np.stack(labels), axis=1))
        return _finding(info.label_names, np.stack(labels) > 0, finding)
    metric = registry.make_metric(_RULES)
    reports = [study.report for study in studies if study.report]
    if len(reports) < len(studies) or metric.unavailable() is not None or not metric.made_for(info):
        if finding:
            raise HarnessError(f"--finding {finding}: {info.title} has no findings of all test studies")
        return None
    return _finding(LABELS, labeler().classes(reports) == _PRESENT, finding)


def _finding(names: Sequence[str], present: NDArray[np.bool_], finding: str) -> Truth:
    if finding and finding not in names:
        raise UnknownNameError(f"--finding {finding}: no such finding", did_you_mean(finding, names))
    column = names.index(finding) if finding else int(np.argmin(np.abs(present.mean(axis=0) - 0.5)))
    return Truth(names[column], ("absent", "present"), present[:, column].astype(np.intp))


def measure(latents: Latents) -> list[Purity]:
    """Purity of the kinds, and of the finding among the latents of each kind, in every state.

    What has only one value (one kind, or a finding that all studies have) has no purity.
    """
    return [each for state, points in latents.states.items() for each in _purities(latents, state, points)]


def _purities(latents: Latents, state: str, points: Points) -> Iterator[Purity]:
    patients = np.array(latents.patients)[points.study]
    if len(np.unique(points.kind)) > 1:
        rng = np.random.default_rng([SEED, 3])
        # Points stand study by study, so each study keeps its own points.
        orders = [np.lexsort((rng.random(len(patients)), points.study)) for _ in range(PERMUTATIONS)]
        yield _purity((state, KIND, "all"), points, patients, points.kind, np.stack(orders))
    if latents.truth is None:
        return
    codes = latents.truth.codes[points.study]
    for number, kind in enumerate(latents.kinds):
        own = points.kind == number
        if len(np.unique(codes[own])) > 1:
            orders_of = derangements([str(each) for each in patients[own]], PERMUTATIONS, SEED)
            name = (state, latents.truth.name, kind)
            some = Points(points.vectors[own], points.study[own], points.kind[own])
            yield _purity(name, some, patients[own], codes[own], orders_of)


def _purity(
    name: tuple[str, str, str],
    points: Points,
    patients: NDArray[np.str_],
    codes: NDArray[np.intp],
    orders: NDArray[np.intp],
) -> Purity:
    near = neighbours(points.vectors, patients)
    weights = np.asarray(bootstrap_weights([str(each) for each in patients], seed=SEED), dtype=np.float64)
    once = np.ones((1, len(codes)))
    value = float(balanced_share(codes, near, once)[0])
    lo, hi = interval(balanced_share(codes, near, weights))
    exchanged = np.array([balanced_share(codes[order], near, once)[0] for order in orders])
    return Purity(
        *name,
        estimate=Estimate(value, lo, hi, len(np.unique(points.study))),
        chance=float(exchanged.mean()),
        chance95=interval(exchanged),
        p=p_value(value, exchanged),
    )


def neighbours(
    vectors: NDArray[np.float64], patients: NDArray[np.str_], count: int = NEIGHBOURS
) -> NDArray[np.intp]:
    """The nearest vectors of other patients, (m, count) or fewer where there are not as many.

    Args:
        vectors: (m, d); patients: theirs, (m,).
        count: of neighbours.

    Raises:
        HarnessError: one patient has all of the vectors.
    """
    squares = (vectors**2).sum(axis=1)
    distances = squares[:, None] + squares - 2.0 * vectors @ vectors.T
    same = patients[:, None] == patients
    distances[same] = np.inf
    count = min(count, int((~same).sum(axis=1).min()))
    if count < 1:
        raise HarnessError("the latents are of one patient alone", "raise --limit")
    return np.argsort(distances, axis=1, kind="stable")[:, :count]


def balanced_share(
    codes: NDArray[np.intp], near: NDArray[np.intp], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of neighbours with the same code, averaged within each code and then over the codes.

    So a code that most points have counts no more than another one: by chance it is 1 over their number.

    Args:
        codes: (m,); near: numbers of the neighbours (m, k).
        weights: (B, m).

    Returns:
        (B,); NaN where a code has no weight.
    """
    shares = (codes[near] == codes[:, None]).mean(axis=1)
    means = []
    for code in np.unique(codes):
        own = codes == code
        with np.errstate(invalid="ignore"):
            means.append(weights[:, own] @ shares[own] / weights[:, own].sum(axis=1))
    return np.asarray(np.mean(means, axis=0), dtype=np.float64)


def embed(latents: Latents) -> dict[str, NDArray[np.float64]]:
    """State -> t-SNE coordinates (m, 2) of its points, all states on one map.

    Latents that a state does not change are one point of the map, and stand at the same place in both states.

    Raises:
        HarnessError: fewer than five points.
    """
    from sklearn.manifold import TSNE

    everything = np.concatenate([points.vectors for points in latents.states.values()])
    distinct, place = np.unique(everything, axis=0, return_inverse=True)
    if len(distinct) < 5:
        raise HarnessError(f"{latents.label}: {len(distinct)} different latents are no map", "raise --limit")
    perplexity = min(PERPLEXITY, (len(distinct) - 1) / 3)
    map_ = TSNE(perplexity=perplexity, init="pca", random_state=SEED).fit_transform(distinct)
    coordinates = np.asarray(map_, dtype=np.float64)[place.reshape(-1)]
    ends = np.cumsum([len(points.study) for points in latents.states.values()])[:-1]
    return dict(zip(latents.states, np.split(coordinates, ends), strict=True))


def located(latents: Latents, coordinates: dict[str, NDArray[np.float64]]) -> list[dict[str, Any]]:
    """One row per point of the map: state, study, kind of latent, finding, x and y."""
    truth = latents.truth
    return [
        {
            "state": state,
            "study": latents.ids[study],
            "kind": latents.kinds[kind],
            **({truth.name: truth.values[truth.codes[study]]} if truth is not None else {}),
            "x": round(float(x), 4),
            "y": round(float(y), 4),
        }
        for state, points in latents.states.items()
        for study, kind, (x, y) in zip(points.study, points.kind, coordinates[state], strict=True)
    ]
