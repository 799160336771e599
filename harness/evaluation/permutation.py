"""Does a method look at the image? Stored predictions among other patients' studies, and a p-value.

If predictions had nothing to do with their studies, a method would score as well when each study got another
patient's prediction. The p-value says how often that happens in random derangements. A method that also
reads the context mixes both: what is tested then is whether it looks at its input.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.errors import CorruptFileError, HarnessError
from harness.core.progress import Reporter
from harness.core.types import CONTEXT, Prediction, Task
from harness.evaluation.benchmark import Benchmark, open_benchmark
from harness.evaluation.reproduce import settings_of
from harness.metrics.base import Metric
from harness.metrics.headline import CURVE_METRICS
from harness.missingness.states import FULL
from harness.statistics.permutation import derangements, p_value
from harness.store.predictions import PREDICTIONS, AnswerFile
from harness.store.results import StoredResult
from harness.store.row_labels import SHUFFLED
from harness.store.store import Store

FAMILIES = ("bleu", "cider", "chexbert_f1", "chexpert_rules_f1", "diagnosis", "auroc")
"""Families of metrics that are tested."""


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """One metric of one method with nothing dropped.

    Attributes:
        looks_at: ``image``, or ``input`` where the method reads the context as well.
        value: with each study's own prediction.
        permuted: mean over the derangements.
        p_value: (1 + derangements that score at least as well) / (1 + ``permutations``).
        permutations: number of derangements.
    """

    dataset: str
    n: int
    method: str
    seed: int
    looks_at: str
    metric: str
    value: float
    permuted: float
    p_value: float
    permutations: int


def permutation_tests(
    store: Store, stored: Sequence[StoredResult], permutations: int, reporter: Reporter
) -> tuple[list[PermutationTest], bool]:
    """Tests of all rows that read an image, by metric, and whether every row could be tested.

    Args:
        store: results store with the predictions.
        stored: results, as ``leaderboard.selection.current`` leaves them. Of a trained cell the first counts.
        permutations: derangements.
        reporter: which row is worked on, and which has no predictions of its test set.

    Raises:
        HarnessError: the dataset is not where it was.
    """
    opened: dict[str, Benchmark] = {}
    tests: list[PermutationTest] = []
    complete = True
    for result in _image_rows(stored):
        label = result.rows[0].method
        reporter.phase(label, f"{permutations} derangements")
        benchmark = opened.get(_protocol(result))
        if benchmark is None:
            benchmark = open_benchmark(settings_of(result, store.root))
            opened[_protocol(result)] = benchmark
        file = AnswerFile(store.root / result.manifest.cell / "predictions" / f"{FULL}.jsonl", PREDICTIONS)
        try:
            predictions, reason = file.sealed(), "the store has no predictions of this test set"
        except CorruptFileError as error:
            predictions, reason = None, error.message
        if benchmark.test_set != result.manifest.test_set or predictions is None:
            reporter.failed(label, reason)
            complete = False
            continue
        tests += _of_row(result, benchmark, predictions, permutations)
        reporter.done(label, "tested")
    return tests, complete


def _image_rows(stored: Sequence[StoredResult]) -> Iterator[StoredResult]:
    """One result per trained cell and row that reads an image; reruns on other images are left out."""
    rows = set()
    for result in stored:
        reads = set(result.manifest.card.get("reads", ())) - {CONTEXT}
        if result.rows and reads and not result.rows[0].method.endswith(SHUFFLED):
            row = result.rows[0].method, result.manifest.cell, result.manifest.test_set
            if row not in rows:
                rows.add(row)
                yield result


def _protocol(result: StoredResult) -> str:
    """What results have to share to use one opened benchmark."""
    of_row = ("methods", "seeds", "drop", "states", "missing", "impute", "set", "preset")
    config = {name: value for name, value in result.manifest.config.items() if name not in of_row}
    config["options"] = result.manifest.config.get("set", {}).get(config.get("dataset"))
    return json.dumps([config, result.manifest.test_set], sort_keys=True)


def _of_row(
    result: StoredResult, benchmark: Benchmark, predictions: Mapping[str, Prediction], permutations: int
) -> Iterator[PermutationTest]:
    references, row = benchmark.references, result.rows[0]
    ordered = [predictions[reference.id] for reference in references]
    orders = derangements([reference.patient_id for reference in references], permutations)
    orders = np.concatenate([np.arange(len(references))[None], orders])
    looks_at = "input" if CONTEXT in result.manifest.card.get("reads", ()) else "image"
    for metric in benchmark.metrics:
        if metric.name not in FAMILIES or metric.unavailable() or not _scores(metric, ordered):
            continue
        values = metric.rematched(ordered, references, orders)
        for output in metric.outputs:
            if output.name in CURVE_METRICS:
                observed, permuted = float(values[output.name][0]), values[output.name][1:]
                yield PermutationTest(
                    dataset=row.dataset,
                    n=len(references),
                    method=row.method,
                    seed=row.seed,
                    looks_at=looks_at,
                    metric=output.name,
                    value=observed,
                    permuted=float(np.mean(permuted)),
                    p_value=p_value(observed, permuted, output.higher_is_better is not False),
                    permutations=permutations,
                )


def _scores(metric: Metric, predictions: Sequence[Prediction]) -> bool:
    """Whether the predictions hold what a metric reads."""
    if metric.task is Task.REPORT:
        return all(each.report is not None for each in predictions)
    return all(each.probabilities is not None for each in predictions)


def require_number(permutations: int) -> None:
    """Whether a number of derangements can give a p-value.

    Raises:
        HarnessError: fewer than 19: the smallest p-value would be above 0.05.
    """
    if permutations < 19:
        raise HarnessError(
            f"--permutations {permutations}: at least 19", "the smallest p-value is 1 / (P + 1)"
        )
