"""Published numbers: files, consistency, comparison with results, reports."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.core import registry
from harness.core.config import FIELDS
from harness.core.dotted import flat, merged, nested
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.metric_options import MetricOptions
from harness.leaderboard.facts import RowFacts
from harness.leaderboard.leaderboard import Leaderboard
from harness.papers import coverage, library
from harness.papers.checks import Contradiction, examine
from harness.papers.commands import COSTS
from harness.papers.compare import Report, ReportCell, Results, compare
from harness.papers.render import formats, report_data
from harness.papers.schema import Paper
from harness.store.results import Measurement
from harness.store.row_labels import DOWNSTREAM
from methods.common import timm_weights
from tests.cli.test_cli import invoke
from tests.helpers.leaderboards import row_facts

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "leaderboards/iu-phantom.json"
PAPERS = library.names()

ROW = Measurement(
    dataset="derm7pt",
    method="dia",
    preset="paper",
    seed=0,
    drop="any",
    mechanism="mcar",
    rate=0.2,
    metric="accuracy",
    value=0.75,
    ci95=(0.7, 0.8),
    n=100,
    signature="accuracy|v:1",
    key="derm7pt/dia/x",
)

PAPER: dict[str, Any] = {
    "id": "toy",
    "method": "dia",
    "title": "A toy",
    "reference": "Nobody",
    "source": "made up",
    "datasets": {
        "skin": {"label": "Skin", "reader": "derm7pt", "n_test": 100, "substitutes": ["iu-phantom"]},
        "far": {"label": "Far away", "reader": "no-such-dataset"},
    },
    "tables": [
        {
            "id": "t",
            "title": "Table 1: toys",
            "where": "Table 1",
            "headers": ["Kind", "Model"],
            "ours": {"dataset": "skin", "drop": "any"},
            "columns": [
                {
                    "id": "acc",
                    "label": "Acc.",
                    "decimals": 1,
                    "ours": {"metrics": ["accuracy", "f1_macro"], "rate": 0.2, "scale": 100},
                },
                {"id": "b", "label": "B", "decimals": 1},
                {"id": "mean", "label": "Mean", "decimals": 1},
            ],
            "rows": [
                {"id": "other", "head": ["old", "Other"], "values": [70.0, 50.0, 60.0]},
                {
                    "id": "own",
                    "head": ["new", "Own"],
                    "values": [80.0, 60.0, 70.0],
                    "ours": {"method": "dia"},
                },
            ],
        }
    ],
    "checks": [
        {"id": "mean", "kind": "mean", "says": "m", "table": "t", "columns": ["acc", "b"], "target": "mean"}
    ],
}


def paper(**changes: Any) -> Paper:
    return Paper.model_validate({**PAPER, **changes})


def table(**changes: Any) -> dict[str, Any]:
    return {**PAPER["tables"][0], **changes}


def with_values(values: list[Any], checks: list[dict[str, Any]], **row: Any) -> Paper:
    """The toy with other numbers in its second row."""
    rows = [PAPER["tables"][0]["rows"][0], {**PAPER["tables"][0]["rows"][1], "values": values, **row}]
    return paper(tables=[table(rows=rows)], checks=checks)


def one(examined: Paper) -> Contradiction:
    (finding,) = examine(examined)
    return finding


def cell(report: Report, row: str = "own", column: str = "acc") -> ReportCell:
    return next(
        cell
        for each in report.tables[0].rows
        if each.row.id == row
        for cell in each.cells
        if cell.column.id == column
    )


def committed() -> Results:
    leaderboard = Leaderboard.from_json(COMMITTED)
    return Results.of(leaderboard.rows, leaderboard.results)


# Data


def test_the_five_papers_come_with_the_harness() -> None:
    assert PAPERS[:5] == ["dia", "micar_vlmoe", "codi_xr", "vdgen", "kedr"]


@pytest.mark.parametrize("name", PAPERS)
def test_every_cell_has_its_source_and_every_gap_its_reason(name: str) -> None:
    loaded = library.load(name)
    for each, row, column in loaded.cells():
        assert each.where in each.source(row, column)
        assert row.head[-1] in each.source(row, column)
        if each.cell(row, column).state == "unreadable":
            assert row.note or row.notes.get(column.id) or each.notes


@pytest.mark.parametrize("name", PAPERS)
def test_numbers_add_up_or_are_recorded_not_to(name: str) -> None:
    """A new contradiction, or one that is gone though still recorded, is a slip in the file."""
    wrong = [f for f in examine(library.load(name)) if f.state in ("new", "mended", "untested")]
    assert not wrong, formats.checks(wrong)


def test_known_contradictions_are_found() -> None:
    recorded = {
        (f.paper, f.check) for name in PAPERS for f in examine(library.load(name)) if f.state == "known"
    }
    assert {("dia", "iu-mixture"), ("dia", "mimic-mixture"), ("micar_vlmoe", "best-pgross")} <= recorded


def test_headline_bleu_4_of_dia_is_the_mixture_of_its_rows() -> None:
    """0.55 x 0.158 + 0.45 x 0.104 = 0.134: the other metrics of that mixture are the ones that do not fit."""
    (finding,) = [f for f in examine(library.load("dia")) if f.check == "mimic-mixture"]
    assert finding.tested == 4
    assert not any("B@4" in problem for problem in finding.problems)


@pytest.mark.parametrize("name", PAPERS)
def test_names_of_methods_variants_and_metrics_exist(name: str) -> None:
    settings = [MetricOptions(multilabel=each) for each in (True, False)]
    outputs = {
        output.name
        for family in registry.METRICS
        for options in settings
        for output in registry.make_metric(family, options).outputs
    } | {*COSTS, *DOWNSTREAM, "bleu_avg"}
    loaded = library.load(name)
    for each, row, column in loaded.cells():
        ours = each.ours_at(row, column)
        assert set(ours.metrics or ()) <= outputs
        base, variant = registry.split_variant(ours.method or "")
        if base in registry.METHODS and variant:
            assert variant in registry.load("methods", base).card.variants


# Malformed files


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tables": [table(rows=[{"id": "r", "head": ["a", "b"], "values": [1.0]}])]},
            "1 values for 3 columns",
        ),
        ({"tables": [table(rows=[{"id": "r", "head": ["a"], "values": [1, 2, 3]}])]}, "1 headings for 2"),
        (
            {"tables": [table(rows=[{"id": "r", "head": ["a", "b"], "values": [1, "?", 3]}])]},
            "no note says why",
        ),
        (
            {"tables": [table(rows=[{"id": "r", "head": ["a", "b"], "values": [1, "x", 3]}])]},
            "'x' is no number",
        ),
        ({"tables": [table(rows=[{"id": "r", "head": ["a", "b"], "values": [1, True, 3]}])]}, "is no number"),
        ({"tables": [table(rows=PAPER["tables"][0]["rows"] * 2)]}, "'other' stands there twice"),
        ({"tables": [table(ours={"dataset": "nowhere"})]}, "'nowhere' is not among datasets"),
        ({"tables": [table(colour="red")]}, "tables.0.colour"),
        ({"checks": [{"id": "x", "kind": "magic", "says": ""}]}, "checks.0"),
        ({"title": None}, "title"),
        ({"id": "../up"}, "id: String should match pattern"),
        ({"tables": [table(id="a b")]}, "tables.0.id"),
    ],
)
def test_a_malformed_file_is_refused_with_its_name_and_place(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({**PAPER, **change}))
    with pytest.raises(HarnessError) as caught:
        library.load(str(path))
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "{a: " * 200_000 + "}" * 200_000, "nested too deep"),
        ("a: &a [*a]", "nested too deep"),
        ("a: 2020-13-45", "month must be in 1..12"),
        ("\n".join(["a0: &a0 [1]", *(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]" for n in range(40))]), "aliases"),
    ],
)
def test_yaml_that_would_take_all_memory_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(HarnessError, match=message):
        library.load(str(path))


def test_a_file_that_is_no_yaml_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(HarnessError, match="not valid YAML"):
        library.load(str(tmp_path / "bad.yaml"))
    with pytest.raises(HarnessError, match=r"gone\.yaml"):
        library.load(str(tmp_path / "gone.yaml"))
    with pytest.raises(UnknownNameError, match="did you mean kedr"):
        library.load("kedrr")


def test_a_check_on_a_place_that_does_not_exist_names_it() -> None:
    with pytest.raises(HarnessError, match="no column 'colour'"):
        examine(paper(checks=[{**PAPER["checks"][0], "target": "colour"}]))


# The checker


@given(st.lists(st.floats(0, 100), min_size=2, max_size=2))
def test_a_mean_of_rounded_numbers_is_never_accused(values: list[float]) -> None:
    mean = sum(values) / 2
    printed = [round(value, 1) for value in [*values, mean]]
    assert one(with_values(printed, PAPER["checks"])).state == "holds"


@given(st.lists(st.floats(0, 100), min_size=2, max_size=2), st.floats(0.21, 50))
def test_a_mean_that_rounding_cannot_explain_is_always_accused(values: list[float], off: float) -> None:
    printed = [round(value, 1) for value in values]
    wrong = with_values([*printed, sum(printed) / 2 + off], PAPER["checks"])
    assert one(wrong).state == "new"


@given(st.floats(0.1, 0.9), st.floats(0, 100), st.floats(0, 100))
def test_a_true_mixture_is_never_accused(share: float, present: float, absent: float) -> None:
    mixture = round((1 - share) * present + share * absent, 1)
    rows = [
        {"id": name, "head": ["x", name], "values": [round(value, 1), "-", "-"]}
        for name, value in {"all": mixture, "with": present, "without": absent}.items()
    ]
    check = {
        "id": "mix",
        "kind": "mixture",
        "says": "m",
        "headline": ["t", "all"],
        "present": ["t", "with"],
        "absent": ["t", "without"],
        "columns": [["acc", "acc"]],
        "share": share,
    }
    assert one(paper(tables=[table(rows=rows)], checks=[check])).state == "holds"


def test_a_mixture_outside_its_rows_says_which_share_it_would_need() -> None:
    rows = [
        {"id": "all", "head": ["x", "all"], "values": [50.0, "-", "-"]},
        {"id": "with", "head": ["x", "with"], "values": [80.0, "-", "-"]},
        {"id": "without", "head": ["x", "without"], "values": [20.0, "-", "-"]},
    ]
    check = {"id": "mix", "kind": "mixture", "says": "m", "columns": [["acc", "acc"]], "share": 0.1}
    check |= {"headline": ["t", "all"], "present": ["t", "with"], "absent": ["t", "without"]}
    finding = one(paper(tables=[table(rows=rows)], checks=[check]))
    assert "share of 0.50" in finding.problems[0]


@pytest.mark.parametrize(
    ("values", "options", "state"),
    [
        ([80.0, 60.0, 70.0], {}, "holds"),
        ([60.0, 60.0, 70.0], {}, "new"),
        ([70.0, 60.0, 70.0], {}, "holds"),
        ([70.0, 60.0, 70.0], {"strict": True}, "new"),
        ([60.0, 60.0, 70.0], {"rank": 2}, "holds"),
        ([60.0, 60.0, 70.0], {"among": "new"}, "holds"),
        ([60.0, 60.0, 70.0], {"known": "so it is"}, "known"),
        ([80.0, 60.0, 70.0], {"known": "no longer"}, "mended"),
        (["-", 60.0, 70.0], {}, "untested"),
    ],
)
def test_best_marks(values: list[Any], options: dict[str, Any], state: str) -> None:
    check = {
        "id": "b",
        "kind": "best",
        "says": "b",
        "table": "t",
        "row": "own",
        "columns": ["acc"],
        **options,
    }
    assert one(with_values(values, [check])).state == state


def test_best_is_the_lowest_where_lower_is_better() -> None:
    columns = [{**PAPER["tables"][0]["columns"][0], "better": "lower"}, *PAPER["tables"][0]["columns"][1:]]
    check = {"id": "b", "kind": "best", "says": "b", "table": "t", "row": "other", "columns": ["acc"]}
    assert one(paper(tables=[table(columns=columns)], checks=[check])).state == "holds"


@given(st.integers(0, 153))
def test_a_printed_share_of_whole_cases_is_never_accused(cases: int) -> None:
    check = {"id": "c", "kind": "count", "says": "c", "table": "t", "columns": ["b"], "n": 153}
    rows = [{"id": "r", "head": ["a", "b"], "values": ["-", round(100 * cases / 153, 1), "-"]}]
    assert one(paper(tables=[table(rows=rows)], checks=[check])).state == "holds"


def test_a_share_that_no_count_gives_is_accused() -> None:
    check = {"id": "c", "kind": "count", "says": "c", "table": "t", "columns": ["b"], "n": 10}
    assert "50.5 is no whole number of 10" in one(with_values([1, 50.5, 1], [check])).problems[0]


def test_gains_orders_and_sums() -> None:
    gain = {
        "id": "g",
        "kind": "gain",
        "says": "g",
        "table": "t",
        "column": "acc",
        "target": "b",
        "rows": ["own"],
    }
    rows = [
        {"id": "base", "head": ["new", "Base"], "values": [50.0, 60.0, "-"]},
        {"id": "own", "head": ["new", "Own"], "values": [80.0, "-", "-"]},
    ]
    assert one(paper(tables=[table(rows=rows)], checks=[gain])).state == "holds"
    rows[0]["values"] = [50.0, 59.0, "-"]
    assert "the gain is 60.00 %" in one(paper(tables=[table(rows=rows)], checks=[gain])).problems[0]
    order = {"id": "o", "kind": "order", "says": "o", "table": "t", "columns": ["acc", "mean", "b"]}
    assert one(paper(checks=[order])).state == "holds"
    assert one(with_values([1.0, 3.0, 2.0], [order])).state == "new"
    linear = {
        "id": "l",
        "kind": "linear",
        "says": "l",
        "terms": [[1, "t", "own", "acc"], [-1, "t", "own", "b"]],
    }
    assert one(paper(checks=[{**linear, "expect": 20.0, "decimals": 1}])).state == "holds"
    assert one(paper(checks=[{**linear, "expect": 21.0, "decimals": 1}])).state == "new"
    assert one(paper(checks=[linear])).state == "new"


# Ours beside


def test_our_number_stands_in_the_paper_s_unit_with_difference_and_interval() -> None:
    (measured,) = cell(compare(paper(), Results.of([ROW]))).measured.values()
    assert measured.value == pytest.approx(75.0)
    assert measured.ci95 == pytest.approx((70.0, 80.0))
    assert measured.difference == pytest.approx(-5.0)
    assert not measured.outside
    assert not measured.flags


def test_a_published_number_outside_our_interval_is_marked() -> None:
    report = compare(paper(), Results.of([replace(ROW, ci95=(0.74, 0.76))]))
    (measured,) = cell(report).measured.values()
    assert measured.outside
    assert "-5.0\\*" in formats.text([report], "markdown")


@pytest.mark.parametrize(
    ("change", "kinds", "compared"),
    [
        ({"dataset": "iu-phantom"}, "D", False),
        ({"n": 90}, "S", True),
        ({"metric": "f1_macro"}, "M", False),
        ({"drop": "frontal"}, "R", True),
        ({"mechanism": "mnar"}, "R", True),
        ({"preset": "tiny"}, "P", True),
        ({"key": "bad"}, "A", True),
    ],
)
def test_what_differs_is_flagged(change: dict[str, Any], kinds: str, compared: bool) -> None:
    bad = row_facts("dia", audit={"state": "failed"}, cost={})
    results = Results.of([replace(ROW, **change)], {"bad": bad})
    (measured,) = cell(compare(paper(), results)).measured.values()
    assert "".join(flag.kind for flag in measured.flags) == kinds
    assert (measured.difference is not None) == compared


def test_a_backbone_from_random_weights_is_flagged() -> None:
    weights = [{"setting": "dia.backbone_weights", "source": "random"}, {"setting": "b", "source": "file"}]
    facts = {ROW.key: row_facts("dia", card={**row_facts("dia").card, "weights": weights}, cost={})}
    (measured,) = cell(compare(paper(), Results.of([ROW], facts))).measured.values()
    (flag,) = measured.flags
    assert flag.kind == "P"
    assert "dia.backbone_weights" in flag.text


def facts_of(row: Measurement, **settings: Any) -> RowFacts:
    """Of a row of preset ``paper`` whose method has two settings, 3 and 100 in the preset."""
    preset = {"layers": 3, "training": {"epochs": 100}}
    own = merged(preset, nested(settings))
    then, now = flat(preset), flat(own)
    changed = {key: (then.get(key), value) for key, value in now.items() if then.get(key) != value}
    facts = row_facts("dia", card={"settings": own}, changed=changed, cost={}, config={"set": {}})
    return facts.model_copy(update={"method": row.method})


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"layers": 2}, []),
        ({}, ["layers is 3, the paper's is 2"]),
        ({"layers": 2, "training.epochs": 1}, ["training.epochs is 1, not 100"]),
        ({"layers": 2, "weights": "FILE:sha256:0123456789ab"}, []),
    ],
)
def test_a_row_is_found_whatever_its_settings_and_those_that_differ_are_named(
    settings: dict[str, Any], lines: list[str]
) -> None:
    """A bare name was looked up: a row with ``--set`` was never shown, one without was not flagged."""
    row = replace(ROW, method="dia[sha256:01234567]" if settings else "dia", key="k")
    stated = paper(
        datasets={**PAPER["datasets"], "skin": {**PAPER["datasets"]["skin"], "set": {"layers": 2}}}
    )
    results = Results.of([row], {"k": facts_of(row, **settings)})
    (measured,) = cell(compare(stated, results)).measured.values()
    assert [flag.text for flag in measured.flags if flag.kind == "P"] == lines
    assert measured.difference is not None


def test_of_two_rows_the_one_with_the_paper_s_settings_is_shown() -> None:
    rows = [replace(ROW, key="bare", value=0.1), replace(ROW, method="dia[layers=2]", key="set")]
    facts = {"bare": facts_of(rows[0]), "set": facts_of(rows[1], layers=2)}
    stated = paper(
        datasets={**PAPER["datasets"], "skin": {**PAPER["datasets"]["skin"], "set": {"layers": 2}}}
    )
    for order in (rows, rows[::-1]):
        (measured,) = cell(compare(stated, Results.of(order, facts))).measured.values()
        assert measured.row.key == "set"


def test_another_profile_and_missing_studies_in_training_are_flagged() -> None:
    row = replace(ROW, method="dia[train-missing=0.3]", key="k")
    facts = facts_of(row).model_copy(update={"config": {"set": {"derm7pt": {"profile": "mine"}}}})
    (measured,) = cell(compare(paper(), Results.of([row], {"k": facts}))).measured.values()
    assert {"profile mine, the paper's is default", "trained with a missing rate of 0.3"} <= {
        flag.text for flag in measured.flags
    }


def test_a_cell_of_a_group_takes_the_groups_number_or_says_that_it_is_of_all() -> None:
    """DiA's rows with context: of the studies that have one."""
    content = json.loads(json.dumps(PAPER).replace('"rate": 0.2', '"rate": 0.0'))
    content["tables"][0]["ours"]["group"] = "context=with"
    own = Paper.model_validate(content)
    whole = replace(ROW, rate=0.0, metric="accuracy", value=0.7, key="k")
    fill = cell(compare(own, Results())).fill
    assert fill is not None
    assert fill.command().endswith("--by context")
    measured = next(iter(cell(compare(own, Results.of([whole]))).measured.values()))
    assert [flag.text for flag in measured.flags if flag.kind == "S"] == [
        "all test studies, not those of context=with alone"
    ]
    counts = {"with": 60}
    numbers = {"accuracy": {"groups": {"with": (0.9, 0.8, 0.95)}}}
    groups = {"context": {"studies": counts, "patients": counts, "metrics": numbers}}
    facts = {"k": row_facts("dia", subgroups=groups)}
    measured = next(iter(cell(compare(own, Results.of([whole], facts))).measured.values()))
    assert measured.value == pytest.approx(90.0)
    assert measured.row.n == 60
    assert not [flag for flag in measured.flags if flag.kind == "S"]


def test_another_signature_and_an_unstated_backend_are_flagged() -> None:
    columns = [
        {**PAPER["tables"][0]["columns"][0], "signature": ["tok:ptb"], "backend": "tokeniser not stated"},
        *PAPER["tables"][0]["columns"][1:],
    ]
    report = compare(paper(tables=[table(columns=columns)]), Results.of([ROW]))
    (measured,) = cell(report).measured.values()
    assert [flag.kind for flag in measured.flags] == ["M", "U"]
    text = formats.text([report], "markdown")
    assert "tok:ptb" in text
    assert "tokeniser not stated" in text
    assert "`accuracy|v:1`" in text


def test_the_paper_s_own_dataset_and_metric_come_before_stand_ins() -> None:
    rows = [replace(ROW, dataset="iu-phantom"), replace(ROW, metric="f1_macro"), ROW]
    (measured,) = cell(compare(paper(), Results.of(rows))).measured.values()
    assert measured.row == ROW
    unavailable = replace(ROW, value=None, ci95=None, status="unavailable", detail="no weights")
    (measured,) = cell(
        compare(paper(), Results.of([unavailable, replace(ROW, metric="f1_macro")]))
    ).measured.values()
    assert measured.row.metric == "f1_macro"


def test_rates_controls_and_other_methods_are_not_mistaken() -> None:
    rows = [
        replace(ROW, rate=0.4),
        replace(ROW, control=True),
        replace(ROW, method="dia:no-alignment"),
        replace(ROW, dataset="mmc-amd"),
    ]
    assert not cell(compare(paper(), Results.of(rows))).measured


def test_every_size_and_seed_has_its_own_line() -> None:
    rows = [replace(ROW, seed=1), ROW, replace(ROW, preset="tiny"), replace(ROW, preset="tiny", seed=1)]
    text = formats.text([compare(paper(), Results.of(rows))], "markdown")
    labels = [line.split("*")[1] for line in text.splitlines() if "*ours: dia (" in line]
    assert labels == [f"ours: dia ({preset}, seed {seed})" for preset in ("paper", "tiny") for seed in (0, 1)]


def test_where_the_paper_prints_nothing_ours_is_not_asked_for() -> None:
    rows = [{**PAPER["tables"][0]["rows"][1], "values": ["-", 60.0, 70.0]}]
    empty = cell(compare(paper(tables=[table(rows=rows)]), Results.of([ROW])))
    assert not empty.measured
    assert empty.fill is None


def test_a_number_that_is_not_finite_is_undefined_and_nothing_fills_it() -> None:
    report = compare(paper(), Results.of([replace(ROW, value=float("nan"), ci95=(float("nan"), 1.0))]))
    assert cell(report).fill is None
    assert "undefined" in formats.text([report], "markdown")
    assert "NaN" not in formats.text([report], "json")


def test_mean_bleu_and_costs_are_at_hand() -> None:
    bleu = [replace(ROW, metric=f"bleu_{n}", value=n / 10, rate=0.0) for n in (1, 2, 3, 4)]
    facts = {"k": row_facts("dia", dataset="derm7pt", preset="paper", cost={"flops": 5e9})}
    results = Results.of(bleu, facts)
    assert results.rows["dia", "bleu_avg"][0].value == pytest.approx(0.25)
    assert results.rows["dia", "bleu_avg"][0].ci95 is None
    assert results.rows["dia", "flops"][0].value == 5e9


# What fills a gap


def fill(**ours: Any) -> str:
    rows = [{**PAPER["tables"][0]["rows"][1], "ours": {"method": "dia", **ours}}]
    filler = cell(compare(paper(tables=[table(rows=rows)]), Results())).fill
    assert filler is not None
    return filler.command()


def test_an_empty_cell_says_which_command_fills_it() -> None:
    assert (
        fill()
        == "harness run --dataset derm7pt --root DIR --methods dia --preset paper --missing 0.2 --drop any"
    )
    assert fill(dataset="far") == "no command: this version does not read Far away"
    assert fill(method="nobody") == "no command: this version has no method nobody"
    assert fill(command="harness bench metrics") == "harness bench metrics"


def test_a_number_that_a_metric_could_not_give_says_why() -> None:
    unavailable = replace(ROW, value=None, ci95=None, status="unavailable", detail="put the weights there")
    report = compare(paper(), Results.of([unavailable]))
    text = formats.text([report], "markdown")
    assert "unavailable (1)" in text
    assert "put the weights there" in text


def test_methods_and_rates_share_a_command() -> None:
    text = formats.text([compare(library.load("dia"), Results())], "markdown")
    command = (
        "harness run --dataset iu-xray --root DIR --methods dia:baseline,dia:no-alignment,dia "
        "--set iu-xray.profile=dia --set dia.min_count=1 --set dia.max_words=1000 "
        "--set dia.backbone_weights=timm/efficientnet_b0.ra_in1k "
        "--set dia.vgg_weights=timm/vgg16.tv_in1k --preset paper --missing 1 --by context"
    )
    assert f"`{command}`" in text


@pytest.mark.parametrize("name", PAPERS)
def test_commands_have_flags_that_exist_and_sensible_values(name: str) -> None:
    flags = {field.replace("_", "-") for field in FIELDS}
    report = compare(library.load(name), Results())
    cells = [cell for each in report.tables for row in each.rows for cell in row.cells]
    fillers = [cell.fill for cell in cells if cell.fill and cell.fill.runs]
    for filler in fillers:
        words = shlex.split(filler.command())
        assert words[0] == "harness"
        if words[1] == "run":
            assert {word[2:] for word in words if word.startswith("--")} <= flags
    wanted = [cell for cell in cells if cell.ours.asks]
    assert all(cell.fill for cell in wanted)


# Reports


@pytest.mark.parametrize("name", PAPERS)
def test_committed_reports_are_those_of_the_committed_results(name: str) -> None:
    text = formats.text([compare(library.load(name), committed())], "markdown")
    path = ROOT / f"reports/{name}.md"
    assert path.is_file()
    assert path.read_text(encoding="utf-8") == text, f"reports/{path.name} is stale: run make tables"


@pytest.mark.parametrize("name", PAPERS)
def test_the_table_keeps_its_shape_and_every_number(name: str) -> None:
    loaded = library.load(name)
    text = formats.text([compare(loaded, Results())], "markdown")
    for each in loaded.tables:
        lines = [
            " | ".join([*row.head, *(_printed(each.cell(row, c).value, c.decimals) for c in each.columns)])
            for row in each.rows
            if all(
                each.cell(row, c).state == "number" and each.cell(row, c).spread is None for c in each.columns
            )
        ]
        places = [text.find(f"| {line} |".replace("[", "\\[").replace("]", "\\]")) for line in lines]
        assert -1 not in places
        assert places == sorted(places)


def _printed(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:,.{decimals}f}"


def test_json_and_csv_hold_a_line_per_cell() -> None:
    every = [compare(library.load(name), committed()) for name in PAPERS]
    content = json.loads(report_data.to_json(every))
    cells = sum(1 for name in PAPERS for _ in library.load(name).cells())
    assert sum(len(each["cells"]) for each in content["papers"]) == cells
    lines = list(csv.DictReader(io.StringIO(report_data.to_csv(every))))
    assert len(lines) >= cells
    (headline,) = [
        line for line in lines if (line["table"], line["row"], line["column"]) == ("table-1", "dia", "iu_b4")
    ]
    assert headline["published"] == "0.266"
    assert headline["source"].startswith("Table 1")


NASTY = "=1+1|<script>alert(1)</script>`x`*[a](http://b)*_{}$%&#~^\\"


def nasty() -> Report:
    rows = [{"id": "r", "head": [NASTY, NASTY], "values": [1.0, 2.0, "?"], "note": NASTY}]
    return compare(paper(title=NASTY, tables=[table(title=NASTY, rows=rows, notes=[NASTY])]), Results())


def test_foreign_text_means_nothing_in_any_format() -> None:
    page = formats.text([nasty()], "html")
    assert "<script" not in page
    assert "default-src 'none'" in page
    markdown = formats.text([nasty()], "markdown")
    assert "<script" not in markdown.replace("\\<script", "")
    table_lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table_lines} == {6}
    lines = list(csv.reader(io.StringIO(formats.text([nasty()], "csv"))))
    assert not any(cell.startswith(("=", "@")) for line in lines for cell in line)


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    page = formats.text([compare(library.load(name), committed()) for name in PAPERS], "html")
    for forbidden in ("<script", "<link", "<img", "src=", 'http-equiv="refresh', "@import", "url("):
        assert forbidden not in page


# The command line


def test_report_prints_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = invoke(capsys, "report", "dia", "--results", str(COMMITTED))
    assert code == 0
    assert "0.616" in out
    for kind in formats.KINDS:
        where = ("--format", kind, "--out", str(tmp_path))
        code, out, _ = invoke(capsys, "report", "all", "--results", str(COMMITTED), *where)
        assert code == 0
        assert all(Path(line.removeprefix("wrote ")).exists() for line in out.splitlines())
    assert {path.suffix for path in tmp_path.iterdir()} == {".md", ".tex", ".html", ".csv", ".json"}
    code, out, _ = invoke(capsys, "report", "all", "--check")
    assert code == 0
    assert "dia/iu-mixture" in out


def test_check_fails_on_a_contradiction_that_is_not_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.yaml"
    rows = [{"id": "r", "head": ["a", "b"], "values": [1.0, 2.0, 9.0]}]
    path.write_text(yaml.safe_dump({**PAPER, "tables": [table(rows=rows)]}))
    code, out, _ = invoke(capsys, "report", str(path), "--check")
    assert code == 1
    assert "the mean is 1.5" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dai"], "did you mean dia"),
        (["dia", "--store", "/no/such"], "no results store"),
        (["dia", "--results", "/no/such.json"], "/no/such.json"),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, _, err = invoke(capsys, "report", *arguments)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_reports_need_no_torch() -> None:
    program = (
        "import sys; from harness.cli import main as cli; "
        "sys.argv = ['harness', 'report', 'all', '--format', 'html', "
        f"'--results', {str(COMMITTED)!r}]\ntry:\n cli.main()\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-500:]


# Commands and reasons


def test_each_cell_has_a_number_a_command_that_parses_or_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = invoke(capsys, "papers", "all", "--check-commands")
    assert code == 0, out
    assert "WRONG" not in out
    assert re.findall(r"^(\w+): \d+ cells", out, flags=re.M) == PAPERS
    assert " 0 unexplained" in out
    assert out.count("ok  harness run") >= 15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"set": {"no_such_setting": 1}}, "no_such_setting"),
        ({"set": {"layers": "many"}}, "layers"),
        ({"profile": "nobody"}, "unknown profile 'nobody'"),
    ],
)
def test_a_command_that_would_be_refused_is_named(
    change: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load((library.PUBLISHED / "micar_vlmoe.yaml").read_text(encoding="utf-8"))
    content["datasets"]["covctr"] |= change
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(content))
    code, out, _ = invoke(capsys, "papers", str(path), "--check-commands", "--results", str(COMMITTED))
    assert code == 1
    assert "WRONG" in out
    assert message in out


def test_weights_that_a_command_leaves_out_and_unknown_options_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load((library.PUBLISHED / "micar_vlmoe.yaml").read_text(encoding="utf-8"))
    del content["weights"]
    content["tables"][1]["ours"] |= {"command": "harness run --nonsense"}
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(content))
    _, out, _ = invoke(capsys, "papers", str(path), "--check-commands", "--results", str(COMMITTED))
    assert "micar_vlmoe.backbone_weights" in out
    assert "--nonsense" in out


def test_a_cell_without_number_command_and_reason_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(json.dumps(PAPER))
    for row in content["tables"][0]["rows"]:
        row.pop("ours", None)
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(content))
    code, out, _ = invoke(capsys, "papers", str(path), "--check-commands", "--results", str(COMMITTED))
    assert code == 1
    assert out.count("UNEXPLAINED") == 6


@pytest.mark.parametrize("name", PAPERS)
def test_every_single_cell_is_measured_one_command_away_or_explained(name: str) -> None:
    """Cell by cell, with no result at all: nothing may hide behind a neighbour's command."""
    loaded = library.load(name)
    report = compare(loaded, Results())
    cells = [(table, row, cell) for table in report.tables for row in table.rows for cell in row.cells]
    assert len(cells) == sum(1 for _ in loaded.cells())
    for table, row, cell in cells:
        state, text = coverage.state_of(table, row, cell)
        assert state in ("blank", "command", "reason"), cell.source
        assert (cell.published.state == "blank") == (state == "blank"), cell.source
        if state == "command":
            assert text.startswith("harness "), cell.source
            assert cell.ours.asks, cell.source
        if state == "reason":
            assert len(text.split()) >= 3, f"{cell.source}: {text}"


@pytest.mark.parametrize("name", PAPERS)
def test_printed_commands_and_advice_name_the_same_weights(name: str) -> None:
    """A paper's file and the message of a training that lacks weights send the user to one model."""
    by_setting = library.load(name).weights
    for method in {setting.partition(".")[0] for setting in by_setting}:
        config = registry.load("methods", method).configured(preset="paper")
        assert {part.setting: part.example for part in config.pretrained} == {
            setting: model for setting, model in by_setting.items() if setting.startswith(f"{method}.")
        }


def test_the_named_weights_exist() -> None:
    """timm lists each of them."""
    timm = pytest.importorskip("timm")
    for network, model in timm_weights.NETWORKS.values():
        assert model.removeprefix("timm/") in timm.list_pretrained(f"{network}.*")


def test_the_settings_that_dia_prints_are_those_of_its_preset() -> None:
    """Tables 4 and 5: each number is the value of a setting."""
    loaded, config = library.load("dia"), registry.load("methods", "dia").configured(preset="paper")
    settings = {
        ("table-4", "vision", "output"): config.width,
        ("table-4", "language", "layers"): config.language_layers,
        ("table-4", "language", "heads"): config.heads,
        ("table-4", "language", "hidden"): config.language_hidden,
        ("table-4", "language", "dropout"): config.dropout,
        ("table-4", "abstractor", "layers"): config.abstractor_layers,
        ("table-4", "language-posterior", "layers"): config.posterior_layers,
        ("table-4", "language-posterior", "hidden"): config.posterior_hidden,
        ("table-4", "shared", "hidden"): config.expert_hidden,
        ("table-4", "language-decoder", "layers"): config.context_decoder_layers,
        ("table-4", "llama-x", "layers"): config.layers,
        ("table-4", "llama-x", "kv_heads"): config.kv_heads,
        ("table-5", "dia", "learning_rate"): config.learning_rate,
        ("table-5", "dia", "weight_decay"): config.weight_decay,
        ("table-5", "dia", "batch"): config.training.batch_size,
        ("table-5", "dia", "epochs"): config.training.epochs,
        ("table-5", "dia", "latent"): config.latent,
        ("table-5", "dia", "embedding"): config.width,
        ("table-5", "dia", "orth"): config.lambda_orth,
        ("table-5", "dia", "align"): config.lambda_align,
        ("table-5", "dia", "temperature"): config.temperature,
    }
    assert {place: loaded.at(place)[0].value for place in settings} == settings


def test_quotients_that_rounding_explains_hold() -> None:
    check = {"id": "q", "kind": "quotient", "says": "s", "first": [], "second": []}
    places = [["t", "own", "acc"], ["t", "own", "b"]], [["t", "own", "mean"], ["t", "own", "b"]]
    for acc, state in ((70.0, "holds"), (80.0, "new")):
        examined = with_values([acc, 60.0, 70.0], [check | {"first": places[0], "second": places[1]}])
        assert one(examined).state == state


def test_what_the_released_code_has_is_not_said_to_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = invoke(capsys, "describe", "micar_vlmoe", "--preset", "paper")
    assert "the released code has 156.8" in out
    assert "the paper prints" not in out
