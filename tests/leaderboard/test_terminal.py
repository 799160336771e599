"""Tables in a terminal: every value and header whole, no line longer than the screen."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from harness.core import registry
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import robustness, terminal
from harness.leaderboard.render.blocks import Column, Screen, blocks, family, not_computed
from harness.leaderboard.render.short_names import short_names
from harness.leaderboard.render.text import number
from harness.leaderboard.robustness import RobustnessReport
from harness.leaderboard.tables import Table
from harness.store.store import Store
from tests.helpers.leaderboards import GROUPS, add

LONG = ("chexpert_rules_f1_micro_14", "chexpert_rules_f1_macro_14", "chexpert_rules_f1_weighted_14")
WIDTHS = (80, 120)


def printed(parts: Sequence[RenderableType], width: int) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    for part in parts:
        console.print(part)
    return stream.getvalue()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in LONG:
        monkeypatch.setitem(GROUPS, name, "report findings")
    store = Store(tmp_path / "store")
    text = {f"bleu_{order}": 0.5 / order for order in range(1, 5)} | {"cider": 0.72, "meteor": 0.178}
    for number_, method in enumerate(("dia", "micar_vlmoe", "micar_vlmoe+shuffled-image")):
        heights = {**text, **dict.fromkeys(LONG, 0.4), "ece": 0.1, "auroc_macro": 0.8}
        add(store, method, {name: value / (number_ + 1) for name, value in heights.items()})
    add(store, "template", {"cider": 1034.567, "ece": 0.2}, control=True)
    return store


def values(table: Table, rates: Sequence[float] = (0.0,)) -> set[str]:
    """Every number of the table as it is printed elsewhere."""
    cells = [row.at(name, rate) for row in table.rows for name in table.metrics for rate in rates]
    return {number(cell) for cell in cells} - {""}


@pytest.mark.parametrize("width", WIDTHS)
def test_values_and_headers_are_whole_and_no_line_is_longer_than_the_screen(store: Store, width: int) -> None:
    for table in Leaderboard.of(store).tables:
        text = printed(terminal.render(table, Screen(width)), width)
        assert max(map(cell_len, text.splitlines())) <= width
        assert not any(mark in text for mark in ("..", "…"))
        for value in values(table) | {number(row.at(table.curve_metric, 0.8)) for row in table.rows}:
            assert value in text
        for name, short in short_names(table.metrics).items():
            assert f" {short} " + ("↓" if name in table.lower_is_better else "↑") in text
            assert name in text, "a short name's full name stands below"
        for signature in set(table.signatures.values()):
            assert text.count(f": {signature}\n") == 1


@pytest.mark.parametrize("width", WIDTHS)
def test_every_block_repeats_the_methods(store: Store, width: int) -> None:
    table = Leaderboard.of(store).tables[0]
    text = printed(terminal.render(table, Screen(width)), width)
    heads = [line for line in text.splitlines() if line.strip().startswith("# ")]
    assert all(line.split()[1] == "method" for line in heads)
    assert len(heads) >= 2
    for row in table.rows:
        assert len([line for line in text.splitlines() if f" {row.method} " in line]) == len(heads)


@pytest.mark.parametrize("width", WIDTHS)
def test_costs_and_robustness_fit_the_screen(store: Store, width: int) -> None:
    tables, report = Leaderboard.of(store).tables, RobustnessReport.of(store.stored())
    text = printed(terminal.render_costs(tables, Screen(width)), width)
    text += printed(robustness.rich(report, Screen(width)), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text
    for word in ("seconds per study", "2 min 5 s", "1.50 GiB", "not audited", "told apart until"):
        assert word in text
    keys = {key for table in tables for row in table.rows for key in row.keys}
    assert keys <= {line.strip() for line in text.splitlines()}, "every result that is shown has its key"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_prints_one_table_per_task_and_says_where_the_others_are(store: Store, width: int) -> None:
    tables = Leaderboard.of(store).tables
    first = terminal.first_of_tasks(tables)
    assert [table.group for table in first] == ["report text", "diagnosis"]
    text = printed(terminal.render_first(first, Screen(width)), width)
    text += printed(terminal.further(tables, first, "runs/tables/leaderboard.md", Screen(width)), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert len(text.splitlines()) <= 60
    lines = " ".join(text.split())
    assert "runs/tables/leaderboard.md (also .html) has the rest:" in lines
    assert "- report findings: 3 columns, 3 rows; chexpert_rules_f1_micro_14 over missing rates" in lines
    assert re.search(r"- report text: (. more columns?; )?bleu_4 over missing rates", lines)
    assert "bleu_4 ↑" in text, "the metric that ranks the methods is always there"
    assert "rules_micro_14" not in text
    assert text.count("95 % interval") == 1


@pytest.mark.parametrize(("width", "most"), [(80, 96), (120, 90)])
def test_the_default_job_fits_two_screens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, most: int
) -> None:
    groups = {
        "report text": [f"bleu_{order}" for order in range(1, 5)] + ["rouge_l", "meteor", "cider"],
        "report findings": list(LONG),
        "diagnosis": [
            *("auroc_macro_common", "f1_macro_common", "f1_micro", "subset_accuracy", "kappa", "mcc"),
            *("ece", "ece_classwise", "brier"),
        ],
        "images": [f"fid_{view}_{number}" for view in ("frontal", "lateral") for number in range(7)],
    }
    for group, names in groups.items():
        for name in names:
            monkeypatch.setitem(GROUPS, name, group)
    store = Store(tmp_path / "store")
    rows = {"report text": 10, "report findings": 10, "diagnosis": 8, "images": 3}
    for group, count in rows.items():
        for row in range(count):
            label = f"{group[:6]}{row}+shuffled-image".replace(" ", "_")
            add(store, label, dict.fromkeys(groups[group], 0.1 * (row + 1)), resamples=20)
    tables = Leaderboard.of(store).tables
    first = terminal.first_of_tasks(tables)
    parts = terminal.render_first(first, Screen(width))
    text = printed([*parts, *terminal.further(tables, first, "leaderboard.md", Screen(width))], width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert len(text.splitlines()) <= most
    for table in tables:
        for rank_by in table.metrics:
            narrow = printed(terminal.render_first([replace(table, sort=rank_by)], Screen(width)), width)
            assert f" {short_names(table.metrics)[rank_by]} " in narrow, "the metric that ranks is there"


def test_a_label_that_is_too_long_goes_on_in_the_next_line() -> None:
    labels = [Column("method", ["m" * 50, "short"], right=False)]
    columns = [Column("bleu_1 ↑", ["0.406 [0.389, 0.423]", "0.300 [0.281, 0.319]"])]
    text = printed(blocks(labels, columns, Screen(40)), 40)
    assert max(map(len, text.splitlines())) <= 40
    assert text.count("m") - len("method".replace("ethod", "")) == 50
    assert "0.406 [0.389, 0.423]" in text


def test_a_screen_without_arrows_gets_ascii(store: Store) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=stream, width=80)
    screen = Screen.of(console)
    assert not screen.unicode
    for table in Leaderboard.of(store).tables:
        for part in terminal.render(table, screen):
            console.print(part)
    stream.seek(0)
    text = stream.read()
    assert "ece v" in text
    assert "auroc_macro ^" in text


def test_every_metric_has_a_short_name_of_its_own() -> None:
    metrics = [registry.make_metric(name) for name in registry.names("metrics")]
    names = [output.name for metric in metrics for output in metric.outputs]
    short = short_names(names)
    assert len(set(short.values())) == len(set(names))
    assert max(map(len, short.values())) <= 19
    assert short["chexpert_rules_f1_micro_14"] == "rules_micro_14"
    assert short["bleu_4"] == "bleu_4"


def test_names_that_would_become_equal_stay_as_they_are() -> None:
    names = ["quality_of_lateral", "quality_of_lat"]
    assert short_names(names) == {
        "quality_of_lateral": "quality_of_lateral",
        "quality_of_lat": "quality_of_lat",
    }


def test_one_line_says_what_a_family_needs() -> None:
    reasons = dict.fromkeys(("chexbert_f1_micro_14", "chexbert_f1_macro_14"), "set HARNESS_CHEXBERT")
    lines = [line.plain for line in not_computed(reasons | {"ratescore": "no weights"}, Screen(80))]
    assert lines == [
        "not computed: chexbert_f1 (2 values) (set HARNESS_CHEXBERT)",
        "not computed: ratescore (no weights)",
    ]
    assert family(["fid_xrv", "kid_xrv"]) == "fid_xrv, kid_xrv"
