"""Synthesis: inputs of a method, what a run keeps, and measures that see findings on phantoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from harness.core import registry
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Inputs, Prediction, Reference, Study, Task
from harness.datasets.phantom.draw import render
from harness.datasets.phantom.patient import Patient
from harness.evaluation import sample_sheet, synthesis
from harness.evaluation.run import run_serially
from harness.method.batching import collate
from harness.method.card import MethodCard
from harness.method.config import MethodConfig
from harness.method.contract import FitRun, Method
from harness.missingness.states import missing_in
from harness.store.predictions import PREDICTIONS, AnswerFile
from methods.controls.noise import Noise, NoiseConfig
from tests.helpers.phantom_measures import costophrenic_depth, heart_width
from tests.helpers.toys import Quiet, ToyData

INFO = DatasetInfo("toy", frozenset({Task.REPORT, Task.SYNTHESIZE}), ("frontal", "lateral"), True, 8)


class PainterConfig(MethodConfig):
    """Nothing to set."""


class Painter(Method[PainterConfig]):
    """Paints its inputs: the brightness of the other view, or the length of the report."""

    Config = PainterConfig
    card = MethodCard(
        name="painter",
        title="painter",
        paper="",
        licence="",
        tasks=frozenset({Task.REPORT, Task.SYNTHESIZE}),
        reads=frozenset({"frontal", "lateral"}),
        learned=False,
    )

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        pass

    def predict(self, inputs: Inputs) -> list[Prediction]:
        assert inputs.reports is None
        return [Prediction(report="clear.") for _ in inputs.ids]

    def synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        views = [target for target in targets if target != "report"]
        for target in views:
            assert not inputs.present[target].any()
            assert not inputs.images[target].any()
        if "report" in targets:
            assert inputs.reports == [None] * len(inputs)
        side = self.info.image_size
        made = []
        for row, report in enumerate(inputs.reports):
            level = sum(int(255 * image[row].mean()) for image in inputs.images.values()) + len(report or "")
            level = (level + inputs.seeds[row] + 40 * (len(targets) > 1)) % 256
            text = f"level {level}." if "report" in targets else None
            images = {target: np.full((side, side, 1), level, dtype=np.uint8) for target in views}
            made.append(Prediction(text, images=images or None))
        return made

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "painter.json").write_text("{}")

    def load(self, directory: Path) -> None:
        pass


class PictureData(ToyData):
    """The toy dataset, whose images are targets too."""

    def __init__(self) -> None:
        super().__init__()
        self.info = DatasetInfo(
            "images",
            frozenset({Task.REPORT, Task.SYNTHESIZE}),
            ("frontal", "lateral"),
            True,
            12,
            fingerprint="p1",
        )

    @classmethod
    def open(cls, root: Path | None = None, *, image_size: int | None = None) -> PictureData:
        return cls()


def batch(count: int = 3) -> list[Study]:
    noise = np.random.default_rng(0)
    return [
        Study(
            f"s{row}",
            f"p{row}",
            "test",
            {view: noise.integers(1, 256, (8, 8, 1), dtype=np.uint8) for view in ("frontal", "lateral")},
            "cough",
            f"report {row}",
        )
        for row in range(count)
    ]


def given(targets: Sequence[str], seed: int = 0, state: str = "full") -> Inputs:
    studies = batch()
    return synthesis.conditioned(collate(studies, INFO), targets, synthesis.reports_of(studies), seed, state)


@pytest.mark.parametrize("target", ["frontal", "lateral", "report"])
def test_a_target_is_blanked_and_the_rest_is_told(target: str) -> None:
    inputs = given([target])
    for view in ("frontal", "lateral"):
        assert bool(inputs.present[view].any()) == bool(inputs.images[view].any()) == (view != target)
    assert inputs.reports == ([None] * 3 if target == "report" else [f"report {row}" for row in range(3)])
    assert inputs.present["context"].all()


def test_noise_follows_from_run_study_state_and_target() -> None:
    assert given(["frontal"]).seeds == given(["frontal"]).seeds
    others = [given(["lateral"]), given(["frontal"], seed=1), given(["frontal"], state="lateral")]
    assert len({tuple(each.seeds) for each in (*others, given(["frontal"]))}) == 4
    assert len(set(given(["frontal"]).seeds)) == 3


def test_the_batch_itself_is_left_alone() -> None:
    inputs = collate(batch(), INFO)
    synthesis.conditioned(inputs, ["frontal"], dict.fromkeys(inputs.ids), 0, "full")
    assert inputs.images["frontal"].any()
    assert inputs.reports is None


def test_completed_sets_have_real_images_but_for_the_missing_one() -> None:
    real = {view: np.zeros((2, 2, 1), dtype=np.uint8) for view in ("frontal", "lateral")}
    made = {view: np.ones((2, 2, 1), dtype=np.uint8) for view in ("frontal", "lateral")}
    answer, truth = [Prediction(images=made)], [Reference("s", "p", images=real)]
    found = {
        state: synthesis.completed(answer, truth, missing_in(state))[0].images
        for state in ("full", "lateral", "context")
    }
    assert {state: [int(images[v].max()) for v in real] for state, images in found.items()} == {
        "full": [0, 0],
        "lateral": [0, 1],
        "context": [0, 0],
    }


def test_less_than_was_asked_for_is_an_error() -> None:
    class Idle(Painter):
        def synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
            return [Prediction(report="clear.") for _ in inputs.ids]

    with pytest.raises(ValueError, match="asked for lateral of s0"):
        synthesis.generated(Idle(PainterConfig(), INFO), given(["lateral"]), ["lateral"])


def test_a_run_scores_images_and_reads_them_back(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.DATASETS, "images", "tests.evaluation.test_synthesis:PictureData")
    monkeypatch.setitem(registry.METHODS, "painter", "tests.evaluation.test_synthesis:Painter")
    registry._table.cache_clear()
    config = RunSettings.of(
        methods=("painter",),
        dataset="images",
        drop="alternate",
        missing=(0.5,),
        mask_seeds=2,
        metrics=("bleu", "ms_ssim"),
        store=toy_world / "store",
    )
    rows, succeeded = run_serially(config, Quiet())
    assert succeeded
    found = {(row.metric, row.rate): row.value for row in rows if row.status == "ok"}
    assert {("ms_ssim", 0.0), ("ms_ssim", 0.5), ("bleu_1", 0.0)} <= set(found)
    files = {path.name for path in (toy_world / "store").rglob("synthesis-*.jsonl")}
    assert {"synthesis-frontal-full.jsonl", "synthesis-lateral-frontal.jsonl"} <= files
    monkeypatch.setattr(Painter, "synthesize", None)
    again, _ = run_serially(config, Quiet())
    assert [(r.metric, r.rate, r.value, r.ci95) for r in again] == [
        (r.metric, r.rate, r.value, r.ci95) for r in rows
    ]


def test_joint_generation_is_asked_for_by_the_metrics_that_measure_it(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both targets are blanked whether they are generated together or one by one, with the same noise."""
    monkeypatch.setitem(registry.DATASETS, "images", "tests.evaluation.test_synthesis:PictureData")
    monkeypatch.setitem(registry.METHODS, "painter", "tests.evaluation.test_synthesis:Painter")
    registry._table.cache_clear()
    store = toy_world / "store"
    config = RunSettings.of(
        methods=("painter", "noise"),
        dataset="images",
        missing=(0.5,),
        mask_seeds=2,
        metrics=("agreement_views", "agreement_report"),
        store=store,
    )
    rows, succeeded = run_serially(config, Quiet())
    assert succeeded
    by_state = {(row.method, row.metric, row.rate): row for row in rows}
    for metric in ("agreement_views_gain", "agreement_report_gain"):
        row = by_state["painter", metric, 0.0]
        assert (row.status, by_state["painter", metric, 0.5].value) == ("ok", row.value)
    assert by_state["noise", "agreement_views_gain", 0.0].status == "ok"
    assert by_state["noise", "agreement_report_gain", 0.0].status == "n/a"
    cell = next(path.parent for path in store.rglob("synthesis-frontal+report-together-full.jsonl"))
    for pair in ("frontal+lateral", "frontal+report"):
        together, apart = (
            AnswerFile(cell / f"synthesis-{pair}-{way}-full.jsonl", PREDICTIONS).read()
            for way in ("together", "apart")
        )
        for name, answer in together.items():
            difference = answer.images["frontal"].astype(int) - apart[name].images["frontal"]
            assert set(np.unique(difference % 256)) == {40}
            assert (answer.report is None) == (apart[name].report is None) == (pair == "frontal+lateral")


# ---------------------------------------------------------------- sheets


SHEET_INFO = replace(INFO, may_show_images=True, label_names=("Cardiomegaly", "No Finding"))


def sheet_rows() -> list[sample_sheet.SheetRow]:
    studies = [
        replace(study, labels=np.eye(2, dtype=np.float32)[n % 2], report="Invented words of a report.")
        for n, study in enumerate(batch(6))
    ]
    chosen = sample_sheet.chosen(studies, SHEET_INFO)
    assert [study.id for study in chosen] == ["s1", "s3", "s0", "s2"]
    return [sample_sheet.SheetRow(study, studies[0], study.images) for study in chosen]


def test_a_sheet_shows_only_images_that_may_be_shown(tmp_path: Path) -> None:
    sample_sheet.write_sheet(tmp_path / "sheet.png", "toy", sheet_rows(), SHEET_INFO)
    assert Image.open(tmp_path / "sheet.png").size[0] > 300
    with pytest.raises(HarnessError, match="no sample sheet of toy"):
        sample_sheet.write_sheet(tmp_path / "other.png", "toy", sheet_rows(), INFO)
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_a_sheet_names_findings_and_never_shows_the_text_of_a_report() -> None:
    figure = sample_sheet.sheet("toy", sheet_rows(), SHEET_INFO)
    texts = [text.get_text() for text in figure.findobj(Text) if text.get_text()]
    assert "toy\nReport text is not shown." in texts
    assert texts.count("No Finding") == texts.count("Cardiomegaly") == 2
    assert texts.count("Condition: report with Cardiomegaly") == 4, "the condition is another study's report"
    assert "Invented" not in " ".join(texts)


# ---------------------------------------------------------------- rulers


def frontal(number: int, *codes: str) -> Any:
    return render(Patient(f"ruler-{number}", codes, 60.0, "male"), 128)[0]


@pytest.mark.parametrize("number", range(4))
def test_the_ruler_sees_a_larger_heart(number: int) -> None:
    widths = [
        heart_width(frontal(number, *codes))
        for codes in ((), ("Cardiomegaly/mild",), ("Cardiomegaly/severe",))
    ]
    assert widths == sorted(widths)
    assert widths[2] > widths[0] + 0.1


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(("side", "other"), [("left", "right"), ("right", "left")])
def test_the_ruler_sees_fluid_on_its_side(number: int, side: str, other: str) -> None:
    clear, wet = frontal(number), frontal(number, f"Pleural Effusion/{side}/large")
    assert costophrenic_depth(wet, side) < costophrenic_depth(clear, side) - 0.08
    assert costophrenic_depth(wet, other) == pytest.approx(costophrenic_depth(clear, other), abs=0.02)


# ---------------------------------------------------------------- the control


def test_noise_has_the_pixels_moments_and_no_condition(tmp_path: Path) -> None:
    control = Noise(NoiseConfig(), INFO)
    control.fit(batch(3), [], FitRun(tmp_path, "cpu", 0))
    inputs = given(["frontal"])
    (first, *_), (again, *_) = (control.synthesize(inputs, ["frontal"]) for _ in range(2))
    assert np.array_equal(first.images["frontal"], again.images["frontal"])
    told = control.synthesize(replace(inputs, reports=["something else"] * 3), ["frontal"])
    assert np.array_equal(first.images["frontal"], told[0].images["frontal"])
    control.save(tmp_path / "checkpoint")
    copy = Noise(NoiseConfig(), INFO)
    copy.load(tmp_path / "checkpoint")
    assert np.array_equal(copy.synthesize(inputs, ["frontal"])[0].images["frontal"], first.images["frontal"])
