"""Diagnosis figures: densities that integrate to one, what is written where, honest labels, bad input."""

from __future__ import annotations

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
from harness.metrics.diagnosis.calibration import reliability

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
    with pytest.raises(HarnessError, match=r"in \[0, 1\]"):
        Judgements(np.array([1.5]), np.array([1.0]))
    assert not list(tmp_path.glob("*.tmp"))
