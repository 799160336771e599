"""Tables from long results: order, bands, columns."""

from __future__ import annotations

from dataclasses import replace

from harness.export import data, markdown
from harness.leaderboard import tables
from harness.results import ResultRow

BASE = ResultRow(
    dataset="toy",
    method="dia",
    preset="tiny",
    seed=0,
    drop="context",
    mechanism="mcar",
    rate=0.0,
    metric="cider",
    value=0.5,
    ci95=(0.4, 0.6),
    n=590,
    signature="cider|v:1",
)


def test_methods_come_before_controls_each_by_value() -> None:
    rows = [
        replace(BASE, method="template", value=0.9, control=True),
        replace(BASE, method="dia", value=0.3),
        replace(BASE, method="other", value=0.4),
        replace(BASE, method="broken", value=None, ci95=None, status="failed", detail="no luck"),
        replace(BASE, method="dia+shuffled-image", value=0.1, control=True),
    ]
    (table,) = tables(rows)
    assert [row.method for row in table.rows] == ["other", "dia", "broken", "template", "dia+shuffled-image"]
    text = markdown.render([table])
    assert text.index("*controls*") > text.index("broken")
    assert "| broken | failed |" in text
    assert "broken failed: no luck" in text


def test_numbers_with_different_signatures_never_share_a_column() -> None:
    rows = [BASE, replace(BASE, method="other", signature="cider|tok:ptb|v:1")]
    first, second = tables(rows)
    assert [row.method for row in first.rows] == ["dia"]
    assert [row.method for row in second.rows] == ["other"]


def test_different_test_sets_and_policies_are_different_tables() -> None:
    assert len(tables([BASE, replace(BASE, n=10), replace(BASE, drop="frontal")])) == 3


def test_curve_is_of_the_first_curve_metric() -> None:
    rows = [replace(BASE, rate=rate, metric=metric) for rate in (0.0, 0.5) for metric in ("bleu_4", "cider")]
    (table,) = tables(rows)
    assert table.curve_metric == "cider"
    assert table.rates == (0.5,)
    assert "cider @ 0.5" in markdown.render([table])


def test_failed_unavailable_and_not_applicable_look_different() -> None:
    rows = [
        replace(BASE, method=status, value=None, ci95=None, status=status)
        for status in ("failed", "unavailable", "n/a")
    ]
    rows.append(replace(BASE, method="n/a", metric="meteor"))
    text = markdown.render(tables(rows))
    assert "| failed | failed |  |" in text
    assert "| unavailable | unavailable |  |" in text
    assert "| n/a | n/a | 0.500 [0.400, 0.600] |" in text


def test_each_group_of_metrics_has_a_table_of_the_methods_that_do_it() -> None:
    rows = [
        replace(BASE, group="report text"),
        replace(BASE, metric="ece", value=0.2, group="diagnosis", method="good", higher_is_better=False),
        replace(BASE, metric="ece", value=0.3, group="diagnosis", method="bad", higher_is_better=False),
        replace(BASE, metric="ece", value=None, ci95=None, status="n/a", group="diagnosis"),
    ]
    text, diagnosis = tables(rows)
    assert [row.method for row in text.rows] == ["dia"]
    assert [row.method for row in diagnosis.rows] == ["good", "bad"]
    assert diagnosis.title.endswith(": diagnosis")


def test_metric_that_no_method_could_have_is_a_line_and_no_column() -> None:
    advice = {"value": None, "ci95": None, "status": "unavailable", "detail": "put the weights there"}
    rows = [BASE, replace(BASE, metric="bertscore_f1", **advice)]
    (table,) = tables(rows)
    assert table.metrics == ("cider",)
    assert "- bertscore_f1 unavailable: put the weights there" in markdown.render([table])


def test_a_metric_s_remark_stands_below_the_table() -> None:
    rows = [
        replace(BASE, detail="n 10; halves score 3"),
        replace(BASE, rate=0.2, detail="n 10; halves score 3"),
    ]
    assert markdown.render(tables(rows)).count("- cider: n 10; halves score 3\n") == 1


def test_csv_has_a_line_per_number() -> None:
    lines = data.to_csv([BASE, replace(BASE, value=None, ci95=None)]).splitlines()
    assert lines[0].endswith("ci95_lo,ci95_hi")
    assert lines[1].endswith("0.4,0.6")
    assert lines[2].endswith(",,")
