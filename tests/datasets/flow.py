"""What every dataset of reports goes through in its tests: the check, a fit, predictions, scores."""

from __future__ import annotations

from pathlib import Path

from harness import evaluate
from harness.config import RunConfig
from harness.datacheck import examine
from harness.results import ResultRow
from tests.toys import Quiet


def checked_trained_scored(dataset: str, root: Path, store: Path, **options: object) -> list[ResultRow]:
    """Rows of a run of ``retrieval``, after ``data check`` found nothing fatal."""
    assert examine(dataset, root, options).fatal == 0
    config = RunConfig(
        methods=("retrieval",),
        dataset=dataset,
        root=root,
        metrics=("bleu", "rouge_l"),
        store=store,
        set={dataset: {"image_size": 32, **options}},
    )
    reporter = Quiet()
    rows, succeeded = evaluate.run(config, reporter)
    assert succeeded, reporter.failures
    assert {row.metric for row in rows if row.status == "ok"} >= {"bleu_4", "rouge_l"}
    return list(rows)
