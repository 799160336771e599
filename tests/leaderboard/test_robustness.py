"""Robustness from stored results: areas, retention, controls, differences, and what is written of them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from scipy import stats
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference
from harness.evaluation.run import run_serially
from harness.leaderboard.curve_summaries import first_zero
from harness.leaderboard.render import robustness as export
from harness.leaderboard.render.blocks import Screen
from harness.leaderboard.render.gallery import write_figures
from harness.leaderboard.render.robustness_figures import curves_figure, reliance_figure, routing_figure
from harness.leaderboard.robustness import RobustnessReport, main_metrics
from harness.metrics.diagnosis.confidence import confidence_counts, from_counts
from harness.store.manifest import Manifest
from harness.store.results import Measurement
from harness.store.store import Store
from tests.helpers.leaderboards import RATES as ALL
from tests.helpers.leaderboards import add, manifest_values
from tests.helpers.toys import FAST_METRICS, Quiet

RATES = (0.0, 0.4, 0.8)


def stored(
    folder: Path,
    curves: dict[str, tuple[float, ...]],
    noise: float = 0.01,
    rates: tuple[float, ...] = RATES,
    **rest: Any,
) -> RobustnessReport:
    """A store with one metric of some methods whose curves are known."""
    store = Store(folder)
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.05, 200)  # what a resample does to all methods alike
    for method, values in curves.items():
        key = f"toy/{method}/tiny-s0"
        rows = [
            Measurement(
                dataset="toy",
                method=method,
                preset="tiny",
                seed=0,
                drop="any",
                mechanism="mcar",
                rate=rate,
                metric="cider",
                value=value,
                ci95=(value - 0.1, value + 0.1),
                n=50,
                signature="cider|v:1",
                group="report text",
                control=method.startswith("template") or "+" in method,
                **rest,
            )
            for rate, value in zip(rates, values, strict=True)
        ]
        costs = {"cider": {"lateral": {"value": 0.1, "cost": 0.2, "lo": 0.1, "hi": 0.3}}}
        facts = {"reliance": costs, "confidence": {"full": [1, 2, 3]}, "test_set": "t"}
        samples = np.array(values)[:, None] + shared + rng.normal(0, noise, (len(rates), 200))
        manifest = Manifest.model_validate(manifest_values(method, 0, rates, **facts))
        store.write_result(key, rows, manifest, {"cider": samples.astype(np.float32)})
    return RobustnessReport.of(store.stored())


def test_several_seeds_are_one_line_whose_intervals_cover_seeds(tmp_path: Path) -> None:
    one, store = Store(tmp_path / "one"), Store(tmp_path / "three")
    add(one, "dia", {"cider": 0.5})
    for seed, height in enumerate((0.4, 0.5, 0.6)):
        add(store, "dia", {"cider": height}, seed=seed, reliance=_costs(0.1 + 0.05 * seed))
        add(store, "template", {"cider": 0.5}, seed=seed, control=True, reliance=_costs(0.1))
    report = RobustnessReport.of(store.stored())
    dia, template = report.lines
    assert (dia.label, dia.seeds) == ("dia", (0, 1, 2))
    assert [point.estimate.value for point in dia.points] == pytest.approx([0.5 * (1 - 0.2 * r) for r in ALL])
    width = dia.points[0].estimate.hi - dia.points[0].estimate.lo
    alone = RobustnessReport.of(one.stored()).lines[0].points[0].estimate
    assert width > 3 * (alone.hi - alone.lo)
    assert template.points[0].estimate.hi - template.points[0].estimate.lo < 1.5 * (alone.hi - alone.lo)
    at_full = next(each for each in report.differences if each.rate == 0.0)
    assert at_full.difference.covers(0.0)
    cost = dia.reliance["lateral"]
    assert cost.value == pytest.approx(0.15)
    half = stats.t.ppf(0.975, 2) * 0.05 / np.sqrt(3)  # of three values whose standard deviation is 0.05
    assert cost.hi - cost.value == pytest.approx(np.hypot(0.02, half), rel=1e-3)
    assert template.reliance["lateral"].ci95 == pytest.approx((0.08, 0.12))


def test_one_seed_has_its_own_intervals_to_the_last_digit(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add(store, "dia", {"cider": 0.5}, seed=3)
    (line,) = RobustnessReport.of(store.stored()).lines
    (result,) = store.stored()
    assert line.label == "dia seed 3"
    assert [point.estimate.ci95 for point in line.points] == [row.ci95 for row in result.rows]


def _costs(cost: float) -> dict[str, Any]:
    lateral = {"value": 0.1, "cost": cost, "lo": cost - 0.02, "hi": cost + 0.02}
    return {"cider": {"lateral": lateral}}


def test_area_retention_and_the_fall_to_the_control(tmp_path: Path) -> None:
    curves = {"dia": (0.8, 0.5, 0.2), "dia+shuffled-image": (0.3, 0.3, 0.3), "template": (0.1, 0.1, 0.1)}
    lines = {line.method: line for line in stored(tmp_path, curves).lines}
    dia = lines["dia"]
    assert dia.area.value == pytest.approx(0.5)
    assert dia.area.lo < 0.5 < dia.area.hi
    assert dia.retained.value == pytest.approx(0.25)
    assert dia.retention_rate == 0.8
    assert dia.fall is not None
    assert dia.fall.control == "dia+shuffled-image"
    assert dia.fall.meets == pytest.approx(0.4 + 0.4 * 2 / 3)
    assert dia.fall.indistinct is not None
    assert 0.4 < dia.fall.indistinct < dia.fall.meets
    assert lines["template"].fall is None
    assert dia.reliance["lateral"].value == 0.2


def test_what_is_retained_at_a_corner_is_not_that_of_rate_zero(tmp_path: Path) -> None:
    (line,) = stored(tmp_path, {"dia": (0.8, 0.4)}, rates=(0.0, 1.0)).lines
    assert line.retention_rate == 1.0
    assert line.retained.value == pytest.approx(0.5)


def test_differences_are_paired_and_along_the_curve(tmp_path: Path) -> None:
    report = stored(tmp_path, {"dia": (0.8, 0.5, 0.2), "vdgen": (0.6, 0.55, 0.5)})
    assert [(each.a, each.b, each.rate) for each in report.differences] == [
        ("dia", "vdgen", rate) for rate in RATES
    ]
    assert [each.difference.value for each in report.differences] == pytest.approx([0.2, -0.05, -0.3])
    first = report.differences[0].difference
    assert first.hi - first.lo < 0.08  # what moves both alike has gone: each curve's own spread is 0.2


def test_where_lower_is_better_a_curve_falls_by_rising(tmp_path: Path) -> None:
    curves = {"kedr": (0.1, 0.3, 0.5), "kedr+shuffled-image": (0.4, 0.4, 0.4)}
    (line,) = (
        line for line in stored(tmp_path, curves, higher_is_better=False).lines if line.method == "kedr"
    )
    assert line.fall is not None
    assert line.fall.meets == pytest.approx(0.6)


@pytest.mark.parametrize("higher", [True, False])
def test_skill_retained_is_that_of_the_lead_over_the_control(tmp_path: Path, higher: bool) -> None:
    sign = 1.0 if higher else -1.0
    heights = {
        "clear": (0.9, 0.7, 0.6),
        "clear+shuffled-image": (0.5, 0.5, 0.5),
        "unclear": (0.5, 0.4, 0.3),
        "unclear+shuffled-image": (0.5, 0.5, 0.5),
        "worse": (0.3, 0.4, 0.5),
        "worse+shuffled-image": (0.5, 0.5, 0.5),
    }
    curves = {name: tuple(sign * each for each in values) for name, values in heights.items()}
    report = stored(tmp_path, curves, higher_is_better=higher)
    lines = {line.method: line for line in report.lines}
    skill = lines["clear"].skill
    assert skill.value == pytest.approx(0.25)
    assert skill.lo < 0.25 < skill.hi
    assert skill.hi - skill.lo < 0.2  # paired: what a resample does to both cancels
    for name in ("unclear", "worse"):
        assert not lines[name].skill.is_defined
    assert lines["clear+shuffled-image"].skill is None
    written = export.markdown(report)
    assert "skill retained at 0.8" in written
    assert written.count("no clear lead") == 3  # two cells and the note


@pytest.mark.parametrize("higher", [True, False])
def test_effective_robustness_is_the_height_above_the_moved_baseline(tmp_path: Path, higher: bool) -> None:
    sign = 1.0 if higher else -1.0
    heights = {
        "late_fusion": (0.6, 0.4, 0.2),
        "tough": (0.9, 0.9, 0.9),
        "alike": (0.3, 0.1, -0.1),
        "template": (0.1, 0.1, 0.1),
    }
    curves = {name: tuple(sign * each for each in values) for name, values in heights.items()}
    report = stored(tmp_path, curves, higher_is_better=higher)
    lines = {line.method: line.effective for line in report.lines}
    assert lines["tough"].value == pytest.approx(0.2)  # 0, 0.2 and 0.4 above it
    assert not lines["tough"].covers(0.0)
    assert lines["alike"].value == pytest.approx(0.0)
    assert lines["late_fusion"] is None
    assert lines["template"] is None
    assert "| effective robustness |" in export.markdown(report)
    without = stored(tmp_path / "without", {"tough": (0.9, 0.9, 0.9)})
    assert "| effective robustness |" not in export.markdown(without)


def test_first_zero() -> None:
    rates = np.array([0.0, 0.2, 0.4])
    assert first_zero(rates, np.array([1.0, 0.5, 0.1])) is None
    assert first_zero(rates, np.array([-1.0, 0.5, 0.1])) == 0.0
    assert first_zero(rates, np.array([1.0, 0.0, 1.0])) == pytest.approx(0.2)
    assert first_zero(rates, np.array([1.0, 1.0, -1.0])) == pytest.approx(0.3)


def test_json_has_no_number_that_json_lacks(tmp_path: Path) -> None:
    report = stored(tmp_path, {"dia": (0.0, 0.1, 0.2)})  # nothing to retain
    content = json.loads(report.to_json(), parse_constant=lambda name: pytest.fail(name))
    (line,) = content["lines"]
    assert line["retained"]["value"] is None
    assert {"area", "points", "fall", "reliance"} <= set(line)


def test_markdown_and_terminal_say_the_same(tmp_path: Path) -> None:
    report = stored(tmp_path, {"dia": (0.8, 0.5, 0.2), "dia+shuffled-image": (0.3, 0.3, 0.3)})
    text = export.markdown(report)
    assert "### Robustness of cider: toy, 50 test studies, any missing (mcar)" in text
    assert "| dia | 0.500 [" in text
    assert "loss without lateral" in text
    assert "| 0.200 [0.100, 0.300]" in text
    console = Console(file=io.StringIO(), width=200)
    with console.capture() as capture:
        for part in export.rich(report, Screen.of(console)):
            console.print(part)
    assert "Robustness of cider: toy, 50 test studies, any missing (mcar)" in capture.get()
    assert " 0.200 [0.100, 0.300]" in capture.get()
    assert "Loss without X: how much worse the metric is" in " ".join(capture.get().split())
    assert export.markdown(RobustnessReport((), ())).startswith("No result has a missing rate above 0.")


def test_figures_are_drawn_in_every_format(tmp_path: Path) -> None:
    report = stored(tmp_path / "s", {"dia": (0.8, 0.5, 0.2), "template": (0.1, 0.1, 0.1)})
    written = write_figures(Store(tmp_path / "s").stored(), report, tmp_path / "figures")
    names = {path.name for path in written}
    for name in ("curves-cider", "reliance-cider", "confidence"):
        assert {f"{name}.png", f"{name}.svg", f"{name}.pdf"} <= names
    text = (tmp_path / "figures" / "toy-any-mcar-n50" / "curves-cider.svg").read_text()
    for word in ("dia", "template (control)", "share of studies that lose one of their modalities"):
        assert word in text
    for path in written:
        if path.suffix == ".png":
            assert len(np.unique(np.asarray(Image.open(path).convert("L")))) > 20


def test_routing_is_drawn_and_bad_input_refused(tmp_path: Path) -> None:
    shares = np.full((2, 4), 0.25)
    routing_figure({"nothing missing": shares, "frontal missing": shares}, tmp_path / "r.svg", title="m")
    text = (tmp_path / "r.svg").read_text()
    assert "frontal missing" in text
    assert text.count(">25<") == 16
    with pytest.raises(HarnessError, match="one shape"):
        routing_figure({"a": shares, "b": shares[:1]}, tmp_path / "r.svg")
    with pytest.raises(HarnessError, match="no curves"):
        curves_figure([], tmp_path / "c.svg")
    with pytest.raises(HarnessError, match="no curves"):
        reliance_figure([], tmp_path / "c.svg")


def test_confidences_are_counted_without_studies() -> None:
    references = [Reference(f"s{i}", f"p{i}", labels=np.eye(2, dtype=np.float32)[i % 2]) for i in range(4)]
    sure = {f"s{i}": Prediction(probabilities=np.array([0.9, 0.1])) for i in range(4)}
    counts = confidence_counts({"full": sure}, references, multilabel=False)
    assert sum(counts["full"]) == 4
    assert from_counts(counts["full"]) == pytest.approx([0.9] * 4, abs=0.01)
    pooled = confidence_counts({"full": sure}, references, multilabel=True)
    assert sum(pooled["full"]) == 8
    assert confidence_counts({"full": {name: Prediction("text") for name in sure}}, references, False) == {}


def test_a_run_writes_robustness_beside_its_leaderboard(toy_world: Path) -> None:
    store = toy_world / "store"
    config = RunSettings.of(
        methods=("echo", "learner"),
        dataset="toy",
        missing=(0.4, 0.8),
        drop="any",
        mask_seeds=3,
        metrics=FAST_METRICS,
        store=store,
    )
    run_serially(config, Quiet())
    out = toy_world / "out"
    result = CliRunner().invoke(app, ["leaderboard", "--store", str(store), "--out", str(out), "--figures"])
    assert result.exit_code == 0, result.output
    lines = json.loads((out / "robustness.json").read_text())["lines"]
    assert {(line["method"], line["metric"]) for line in lines} >= {("echo", "cider"), ("learner", "bleu_4")}
    (learner,) = (line for line in lines if (line["method"], line["metric"]) == ("learner", "cider"))
    assert learner["fall"]["control"] == "learner+shuffled-image"
    assert set(learner["reliance"]) == {"frontal", "lateral", "context"}
    assert learner["reliance"]["context"]["value"] == 0.0  # it does not read it
    assert "Robustness of bleu_4" in (out / "robustness.md").read_text()
    assert list((out / "figures").rglob("curves-bleu_4.png"))
    report = RobustnessReport.of(Store(store).stored())
    assert {line.metric for line in main_metrics(report.lines)} == {"bleu_4"}
    bare = CliRunner().invoke(app, ["leaderboard", "--store", str(store), "--out", str(toy_world / "bare")])
    assert bare.exit_code == 0
    assert not (toy_world / "bare" / "figures").exists()
