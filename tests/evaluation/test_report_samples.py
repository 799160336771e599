"""``--report-samples``: drawn reports become probabilities of methods that only write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from harness.core import registry
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.types import CHEXPERT_LABELS, Inputs, Study, Task
from harness.evaluation.report_samples import ReportSamples
from harness.evaluation.run import run_serially
from harness.leaderboard.tables import tables
from harness.metrics.base import JointMetric
from harness.store.results import Measurement
from tests.helpers.toys import Echo, Quiet, ToyData, log

pytest.importorskip("spacy")
pytest.importorskip("negspacy")

SENTENCES = ("There is a pleural effusion.", "No pleural effusion.", "There may be a pleural effusion.")
EFFUSION = CHEXPERT_LABELS.index("Pleural Effusion")
METRICS = ("bleu", "brier", "auroc", "ece")


class LabelledData(ToyData):
    """Toys with the 14 findings; only the effusion varies."""

    def __init__(self) -> None:
        super().__init__()
        tasks = frozenset({Task.REPORT, Task.DIAGNOSE})
        self.info = replace(self.info, tasks=tasks, label_names=CHEXPERT_LABELS, fingerprint="labelled-1")

    def studies(self, split: str) -> list[Study]:
        rng = np.random.default_rng(0)
        return [
            replace(study, labels=(rng.random(14) < 0.5).astype(np.float32))
            for study in super().studies(split)
        ]


class Speaker(Echo):
    """Draws one of three sentences with each study's own noise."""

    card = replace(Echo.card, name="speaker", samples=True)

    def sample(self, inputs: Inputs, draws: int) -> list[list[str]]:
        for study_id in inputs.ids:
            log("draw", study_id)
        return [
            [Random(f"{seed}-{draw}").choice(SENTENCES) for draw in range(draws)] for seed in inputs.seeds
        ]


@pytest.fixture
def world(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(registry.DATASETS, "labelled", "tests.evaluation.test_report_samples:LabelledData")
    monkeypatch.setitem(registry.METHODS, "speaker", "tests.evaluation.test_report_samples:Speaker")
    return toy_world


def config(folder: Path, **rest: Any) -> RunSettings:
    given = {
        "methods": ("speaker", "echo"),
        "metrics": METRICS,
        "report_samples": 6,
        "drop": "context",
        **rest,
    }
    return RunSettings.of(dataset="labelled", missing=(0.4,), store=folder / "store", **given)


def run(settings: RunSettings) -> list[Measurement]:
    reporter = Quiet()
    rows, succeeded = run_serially(settings, reporter)
    assert succeeded, reporter.failures
    return rows


def drawn_in(folder: Path, pattern: str) -> dict[str, list[str]]:
    (path,) = (folder / "store").glob(f"cells/**/predictions/{pattern}.jsonl")
    return {line["id"]: line["reports"] for line in map(json.loads, path.read_text().splitlines())}


def of(rows: Sequence[Measurement], method: str, metric: str, rate: float = 0.0) -> Measurement:
    (row,) = (row for row in rows if (row.method, row.metric, row.rate) == (method, metric, rate))
    return row


def test_a_writing_method_gets_diagnosis_metrics_that_say_how(world: Path) -> None:
    rows = run(config(world))
    row = of(rows, "speaker", "brier")
    assert row.status == "ok"
    assert "|probabilities:report-samples-6|" in row.signature
    assert "uncertain:positive" in row.signature
    assert of(rows, "speaker", "brier", 0.4).value is not None
    assert of(rows, "speaker", "bleu_4").signature == of(rows, "echo", "bleu_4").signature
    assert of(rows, "echo", "brier").status == "n/a", "a method that draws nothing has no probabilities"


def test_probabilities_are_label_frequencies_of_the_reports_drawn(world: Path) -> None:
    rows = run(config(world))
    drawn = drawn_in(world, "samples-6-full")
    truth = {study.id: study.labels for study in LabelledData().studies("test")}
    errors = []
    for study_id, reports in drawn.items():
        said = np.zeros(14)
        said[EFFUSION] = sum(report != SENTENCES[1] for report in reports) / 6
        said[CHEXPERT_LABELS.index("No Finding")] = 1 - said[EFFUSION]
        errors.append((said - truth[study_id]) ** 2)
    assert of(rows, "speaker", "brier").value == pytest.approx(np.mean(errors), abs=1e-9)


def test_nothing_is_drawn_unless_asked_for(world: Path) -> None:
    rows = run(config(world, report_samples=0))
    assert of(rows, "speaker", "brier").status == "n/a"
    assert not [line for line in (world / "work.log").read_text().splitlines() if line.startswith("draw")]


def test_each_study_is_drawn_once_per_state_and_a_second_run_draws_nothing(world: Path) -> None:
    first = run(config(world))
    asked = [line for line in (world / "work.log").read_text().splitlines() if line.startswith("draw")]
    studies = LabelledData().studies("test")
    assert len(asked) == len(studies) + sum(study.context is not None for study in studies)
    assert [row.value for row in run(config(world))] == [row.value for row in first]
    again = [line for line in (world / "work.log").read_text().splitlines() if line.startswith("draw")]
    assert again == asked


def test_an_interrupted_draw_goes_on_where_it_stopped(world: Path) -> None:
    whole = run(config(world))
    expected = drawn_in(world, "samples-6-full")
    (path,) = (world / "store").glob("cells/**/predictions/samples-6-full.jsonl")
    for seal in path.parent.glob(f"{path.name}*sha256*"):
        seal.unlink()
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:10]) + lines[10][:20])
    assert [row.value for row in run(config(world))] == [row.value for row in whole]
    assert drawn_in(world, "samples-6-full") == expected


def test_the_shuffled_control_draws_of_its_own(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Speaker, "card", replace(Speaker.card, learned=True))
    rows = run(config(world, methods=("speaker",)))
    assert of(rows, "speaker+shuffled-image", "brier").status == "ok"
    assert drawn_in(world, "samples-6-shuffled-full")


def test_numbers_of_another_provenance_never_share_a_table(world: Path) -> None:
    six = run(config(world, methods=("speaker",)))
    nine = run(config(world, methods=("speaker",), report_samples=9))
    relabelled = [replace(row, method="other") for row in nine]
    diagnosis = [table for table in tables([*six, *relabelled]) if "brier" in table.metrics]
    assert len(diagnosis) == 2
    assert len({table.signatures["brier"] for table in diagnosis}) == 2


@pytest.mark.parametrize(
    ("policy", "expected"), [("positive", 2 / 3), ("negative", 1 / 3), ("ignored", 1 / 2)]
)
def test_uncertain_findings_count_by_policy(world: Path, policy: str, expected: float) -> None:
    samples = ReportSamples.of(3, policy, LabelledData().info)
    assert samples is not None
    found: Mapping[str, Any] = samples.frequencies({"s": list(SENTENCES), "t": [SENTENCES[2]] * 3})
    assert found["s"][EFFUSION] == pytest.approx(expected)
    assert found["t"][EFFUSION] == {"positive": 1.0, "negative": 0.0, "ignored": 0.5}[policy]


def test_datasets_without_chexpert_labels_draw_nothing() -> None:
    assert ReportSamples.of(5, None, ToyData().info) is None
    assert ReportSamples.of(5, None, replace(LabelledData().info, label_names=("melanoma",))) is None


def test_a_metric_of_draws_is_the_same_metric_under_another_signature() -> None:
    samples = ReportSamples.of(5, None, LabelledData().info)
    assert samples is not None
    for name in ("brier", "auroc", "ece_mass", "diagnosis"):
        plain = registry.make_metric(name)
        drawn = samples.metric(plain)
        assert drawn.signature == f"{plain.signature}|{samples.signature}"
        assert isinstance(drawn, JointMetric) == isinstance(plain, JointMetric)
        assert "report-samples" not in plain.signature


def test_a_number_of_samples_below_zero_names_the_flag() -> None:
    with pytest.raises(HarnessError, match="--report-samples"):
        RunSettings.build({"report_samples": -1})
