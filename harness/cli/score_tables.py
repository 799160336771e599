"""Scores and comparisons as terminal tables, JSON and CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table as RichTable

from harness.cli.output import as_csv
from harness.evaluation.score_files import Comparison, Scores


def score_table(scores: Scores) -> RichTable:
    """Value, interval and signature of every metric; what cannot run says why."""
    table = RichTable(title=f"n = {len(scores.ids)}, 95 % patient bootstrap", title_justify="left")
    for column in ("metric", "value", "95 % interval"):
        table.add_column(column, no_wrap=True)
    table.add_column("signature", overflow="fold")
    for each in scores.scores:
        e = each.estimate
        table.add_row(each.metric, f"{e.value:.4f}", rf"\[{e.lo:.4f}, {e.hi:.4f}]", each.signature)
    for name, reason in scores.unavailable.items():
        table.add_row(name, "unavailable", "", reason.replace("[", r"\["), style="dim")
    return table


def score_json(scores: Scores) -> str:
    """``{"n", "metrics": {name: {"value", "ci95", "signature"}}, "unavailable": {name: reason}}``."""
    metrics = {
        each.metric: {
            "value": _finite(each.estimate.value),
            "ci95": [_finite(end) for end in each.estimate.ci95],
            "signature": each.signature,
        }
        for each in scores.scores
    }
    content = {"n": len(scores.ids), "metrics": metrics, "unavailable": dict(scores.unavailable)}
    return json.dumps(content, indent=1) + "\n"


def score_csv(scores: Scores) -> str:
    """One line per metric that could run."""
    columns = ("metric", "value", "ci95_lo", "ci95_hi", "n", "signature")
    lines = [
        (each.metric, each.estimate.value, *each.estimate.ci95, each.estimate.n, each.signature)
        for each in scores.scores
    ]
    return as_csv([dict(zip(columns, line, strict=True)) for line in lines], columns)


def per_study_csv(scores: Scores) -> str:
    """One line per study: every metric on that study alone."""
    columns = {"id": scores.ids, **{name: column.tolist() for name, column in scores.per_study.items()}}
    lines = zip(*columns.values(), strict=True)
    return as_csv([dict(zip(columns, line, strict=True)) for line in lines], tuple(columns))


def comparison_table(rows: Sequence[Comparison]) -> RichTable:
    """One line per metric and pair of systems."""
    trials = rows[0].test.trials if rows else 0
    title = f"paired approximate randomisation, {trials} trials; p adjusted after Holm over the table"
    table = RichTable(title=title, title_justify="left")
    for column in ("metric", "a", "b", "a value", "b value", "a - b", "95 % interval", "p", "p (Holm)"):
        table.add_column(column)
    for row in rows:
        t = row.test
        table.add_row(
            row.metric,
            row.a,
            row.b,
            *(f"{value:.4f}" for value in (t.value_a, t.value_b, t.difference.value)),
            rf"\[{t.difference.lo:.4f}, {t.difference.hi:.4f}]",
            f"{t.p_value:.4g}",
            f"{row.p_holm:.4g}",
        )
    return table


def comparison_json(rows: Sequence[Comparison]) -> str:
    """``{"rows": [{"metric", "a", "b", "value_a", "value_b", "difference", "ci95", "p_value", ..}]}``."""
    return json.dumps({"rows": [_facts(row) for row in rows]}, indent=1) + "\n"


def comparison_csv(rows: Sequence[Comparison]) -> str:
    """The JSON's rows, the interval as two columns."""
    flat = []
    for row in rows:
        facts = _facts(row)
        facts["ci95_lo"], facts["ci95_hi"] = facts.pop("ci95")
        flat.append(facts)
    return as_csv(flat)


def _facts(row: Comparison) -> dict[str, Any]:
    test = row.test
    return {
        "metric": row.metric,
        "a": row.a,
        "b": row.b,
        "value_a": _finite(test.value_a),
        "value_b": _finite(test.value_b),
        "difference": _finite(test.difference.value),
        "ci95": [_finite(end) for end in test.difference.ci95],
        "p_value": test.p_value,
        "p_holm": row.p_holm,
        "trials": test.trials,
        "signature": row.signature,
    }


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
