"""Numbers that follow from stored results: mean BLEU, costs, and metrics of a group of test studies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from harness.leaderboard.facts import RowFacts
from harness.papers.commands import COSTS
from harness.store.results import Measurement

_BLEU = tuple(f"bleu_{order}" for order in (1, 2, 3, 4))


def averages(rows: Iterable[Measurement]) -> list[Measurement]:
    """``bleu_avg``, the mean of BLEU-1 to BLEU-4 of a result; it has no interval of its own."""
    parts_of: dict[tuple[Any, ...], dict[str, Measurement]] = {}
    for row in rows:
        if row.metric in _BLEU and row.value is not None:
            result = (row.dataset, row.test_set, row.method, row.preset, row.seed, row.signature)
            key = (*result, row.drop, row.mechanism, row.rate, row.n)
            parts_of.setdefault(key, {})[row.metric] = row
    return [
        replace(
            parts["bleu_1"],
            metric="bleu_avg",
            value=sum(row.value or 0.0 for row in parts.values()) / len(_BLEU),
            ci95=None,
        )
        for parts in parts_of.values()
        if len(parts) == len(_BLEU)
    ]


def costs(facts: Mapping[str, RowFacts]) -> list[Measurement]:
    """What a leaderboard says that methods cost, as rows at missing rate 0."""
    return [
        Measurement(
            dataset=each.dataset,
            method=each.method,
            preset=each.preset,
            seed=each.seed,
            drop="",
            mechanism="",
            rate=0.0,
            metric=name,
            value=float(value),
            ci95=None,
            n=0,
            signature=each.cost.device,
            key=key,
        )
        for key, each in facts.items()
        if not each.control
        for name in COSTS
        if (value := getattr(each.cost, name)) is not None
    ]


def in_groups(
    rows: Iterable[Measurement], facts: Mapping[str, RowFacts]
) -> Iterator[tuple[str, Measurement]]:
    """(``ATTRIBUTE=GROUP``, the metric in that group of test studies) of what ``--by`` measured at rate 0."""
    for row in rows:
        if row.key not in facts or row.rate > 0.0:
            continue
        for attribute, own in facts[row.key].subgroups.items():
            numbers = own.metrics[row.metric].groups if row.metric in own.metrics else {}
            for group, (value, low, high) in numbers.items():
                ends = None if low is None or high is None else (low, high)
                yield f"{attribute}={group}", replace(row, value=value, ci95=ends, n=own.studies[group])
