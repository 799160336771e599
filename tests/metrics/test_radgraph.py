"""Our RadGraph F1 against the class of the package radgraph, on a tiny checkpoint in its layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import HarnessError, UnavailableError
from harness.evaluation.label_scores import report_label_scores
from harness.metrics.clinical.categories import category_scores
from harness.metrics.clinical.radgraph import LEVELS, RadGraphF1, facts_of, rewards
from harness.metrics.pretrained import old_tokenizer_methods
from tests.helpers.checkpoints import write_radgraph
from tests.helpers.reports import findings, pairs

MODEL = "radgraph-xl"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("radgraph")
    write_radgraph(root, MODEL)
    return root


@pytest.fixture
def metric(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RadGraphF1:
    monkeypatch.setenv("HARNESS_RADGRAPH", str(folder))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    return RadGraphF1()


@pytest.fixture
def package(folder: Path) -> Iterator[Any]:
    from radgraph import F1RadGraph

    with old_tokenizer_methods():
        yield F1RadGraph(reward_level="all", model_type=MODEL, model_cache_dir=str(folder), cuda=-1)


LONG = " ".join(["Mild cardiomegaly without effusion."] * 150)


def in_lower_case(annotation: dict[str, Any]) -> dict[str, Any]:
    """An annotation as the package's code since May 2026 compares it, of which there is no release."""
    entities = {key: one | {"tokens": one["tokens"].lower()} for key, one in annotation["entities"].items()}
    return annotation | {"entities": entities}


@pytest.mark.parametrize(
    ("reports", "long"),
    [(40, "Mild edema."), pytest.param(200, LONG, marks=pytest.mark.slow)],  # the package takes two minutes
)
def test_rewards_equal_the_package_s(metric: RadGraphF1, package: Any, reports: int, long: str) -> None:
    from radgraph.rewards import compute_reward

    texts = list(findings(reports))
    predicted = [*texts[: reports // 2], "", "Normal.", "Same text.", long]
    true = [*texts[reports // 2 :], "Clear.", "", "Same text.", texts[0]]
    mean, each, ours, theirs = package(hyps=predicted, refs=true)
    written = RadGraphF1(case="written")
    statistics = written.statistics(*pairs(predicted, true))
    assert statistics[:, :3] == pytest.approx(np.array(each).T, abs=1e-12)
    assert len(np.unique(np.array(each))) > 5, "the checkpoint should find something"
    values = written.reduce(statistics.sum(axis=0))
    assert [float(values[f"radgraph_f1_{level}"]) for level in LEVELS] == pytest.approx(list(mean))
    # The package annotates the pairs in which neither text is empty.
    both = [index for index, texts in enumerate(zip(predicted, true, strict=True)) if all(texts)]
    lowered = [
        compute_reward(in_lower_case(one), in_lower_case(other), "all")
        for one, other in zip(ours, theirs, strict=True)
    ]
    assert metric.statistics(*pairs(predicted, true))[both, :3] == pytest.approx(np.array(lowered), abs=1e-12)


def test_a_second_run_does_no_model_work(metric: RadGraphF1, folder: Path, tmp_path: Path) -> None:
    texts = [*findings(4), findings(4)[0]]
    asked: list[str] = []

    class Counting(RadGraphF1):
        def _annotate(self, texts: list[str]) -> list[dict[str, list[str]]]:
            asked.extend(texts)
            return super()._annotate(texts)

    first = Counting().statistics(*pairs(texts, texts[::-1]))
    assert len(asked) == 4, "a text that repeats is annotated once"
    assert np.array_equal(Counting().statistics(*pairs(texts, texts[::-1])), first)
    assert len(asked) == 4
    written = " ".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "lung" not in written.lower()


def entity(words: str, *relations: tuple[str, str]) -> dict[str, Any]:
    return {"tokens": words, "label": "OBS-DP", "relations": [list(relation) for relation in relations]}


def test_capitals_make_no_other_finding() -> None:
    large, small = (
        facts_of({"entities": {"1": entity(first, ("modify", "2")), "2": entity("effusion")}}, "lower")
        for first in ("Large", "large")
    )
    assert rewards(large, small) == [1.0, 1.0, 1.0]
    large, small = (
        facts_of({"entities": {"1": entity(first, ("modify", "2")), "2": entity("effusion")}}, "written")
        for first in ("Large", "large")
    )
    assert rewards(large, small) == [0.5, 0.5, 1.0]
    assert "|case:lower|" in RadGraphF1().signature
    assert "|case:written|" in RadGraphF1(case="written").signature
    with pytest.raises(HarnessError, match="lower, written"):
        RadGraphF1(case="upper")


def test_levels_compare_more_and_more() -> None:
    said = facts_of({"entities": {"1": entity("Effusion", ("modify", "2")), "2": entity("left")}})
    other = facts_of({"entities": {"1": entity("Effusion", ("located_at", "2")), "2": entity("left")}})
    alone = facts_of({"entities": {"1": entity("Effusion"), "2": entity("left")}})
    nothing = facts_of({"entities": {}})
    assert rewards(said, said) == [1.0, 1.0, 1.0]
    assert rewards(said, other) == [1.0, 1.0, 0.5]
    assert rewards(said, alone) == [1.0, 0.5, 0.5]
    assert rewards(nothing, nothing) == [0.0, 0.0, 0.0]


def test_categories_add_up_to_the_entities_and_relations_of_a_study(metric: RadGraphF1, package: Any) -> None:
    texts = [*findings(12), ""]
    ours, true = texts[:7], [*texts[6:12], texts[0]]
    by_category = metric.by_category(*pairs(ours, true))
    entities = [place for place, name in enumerate(by_category.names) if name.startswith("entity ")]
    relations = [place for place, name in enumerate(by_category.names) if name.startswith("relation ")]
    assert len(entities) > 1
    assert relations
    per_study = category_scores(by_category.counts[:, entities].sum(axis=1))["f1"]
    assert per_study == pytest.approx(metric.statistics(*pairs(ours, true))[:, 0], abs=1e-12)
    found = package.radgraph(texts[:1])["0"]["entities"].values()
    stated = {f"entity {one['label']}": set() for one in found}
    for one in found:
        stated[f"entity {one['label']}"].add(one["tokens"].lower())
    first = dict(zip(by_category.names, by_category.counts[0], strict=True))
    assert {name: len(words) for name, words in stated.items()} == {name: first[name][1] for name in stated}


def test_each_category_has_a_row_beside_the_labels(metric: RadGraphF1) -> None:
    texts = findings(8)
    truth, ours = ({f"s{n}": text for n, text in enumerate(side)} for side in (texts, texts[::-1]))
    rows = report_label_scores(truth, ours, ["radgraph_f1"])
    assert {row.family for row in rows} == {"radgraph_f1"}
    assert any(row.label == "relation modify" for row in rows)
    assert all("|per:category|counts:pooled|" in row.signature for row in rows)
    for row in rows:
        assert set(row.scores) == {"precision", "recall", "f1"}
        assert 0 <= row.positives <= 8
    same = {row.label: row.scores["f1"].value for row in report_label_scores(truth, truth, ["radgraph_f1"])}
    assert set(same.values()) == {1.0}


def test_absent_weights_are_one_line_of_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_ALLOW_DOWNLOADS", raising=False)
    monkeypatch.setenv("HARNESS_RADGRAPH", str(tmp_path))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    reason = RadGraphF1().unavailable()
    assert reason is not None
    assert "HARNESS_RADGRAPH" in reason
    with pytest.raises(UnavailableError, match="HARNESS_RADGRAPH"):
        RadGraphF1().statistics(*pairs(["a"], ["b"]))
    assert not (tmp_path / MODEL).exists()


def test_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(HarnessError, match="radgraph-xl"):
        RadGraphF1("radgraph-xxl")
    assert RadGraphF1("radgraph").signature != RadGraphF1().signature
