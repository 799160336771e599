"""Diagnosis figures: densities that integrate to one, what is written where, honest labels, bad input."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import HarnessError
from harness.leaderboard.render.figures import (
    Judgements,
    confidence_density,
    reflected_density,
    reliability_by_state,
)
from harness.leaderboard.render.gallery import changes, merged, relies
from harness.leaderboard.render.policy_figures import policies_figure
from harness.leaderboard.render.risk_figures import RiskCurve, risk_coverage_figure
from harness.leaderboard.render.robustness_figures import crowded, curves_figure, near, outside_note
from harness.leaderboard.robustness import Line, Point
from harness.metrics.diagnosis.calibration import reliability
from harness.statistics.estimate import Estimate

STATES = ("nothing missing", "clinical missing", "dermoscopic missing")


def judged(seed: int, sharpness: float = 3.0, n: int = 400) -> Judgements:
    rng = np.random.default_rng(seed)
    confidence = rng.beta(sharpness, 1.5, n)
    return Judgements(confidence, (rng.random(n) < confidence**1.3).astype(float))


@pytest.fixture
def states() -> dict[str, Judgements]:
    return {name: judged(number, 6 - 2 * number) for number, name in enumerate(STATES)}


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).random(300),
        np.random.default_rng(1).beta(40, 1, 500),
        np.array([0.0, 1.0]),
        np.full(50, 0.7),
        np.array([0.999]),
    ],
)
def test_a_density_has_area_one_on_the_unit_interval(values: np.ndarray) -> None:
    at = np.linspace(0, 1, 4001)
    density = reflected_density(values, at)
    assert (density >= 0).all()
    assert np.trapezoid(density, at) == pytest.approx(1.0, abs=2e-3)


def test_a_density_is_highest_where_the_values_are() -> None:
    at = np.linspace(0, 1, 501)
    values = np.concatenate([np.random.default_rng(0).normal(0.8, 0.03, 900), np.full(20, 0.2)])
    assert at[reflected_density(values, at).argmax()] == pytest.approx(0.8, abs=0.02)


def test_uniform_confidence_has_a_flat_density_up_to_the_ends() -> None:
    density = reflected_density((np.arange(2000) + 0.5) / 2000, np.linspace(0, 1, 101))
    assert np.allclose(density, 1.0, atol=0.02)


def test_the_svg_says_states_errors_and_counts(tmp_path: Path, states: dict[str, Judgements]) -> None:
    reliability_by_state(states, tmp_path / "r.svg", title="kedr on derm7pt")
    text = (tmp_path / "r.svg").read_text()
    assert "kedr on derm7pt" in text
    for name, each in states.items():
        assert name in text
        assert f"ECE {reliability(each.confidence, each.correct).ece:.3f}, n = 400" in text
    assert text.count("perfectly calibrated") == 1


def test_the_density_svg_has_a_row_per_method_and_one_legend(
    tmp_path: Path, states: dict[str, Judgements]
) -> None:
    confidence_density({"kedr": states, "late_fusion": states}, tmp_path / "d.svg", title="derm7pt")
    text = (tmp_path / "d.svg").read_text()
    for word in ("derm7pt", "kedr", "late_fusion", "confidence (tick: median)"):
        assert word in text
    for name in STATES:
        assert text.count(f">{name}<") == 1


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_every_format_is_written_the_same_twice(
    tmp_path: Path, states: dict[str, Judgements], kind: str
) -> None:
    for number in (1, 2):
        reliability_by_state(states, tmp_path / f"r{number}.{kind}")
        confidence_density({"kedr": states}, tmp_path / f"d{number}.{kind}")
    for letter in "rd":
        first, second = (tmp_path / f"{letter}{number}.{kind}" for number in (1, 2))
        assert first.read_bytes() == second.read_bytes()


def test_a_png_is_a_drawing(tmp_path: Path, states: dict[str, Judgements]) -> None:
    confidence_density({"kedr": states}, tmp_path / "d.png")
    pixels = np.asarray(Image.open(tmp_path / "d.png").convert("RGB"))
    assert pixels.shape[1] == round(5.6 * 160)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_empty_bins_and_a_single_judgement_are_drawn(tmp_path: Path) -> None:
    few = {"nothing missing": Judgements(np.array([0.9]), np.array([1.0]))}
    reliability_by_state(few, tmp_path / "r.png")
    confidence_density({"template": few}, tmp_path / "d.png")
    assert (tmp_path / "r.png").stat().st_size > 0


def test_what_cannot_be_drawn_is_an_error(tmp_path: Path, states: dict[str, Judgements]) -> None:
    with pytest.raises(HarnessError, match="no modality states"):
        reliability_by_state({}, tmp_path / "r.png")
    with pytest.raises(HarnessError, match="no modality states"):
        confidence_density({}, tmp_path / "d.png")
    with pytest.raises(HarnessError, match=r"r\.gif: unknown type of figure"):
        reliability_by_state(states, tmp_path / "r.gif")
    many = {f"state {number}": judged(number) for number in range(6)}
    with pytest.raises(HarnessError, match="6 modality states, at most 5"):
        confidence_density({"kedr": many}, tmp_path / "d.png")
    with pytest.raises(HarnessError, match="expected"):
        Judgements(np.array([0.5]), np.array([1.0, 0.0]))
    with pytest.raises(HarnessError, match=r"outside \[0, 1\]"):
        Judgements(np.array([1.5]), np.array([1.0]))
    assert not list(tmp_path.glob("*.tmp"))


def line(method: str, values: tuple[float, ...], cost: float | None = None, control: bool = False) -> Line:
    """A curve over missing rates 0, 0.2, ..., with intervals of +- 0.05."""
    points = tuple(
        Point(0.2 * number, Estimate(value, value - 0.05, value + 0.05, 50))
        for number, value in enumerate(values)
    )
    return Line(
        dataset="toy", n=50, drop="context", mechanism="mcar", test_set="", method=method, preset="tiny",
        seeds=(0,), control=control, group="report text", metric="cider", higher_is_better=True,
        points=points,
        area=points[0].estimate, retained=points[0].estimate, retention_rate=0.8, fall=None,
        reliance={} if cost is None else {"context": Estimate(cost, cost, cost, 50)},
    )  # fmt: skip


def test_a_curve_that_never_changes_and_a_cost_of_nothing_are_not_drawn() -> None:
    assert changes(line("dia", (0.7, 0.5)))
    assert not changes(line("vdgen", (0.4, 0.4, 0.4)))
    assert relies(line("dia", (0.7,), cost=0.37))
    assert not relies(line("vdgen", (0.4,), cost=0.0))
    assert not relies(line("template", (0.4,)))


def test_states_with_equal_content_share_a_panel() -> None:
    assert merged({"full": [1], "context": [1], "lateral": [2]}) == {
        "nothing missing,\ncontext missing": [1],
        "lateral missing": [2],
    }
    assert merged({"full": [1], "context": [2]}) == {"nothing missing": [1], "context missing": [2]}


def test_more_than_three_overlapping_bands_have_a_panel_each(tmp_path: Path) -> None:
    near = [line(f"m{number}", (0.4 + number / 100, 0.4)) for number in range(4)]
    far = [line(f"m{number}", (number, number + 0.01)) for number in range(4)]
    assert crowded(near)
    assert not crowded(near[:3])
    assert not crowded(far)
    control = line("template", (0.1, 0.1), control=True)
    curves_figure([*near, control], tmp_path / "near.svg")
    curves_figure([*far, control], tmp_path / "far.svg")
    panels = [(tmp_path / f"{name}.svg").read_text().count('<g id="axes_') for name in ("near", "far")]
    assert panels == [4, 1]
    assert (tmp_path / "near.svg").read_text().count("template (control)") >= 1


def test_controls_far_from_all_methods_stand_below_the_axis(tmp_path: Path) -> None:
    methods = [line("kedr", (0.95, 0.93)), line("late", (0.94, 0.9))]
    close = line("retrieval", (0.8, 0.8), control=True)
    far = line("template", (0.45, 0.5), control=True)
    assert near([close, far], methods) == ([close], [far])
    assert near([far], []) == ([far], [])  # nothing but controls
    assert outside_note([far]) == "outside the axis: template (control) 0.450 to 0.500"
    policies = [replace(each, drop=drop) for each in (*methods, close, far) for drop in ("context", "any")]
    for figure in (partial(curves_figure, [*methods, close, far]), partial(policies_figure, policies)):
        figure(tmp_path / "figure.svg")
        svg = (tmp_path / "figure.svg").read_text()
        assert "outside the axis: template (control) 0.450 to 0.500" in svg
        assert ">0.5<" not in svg.replace("\N{MINUS SIGN}", "-")  # no tick so far down


def test_risk_curves_have_their_areas_in_the_legend(tmp_path: Path) -> None:
    curve = RiskCurve((0.0, 0.1, 0.2, 0.3))
    assert curve.height == pytest.approx((0.0 + 0.05 + 0.15 + 0.25) / 4)
    exact = RiskCurve((0.2, 0.2), control=True, area=0.25)
    states = {"nothing missing": {"kedr": curve, "template": exact}, "context missing": {"kedr": curve}}
    risk_coverage_figure(states, tmp_path / "risk.svg", title="toy")
    svg = (tmp_path / "risk.svg").read_text()
    assert svg.count("kedr 0.113") + svg.count("kedr 0.112") == 2
    assert "template (control) 0.250" in svg
    with pytest.raises(HarnessError, match="no curves of risk"):
        risk_coverage_figure({}, tmp_path / "risk.svg")
