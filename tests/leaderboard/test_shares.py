"""What masks really took stands in headings, footnotes and figures of every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import (
    html,
    leaderboard_latex,
    markdown,
    policy_figures,
    robustness,
    robustness_figures,
    terminal,
)
from harness.leaderboard.render.blocks import Screen
from harness.leaderboard.render.policy_figures import policies_figure
from harness.leaderboard.render.robustness_figures import curves_figure
from harness.leaderboard.robustness import RobustnessReport
from harness.leaderboard.shares import RateShares, Shares
from harness.store.store import Store
from tests.helpers.leaderboards import RATES, N, add

HALF = [0.0, 0.2, 0.4, 0.5, 0.5]
"""Half of the studies have a context to lose."""

TAKEN: dict[str, Any] = {
    "natural": {"frontal": 0.0, "context": 0.5},
    "achieved": dict(zip(map(str, RATES), HALF, strict=True)),
    "achieved_instances": {str(rate): share / 1.5 for rate, share in zip(RATES, HALF, strict=True)},
    "lost": {str(rate): {"frontal": 0.0, "context": share} for rate, share in zip(RATES, HALF, strict=True)},
}
AXIS = "without context: 50.0 % | 70.0 % | 90.0 % | 100.0 % | 100.0 %"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for method, height in (("first", 0.5), ("second", 0.4)):
        add(store, method, {"cider": height, "bleu_4": height / 2}, **TAKEN)
    return store


def test_a_share_that_differs_from_the_rate_stands_in_the_heading() -> None:
    shares = Shares({}, {0.2: RateShares(0.2, 0.1), 0.6: RateShares(0.5, 0.3), 0.4: RateShares(0.404, 0.2)})
    assert shares.heading(0.2, N, "context") == "0.2"
    assert shares.heading(0.4, N, "context") == "0.4"
    assert shares.heading(0.6, N, "context") == "0.6 (0.500 lost)"
    assert shares.heading(0.8, N, "context") == "0.8"
    # Five of 24 studies are as near to 0.2 as whole studies get.
    assert Shares({}, {0.2: RateShares(5 / 24, 0.1)}).heading(0.2, 24, "context") == "0.2"
    # Each modality is lost for itself: 0.2 is not the share of studies that lose something.
    assert Shares({}, {0.2: RateShares(0.49, 0.2)}).heading(0.2, N, "subsets") == "0.2"


def test_every_format_names_both_readings_and_who_lacks_it_anyway(store: Store) -> None:
    leaderboard = Leaderboard.of(store)
    (table,) = leaderboard.tables
    screen = Screen(200)
    in_terminal = "\n".join(str(part) for part in terminal.render(table, screen))
    in_markdown = markdown.render([table]).replace(r"\|", "|")
    for text in (in_markdown, in_terminal, html.render(leaderboard)):
        assert "studies that lose something: 20.0 % | 40.0 % | 50.0 % | 50.0 %" in text
        assert "modality instances that are lost: 13.3 % | 26.7 % | 33.3 % | 33.3 %" in text
        assert AXIS in text
    assert r"without context: 50.0 \% | 70.0 \%" in leaderboard_latex.fragment([table]).replace(
        r"\textbar{}", "|"
    )
    assert "bleu_4 @ 0.4 |" in markdown.render([table])
    assert "bleu_4 @ 0.6 (0.500 lost) |" in markdown.render([table])
    assert "0.8 (0.500 lost)" in leaderboard_latex.fragment([table])
    assert '"0.8":"0.8 (0.500 lost)"' in html.render(leaderboard)
    again = Leaderboard.from_json(_written(leaderboard, store.root / "leaderboard.json"))
    assert again.tables[0].shares == table.shares


def _written(leaderboard: Leaderboard, path: Path) -> Path:
    path.write_text(leaderboard.to_json(), encoding="utf-8")
    return path


def test_robustness_and_its_figures_say_it_too(store: Store, tmp_path: Path) -> None:
    report = RobustnessReport.of(store.stored())
    assert AXIS in robustness.markdown(report)
    lines = [line for line in report.lines if line.metric == "cider"]
    curves_figure(lines, tmp_path / "curves.svg")
    policies_figure(lines, tmp_path / "policies.svg")
    for name in ("curves.svg", "policies.svg"):
        assert AXIS in (tmp_path / name).read_text(encoding="utf-8")


def test_the_note_on_the_axis_does_not_cover_the_legend(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []
    monkeypatch.setattr(robustness_figures, "save_figure", lambda figure, paths: figures.append(figure))
    monkeypatch.setattr(policy_figures, "save_figure", lambda figure, paths: figures.append(figure))
    lines = [line for line in RobustnessReport.of(store.stored()).lines if line.metric == "cider"]
    curves_figure(lines, tmp_path / "curves.svg")
    policies_figure(lines, tmp_path / "policies.svg")
    for figure in figures:
        figure.canvas.draw()
        (legend,) = figure.legends
        note = legend.get_title()
        assert AXIS in note.get_text()
        entries = [text.get_window_extent() for text in legend.get_texts()]
        assert not any(note.get_window_extent().overlaps(entry) for entry in entries)


def test_stores_without_shares_have_tables_without_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add(store, "first", {"cider": 0.5})
    (table,) = Leaderboard.of(store).tables
    assert not list(table.shares.sentences(table.rates))
    assert table.rate_heading(0.6) == "0.6"
