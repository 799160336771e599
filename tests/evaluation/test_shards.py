"""Statistics that are computed shard by shard, elsewhere: the digits of one process."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.cli.options import execution_of
from harness.core.config import ExecutionConfig
from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference
from harness.evaluation import score_files, shards
from harness.metrics.text.bleu import Bleu
from harness.metrics.text.tokenization import AsWritten
from tests.helpers.reports import corpus

METRICS = ("cider", "bleu", "rouge_l", "rouge_score_l")
LOCAL = ExecutionConfig(executor="local", workers=1)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    monkeypatch.setattr(shards, "_LEAST", 10)
    monkeypatch.setattr(shards, "_AT_ONCE", 7)
    predictions, references = corpus(40)
    return references, [text or "clear" for text in predictions]


def same_as_here(reports: tuple[list[str], list[str]], execution: ExecutionConfig) -> None:
    true, ours = reports
    systems = {"a": ours, "b": [f"{text} again" for text in ours]}
    here = score_files.score(true, ours, METRICS)
    tests = score_files.compare(true, systems, METRICS, trials=50)
    with shards.computed_on(execution):
        elsewhere = score_files.score(true, ours, METRICS)
        tests_elsewhere = score_files.compare(true, systems, METRICS, trials=50)
    assert elsewhere.scores == here.scores
    assert all((elsewhere.per_study[name] == values).all() for name, values in here.per_study.items())
    assert tests_elsewhere == tests


def test_shards_have_the_digits_of_the_whole(
    reports: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    rows_of = shards.rows_of
    monkeypatch.setattr(shards, "rows_of", lambda shard: sizes.append(len(shard.targets)) or rows_of(shard))
    same_as_here(reports, LOCAL)
    assert sizes == [*[7] * 5, 4] * 2  # one reference is empty


def test_other_processes_have_the_digits_of_this_one(reports: tuple[list[str], list[str]]) -> None:
    same_as_here(reports, ExecutionConfig(executor="local", workers=2))


def test_a_shard_sends_tokens_for_metrics_that_need_all_texts(
    reports: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    true, ours = reports
    shard = shards.Shard(
        (Bleu(),),
        ("whitespace",),
        {"a": [Prediction(report=text) for text in ours]},
        [Reference(str(number), str(number), text) for number, text in enumerate(true)],
    )
    fresh = AsWritten("whitespace")
    monkeypatch.setattr(fresh, "_tokenise", None)
    part = shards.part_of(shard)
    monkeypatch.setattr(shards, "tokenizer", lambda profile: fresh)
    shards._joined([shard], [part])
    assert fresh.batch([*ours, *true]) == [text.split() for text in (*ours, *true)]


@pytest.mark.slow
def test_ray_has_the_digits_of_this_process(reports: tuple[list[str], list[str]]) -> None:
    pytest.importorskip("ray")
    same_as_here(reports, ExecutionConfig(executor="ray"))


def test_a_metric_that_fails_in_a_shard_fails_alone(
    reports: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Bleu, predictions: Sequence[Prediction], references: Sequence[Reference]) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr(Bleu, "statistics", broken)
    with shards.computed_on(LOCAL):
        scores = score_files.score(*reports, METRICS)
    assert [each.metric for each in scores.scores] == ["cider", "rouge_l", "rouge_score_l"]
    assert "ValueError" in scores.failed["bleu"]


def test_an_address_is_for_ray_alone() -> None:
    with pytest.raises(HarnessError, match="--address is for --executor ray"):
        execution_of(None, "auto")


def test_without_a_cluster_ray_is_refused_before_anything_is_read() -> None:
    pytest.importorskip("ray")
    with (
        pytest.raises(HarnessError, match="nothing answers"),
        shards.computed_on(ExecutionConfig(executor="ray", address="localhost:1")),
    ):
        pass
