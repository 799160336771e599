"""``harness score`` and ``harness compare``: files of any system, read strictly."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.registry import MetricOptions
from harness.core.types import Task
from harness.evaluation import score_files
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.text_files import joined_ids, read_texts
from harness.metrics.base import JointMetric, MetricOutput
from harness.metrics.text.tokenization import tokenizer
from harness.statistics.bootstrap import bootstrap_weights, replicates
from harness.statistics.significance import Resampling, holm, paired_randomisation
from tests.helpers.reports import corpus

FAST = ("bleu", "rouge_l", "cider")


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"x": "No effusion.", "y": [""]}'),
        ("a.jsonl", '{"id": "x", "report": "No effusion."}\n\n{"id": "y", "text": ""}\n'),
        ("a.csv", 'id,report,site\nx,"No effusion.",3\ny,,4\n'),
        ("a.csv", '\ufefftext,id\r\n"No effusion.",x\r\n"",y\r\n'),
    ],
)
def test_every_format_with_ids_reads_the_same(tmp_path: Path, name: str, content: str) -> None:
    file = read_texts(write(tmp_path / name, content))
    assert dict(file.texts) == {"x": "No effusion.", "y": ""}
    assert not file.numbered


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '["No effusion.", "", "é"]'),
        ("a.txt", "No effusion.\n\né"),
        ("a", "No effusion.\r\n\r\né\r\n"),
    ],
)
def test_files_without_ids_count_their_reports(tmp_path: Path, name: str, content: str) -> None:
    file = read_texts(write(tmp_path / name, content))
    assert list(file.texts.values()) == ["No effusion.", "", "é"]
    assert file.numbered


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", '{"x": "a", "x": "b"}', "'x' occurs twice"),
        ("a.jsonl", '{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}', "'1' occurs twice"),
        ("a.csv", "id,report\nx,a\nx,b\n", "'x' occurs twice"),
        ("a.json", '{"x": ["a", "b"]}', "'x' has 2 texts"),
        ("a.json", '{"x": 3}', "'x' is neither"),
        ("a.json", '[{"id": "x"}]', "item 1 is no string"),
        ("a.json", "3", "neither list nor object"),
        ("a.json", '{"x": ', "not valid JSON"),
        ("a.json", "", "no reports"),
        ("a.json", "[]", "no reports"),
        ("a.txt", "", "no reports"),
        ("a.csv", "id,report\n", "no reports"),
        ("a.csv", "study,report\nx,a\n", "columns are study, report"),
        ("a.csv", "id,report\nx\n", "line 2 has not 2 cells"),
        ("a.csv", "id,report\nx,a,b\n", "line 2 has not 2 cells"),
        ("a.csv", 'id,report\nx,"a\n', "unexpected end"),
        ("a.jsonl", '{"report": "a"}', "line 1 has no id"),
        ("a.jsonl", '{"id": "x"}', "needs report or text"),
        ("a.jsonl", '{"id": "x", "report": null}', "report is no string"),
        ("a.jsonl", '["x"]', "line 1 is no object"),
        ("a.txt", b"fine\nnot \xff\n", "line 2 is not UTF-8"),
        ("a.txt", "fine\nnot\0fine\n", "line 2 contains a NUL"),
        ("a.json", '{"x": "a\\u0000b"}', "'x' contains a NUL"),
    ],
)
def test_bad_file_is_one_clear_error(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(HarnessError, match=says) as caught:
        read_texts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"nowhere\.json: no such file"):
        read_texts(tmp_path / "nowhere.json")


def test_ids_are_joined_and_never_zipped(tmp_path: Path) -> None:
    one = read_texts(write(tmp_path / "one.json", '{"x": "a", "y": "b"}'))
    two = read_texts(write(tmp_path / "two.json", '{"y": "b", "x": "a"}'))
    assert joined_ids(one, two) == ["x", "y"]
    other = read_texts(write(tmp_path / "three.json", '{"x": "a", "z": "b"}'))
    with pytest.raises(HarnessError, match=r"three\.json lacks 1 of the ids in .*one\.json: 'y'"):
        joined_ids(one, other)
    more = read_texts(write(tmp_path / "four.json", '{"x": "a", "y": "b", "w": "c"}'))
    with pytest.raises(HarnessError, match=r"one\.json lacks 1 of the ids in .*four\.json: 'w'"):
        joined_ids(one, more)
    lines = read_texts(write(tmp_path / "five.txt", "a\nb\n"))
    with pytest.raises(HarnessError, match=r"five\.txt has no ids"):
        joined_ids(one, lines)
    with pytest.raises(HarnessError, match=r"2 reports, .* has 3"):
        joined_ids(lines, read_texts(write(tmp_path / "six.txt", "a\nb\nc\n")))


# ---------------------------------------------------------------- scoring


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Real reports as they are, in reverse order, and with another study's in every third place."""
    folder = tmp_path_factory.mktemp("systems")
    truth = {f"s{index}": text for index, text in enumerate(corpus(120)[1])}
    names = list(truth)
    systems = {
        "truth": truth,
        "worse": {n: truth[names[i - 7]] if i % 3 == 0 else truth[n] for i, n in enumerate(names)},
        "reversed": {name: truth[name] for name in reversed(names)},
    }
    for name, texts in systems.items():
        write(folder / f"{name}.json", json.dumps(texts))
    return lambda name: folder / f"{name}.json"


def test_order_of_a_file_does_not_matter(files: Callable[[str], Path]) -> None:
    straight = score_files.score(files("truth"), files("worse"), FAST)
    back = score_files.score(files("reversed"), files("worse"), FAST)
    assert {s.metric: s.estimate for s in straight.scores}.keys() == {s.metric for s in back.scores}
    for one, other in zip(straight.scores, back.scores, strict=True):
        assert one.estimate.value == pytest.approx(other.estimate.value, abs=1e-12)
        assert one.estimate.lo == pytest.approx(other.estimate.lo, abs=1e-12)


def test_single_outputs_can_be_asked_for(files: Callable[[str], Path]) -> None:
    found = score_files.score(files("truth"), files("worse"), ["bleu_4", "cider"])
    assert [score.metric for score in found.scores] == ["bleu_4", "cider"]
    with pytest.raises(UnknownNameError, match="bleu_4"):
        score_files.score(files("truth"), files("worse"), ["bleu_5"])


def test_references_can_be_cut_and_the_signature_says_so(
    tmp_path: Path, files: Callable[[str], Path]
) -> None:
    def tokenised(name: str, limit: int | None) -> Path:
        texts = {
            key: tokenizer("r2gen-iu")(text) for key, text in json.loads(files(name).read_text()).items()
        }
        cut = {key: " ".join(tokens[:limit]) for key, tokens in texts.items()}
        return write(tmp_path / f"{name}.json", json.dumps(cut))

    truth, said = tokenised("truth", 9), tokenised("worse", None)
    asked = ["bleu", "cider", "rouge_l", "rouge_score_l"]
    found = score_files.score(files("truth"), files("worse"), asked, MetricOptions(reference_words=9))
    assert all("|ref:9|" in one.signature for one in found.scores)
    by_hand = score_files.score(truth, said, asked[:3], MetricOptions(tokenizer="whitespace"))
    for one, other in zip(found.scores, by_hand.scores, strict=False):
        assert one.metric == other.metric
        assert one.estimate.value == pytest.approx(other.estimate.value, abs=1e-12)
    with pytest.raises(HarnessError, match="--reference-words 0"):
        score_files.score(files("truth"), files("worse"), asked, MetricOptions(reference_words=0))


def test_uncertain_findings_follow_the_policy(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.json", '{"a": "Pneumonia is present.", "b": "Heart size is normal."}')
    said = write(tmp_path / "said.json", '{"a": "Possible pneumonia.", "b": "Heart size is normal."}')
    asked = ["chexpert_rules_f1_micro_14"]
    values = {}
    for policy in (None, "positive", "negative", "ignored"):
        (one,) = score_files.score(truth, said, asked, MetricOptions(uncertain=policy)).scores
        assert f"|uncertain:{policy or 'positive'}|" in one.signature
        values[policy] = one.estimate.value
    assert values[None] == values["positive"] == 1.0
    assert values["negative"] < values["ignored"] == 1.0
    with pytest.raises(HarnessError, match="--uncertain positiv:") as caught:
        score_files.score(truth, said, asked, MetricOptions(uncertain="positiv"))
    assert "positive" in str(caught.value)


def test_command_prints_json_and_writes_studies(tmp_path: Path, files: Callable[[str], Path]) -> None:
    arguments = ["score", "--references", str(files("truth")), "--predictions", str(files("worse"))]
    rows = tmp_path / "rows.csv"
    result = CliRunner().invoke(
        app, [*arguments, "--metrics", ",".join(FAST), "--format", "json", "--per-study", str(rows)]
    )
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["n"] == 120
    assert content["unavailable"] == {}
    low, high = content["metrics"]["bleu_4"]["ci95"]
    assert 0 < low < content["metrics"]["bleu_4"]["value"] < high < 1
    assert "tok:r2gen-iu" in content["metrics"]["bleu_4"]["signature"]
    lines = list(csv.DictReader(rows.open()))
    assert len(lines) == 120
    assert float(lines[1]["rouge_l"]) == pytest.approx(1.0)
    mean = np.mean([float(line["cider"]) for line in lines])
    assert mean == pytest.approx(content["metrics"]["cider"]["value"], abs=1e-9)


def test_an_empty_and_a_very_long_report_are_scored(tmp_path: Path) -> None:
    long = "the lungs are clear . " * 50_000
    references = {"a": "The lungs are clear.", "b": "The heart is normal.", "c": "No effusion is seen."}
    truth = write(tmp_path / "truth.csv", "")
    with truth.open("w", newline="") as stream:
        csv.writer(stream).writerows([("id", "report"), *references.items()])
    said = tmp_path / "said.csv"
    with said.open("w", newline="") as stream:
        csv.writer(stream).writerows([("id", "report"), ("a", long), ("b", ""), ("c", references["c"])])
    found = score_files.score(truth, said, FAST)
    rouge = found.per_study["rouge_l"]
    assert rouge[1] == 0.0
    assert rouge[2] == pytest.approx(1.0)
    assert 0 < rouge[0] < 1e-3


# ---------------------------------------------------------------- comparing


def test_compare_finds_a_difference_and_none(files: Callable[[str], Path]) -> None:
    systems = {"same": files("truth"), "again": files("reversed"), "worse": files("worse")}
    rows = score_files.compare(files("truth"), systems, ["bleu_4", "rouge_l"], trials=2000).rows
    by_pair = {(row.a, row.b): row for row in rows if row.metric == "bleu_4"}
    assert len(rows) == 2 * len(by_pair)
    same, worse = by_pair["same", "again"], by_pair["same", "worse"]
    assert same.test.difference.value == 0.0
    assert same.test.p_value == 1.0
    assert worse.test.difference.value > 0.1
    assert worse.test.p_value == pytest.approx(1 / 2001)
    assert worse.p_holm == pytest.approx(3 / 2001)  # of the three pairs, whatever other metrics there are
    assert worse.test.difference.lo > 0


def test_compare_command(files: Callable[[str], Path]) -> None:
    arguments = ["compare", "--references", str(files("truth")), "--metrics", "bleu_1", "--trials", "200"]
    pair = ["--system", f"a={files('truth')}", "--system", f"b={files('worse')}"]
    result = CliRunner().invoke(app, [*arguments, *pair, "--format", "json"])
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    assert row["difference"] == pytest.approx(row["value_a"] - row["value_b"])
    assert row["trials"] == 200
    once = CliRunner().invoke(app, [*arguments, *pair[:2]])
    assert "at least two systems" in str(once.exception)
    twice = CliRunner().invoke(app, [*arguments, *pair[:2], *pair[:2]])
    assert "each name once" in str(twice.exception)


def test_holm_is_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


class Spread(JointMetric):
    """Weighted variance of the statistics: no function of one sum."""

    resamples: int | None = None
    name, task, outputs = "spread", Task.REPORT, (MetricOutput("spread", bounds=(0.0, 9.0)),)
    signature = "spread|v:1"

    def statistics(self, predictions: object, references: object) -> np.ndarray:
        raise NotImplementedError

    def joint(self, statistics: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        share = weights / weights.sum(1, keepdims=True)
        mean = share @ statistics[:, 0]
        return {"spread": share @ statistics[:, 0] ** 2 - mean**2}


def test_joint_metric_is_tested_by_swapping_whole_studies() -> None:
    metric = Spread()
    assert isinstance(metric, JointMetric)
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(size=(80, 1)), 4 * rng.normal(size=(80, 1))
    patients = [f"p{index}" for index in range(80)]
    found = paired_randomisation(metric, wide, narrow, Resampling(patients, 500))["spread"]
    assert found.difference.value == pytest.approx(wide.var() - narrow.var())
    assert found.p_value == pytest.approx(1 / 501)
    assert found.difference.lo > 0
    metric.resamples = 50
    weights = bootstrap_weights(patients, 1000)
    assert replicates(metric, wide, weights)["spread"].shape == (50,)
    same = paired_randomisation(metric, narrow, narrow, Resampling(patients, 500))["spread"]
    assert same.p_value == 1.0
    twice = metric.values(narrow, 2 * np.ones((1, 80)))["spread"]
    assert twice[0] == pytest.approx(narrow.var())


def test_metrics_on_request_are_scored_only_where_they_are_named() -> None:
    def names(wanted: list[str] | None) -> set[str]:
        metrics = score_files._report_metrics(wanted, MetricOptions(), MetricFailures())
        return {metric.name for metric in metrics}

    assert "mesh_rules_f1" not in names(None)
    assert "chexpert_rules_f1" in names(None)
    assert "mesh_rules_f1" in names(["mesh_rules_f1"])
