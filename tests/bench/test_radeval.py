"""The benchmark beside RadEval: a row that says it is absent, equal values or an error, no caches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.bench import radeval
from harness.bench.tables import cells
from harness.core import registry
from harness.metrics.text.bertscore import Encoder
from tests.helpers.reports import pairs

BERTSCORE = radeval.SHARED[0]


@pytest.mark.skipif(radeval.find_spec("radeval") is not None, reason="RadEval is installed")
def test_without_radeval_there_is_one_row_that_says_so() -> None:
    (row,) = radeval.radeval_benchmark()
    assert row.state == "skipped"
    assert "radeval is not installed" in row.note
    assert "not installed" in str(cells([row], None))


def as_ours(shift: float = 0.0) -> Callable[[Path], Callable[[list[str], list[str]], float]]:
    """A peer with our own number, moved by ``shift``."""

    def peer(folder: Path) -> Callable[[list[str], list[str]], float]:
        metric = registry.make_metric("bertscore")

        def score(ours: list[str], theirs: list[str]) -> float:
            rows = metric.statistics(*pairs(ours, theirs))
            return float(metric.reduce(rows.sum(axis=0))["bertscore_f1"]) + shift

        return score

    return peer


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    pytest.importorskip("torch")
    monkeypatch.setattr(radeval, "find_spec", lambda name: object())
    monkeypatch.setattr(radeval, "_TIMES", 3)
    return monkeypatch


def test_a_shared_metric_has_a_row_for_different_and_one_for_recurring_texts(
    installed: pytest.MonkeyPatch,
) -> None:
    embedded: list[int] = []
    new = Encoder._new

    def counting(encoder: Encoder, texts: list[str]) -> list[object]:
        embedded.append(len(texts))
        return new(encoder, texts)

    installed.setattr(Encoder, "_new", counting)
    installed.setattr(radeval, "SHARED", (replace(BERTSCORE, peer=as_ours(), pairs=5),))
    rows = radeval.radeval_benchmark()
    assert [row.state for row in rows] == ["ok", "ok"]
    assert "5 pairs, different" in rows[0].benchmark
    assert "each 3 times" in rows[1].benchmark
    ours = [count for count in embedded if count]
    assert ours.count(10) >= 2 * 4, "each call of ours embeds every different text once, from no cache"
    assert max(ours) == 10


def test_values_that_differ_are_no_ratio(installed: pytest.MonkeyPatch) -> None:
    installed.setattr(radeval, "SHARED", (replace(BERTSCORE, peer=as_ours(0.01), pairs=3),))
    with pytest.raises(AssertionError, match=r"BERTScore: .* in RadEval"):
        radeval.radeval_benchmark()


def test_random_checkpoints_are_read_by_the_metrics(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    texts = radeval._texts(4)
    for shared in radeval.SHARED[:2]:
        folder = tmp_path / shared.output
        with radeval.environment(shared, folder):
            shared.write(folder, texts[0])
            metric = shared.ours()
            assert metric.unavailable() is None
            rows = metric.statistics(*pairs(*texts))
            assert 0.0 <= float(metric.values(rows, np.ones((1, 4)))[shared.output][0]) <= 1.0
