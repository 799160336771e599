"""Scores and comparisons as JSON: what the command line and the Python interface write."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from harness.evaluation.score_files import Comparison, Comparisons, Scores
from harness.metrics.text.hygiene import Remark


def score_json(scores: Scores) -> str:
    """``{"n", "metrics": {name: {"value", "ci95", "signature"}}, "unavailable": {..}, "remarks": [..]}``."""
    metrics = {
        each.metric: {
            "value": finite(each.estimate.value),
            "ci95": [finite(end) for end in each.estimate.ci95],
            "signature": each.signature,
        }
        for each in scores.scores
    }
    content = {
        "n": len(scores.ids),
        "metrics": metrics,
        "unavailable": dict(scores.unavailable),
        "remarks": _remark_facts(scores.remarks),
    }
    if scores.notes:
        content["notes"] = dict(scores.notes)
    return json.dumps(content, indent=1) + "\n"


def _remark_facts(remarks: Sequence[Remark]) -> list[dict[str, Any]]:
    """``[{"kind", "side", "count", "of", "remark", "ids"}]``."""
    return [
        {
            "kind": each.kind,
            "side": each.side,
            "count": each.count,
            "of": each.total,
            "remark": str(each),
            "ids": each.ids,
        }
        for each in remarks
    ]


def comparison_json(comparisons: Comparisons) -> str:
    """``{"rows": [{"metric", "a", "b", "value_a", "value_b", "difference", "ci95", "p_value", ..}], ..}``."""
    rows = [comparison_facts(row) for row in comparisons.rows]
    return json.dumps({"rows": rows, "remarks": _remark_facts(comparisons.remarks)}, indent=1) + "\n"


def comparison_facts(row: Comparison) -> dict[str, Any]:
    """One row of a comparison as JSON; what is not finite becomes null."""
    test = row.test
    return {
        "metric": row.metric,
        "a": row.a,
        "b": row.b,
        "value_a": finite(test.value_a),
        "value_b": finite(test.value_b),
        "difference": finite(test.difference.value),
        "ci95": [finite(end) for end in test.difference.ci95],
        "p_value": test.p_value,
        "p_holm": row.p_holm,
        "trials": test.trials,
        "signature": row.signature,
    }


def finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
