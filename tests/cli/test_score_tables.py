"""What ``harness score`` and ``harness compare`` print on a terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from harness.cli.score_tables import comparison_table, score_table, verdict
from harness.core import registry
from harness.core.types import Task
from harness.evaluation.score_files import Comparison, Score, Scores
from harness.leaderboard.render.blocks import Screen
from harness.leaderboard.render.short_names import short_names
from harness.statistics.estimate import Estimate
from harness.statistics.significance import PairedTest

METRICS = [
    metric
    for metric in map(registry.make_metric, registry.names("metrics"))
    if metric.task is Task.REPORT and not metric.on_request
]
ABSENT = ("bertscore", "chexbert_f1", "radgraph_f1", "ratescore")
WIDTHS = (80, 120)


def printed(parts: Sequence[RenderableType], width: int) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    for part in parts:
        console.print(part)
    return stream.getvalue()


def scores() -> Scores:
    values = [
        Score(o.name, Estimate(0.1234, 0.1111, 0.2345, 24), f"{m.name}|v:1", m.group, o.higher_is_better)
        for m in METRICS
        if m.name not in ABSENT
        for o in m.outputs
    ]
    reasons = {o.name: f"set {m.name}" for m in METRICS if m.name in ABSENT for o in m.outputs}
    return Scores(tuple(values), reasons, tuple(f"s{i}" for i in range(24)), {})


def comparison(
    metric: str, difference: float, p: float, p_holm: float, higher_is_better: bool = True, b: str = "second"
) -> Comparison:
    estimate = Estimate(difference, difference - 0.1, difference + 0.1, 240)
    test = PairedTest(0.4 + difference, 0.4, estimate, p, 500)
    return Comparison(metric, "first", b, test, p_holm, f"{metric}|v:1", higher_is_better)


def test_names_of_systems_reach_no_terminal_as_escape_codes() -> None:
    rows = [
        comparison("bleu_4", 0.1, 0.01, 0.02, b=f"{name}second") for name in ("\x1b[31m", "\u202e", "[/]")
    ]
    text = printed(comparison_table(rows, Screen(120)), 120)
    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    for name in ("\\x1b[31msecond", "\\u202esecond", "[/]second"):
        assert f"a = first, b = {name}" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_score_is_a_compact_table_whose_values_are_whole(width: int) -> None:
    content = scores()
    text = printed(score_table(content, Screen(width)), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert not any(mark in text for mark in ("..", "…"))
    assert text.count("0.1234  [0.1111, 0.2345]") == len(content.scores)
    total = len(content.scores) + len(content.unavailable)
    assert f"{len(content.scores)} of {total} values computed" in text
    assert len(text.splitlines()) <= 60
    for family in ABSENT:
        assert len([line for line in text.splitlines() if f"(set {family})" in line]) == 1
    assert "not computed: chexbert_f1 (10 values) (set chexbert_f1)" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_comparison_names_every_metric_in_full_width(width: int) -> None:
    rows = [comparison(o.name, 0.05, 0.5, 1.0) for m in METRICS for o in m.outputs]
    text = printed(comparison_table(rows, Screen(width)), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert not any(mark in text for mark in ("..", "…"))
    lines = text.splitlines()
    for name, short in short_names(row.metric for row in rows).items():
        assert [line for line in lines if line.startswith(f"{short} ↑")], name
    assert text.count("no difference shown") == len(rows)
    assert text.count("[-0.0500, +0.1500]") == len(rows)


def test_words_say_who_is_better_and_a_star_what_survives_holm() -> None:
    assert verdict(comparison("cider", 0.2, 0.001, 0.01)) == "a better *"
    assert verdict(comparison("cider", -0.2, 0.04, 0.4)) == "b better"
    assert verdict(comparison("ece", -0.2, 0.001, 0.01, higher_is_better=False)) == "a better *"
    assert verdict(comparison("cider", 0.2, 0.06, 0.06)) == "no difference shown"
    assert verdict(comparison("cider", 0.2, float("nan"), float("nan"))) == "no difference shown"


@pytest.mark.parametrize("width", WIDTHS)
def test_few_studies_make_no_system_better(width: int) -> None:
    row = comparison("cider", 0.2, 0.001, 0.01)
    few = replace(row, test=replace(row.test, difference=replace(row.test.difference, n=12)))
    assert verdict(few) == "too few studies"
    text = printed(comparison_table([few], Screen(width)), width)
    assert "n = 12" in text
    assert "of fewer than 30 studies no system is called better" in " ".join(text.split())
    assert "a better" not in text
    assert "0.001" in text
    assert "fewer than" not in printed(comparison_table([row], Screen(width)), width)


def test_each_pair_of_systems_has_a_table() -> None:
    rows = [comparison("cider", 0.2, 0.001, 0.01, b=b) for b in ("second", "third")]
    text = printed(comparison_table(rows, Screen(120)), 120)
    assert "a = first, b = second" in text
    assert "a = first, b = third" in text
    assert text.count("cider|v:1") == 1
