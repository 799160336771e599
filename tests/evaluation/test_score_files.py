"""``harness score`` and ``harness compare``: files of any system, read strictly."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.metric_options import MetricOptions
from harness.core.types import Task
from harness.evaluation import score_files
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.report_files.pairing import ReportReading
from harness.metrics.base import JointMetric, MetricOutput
from harness.metrics.text.hygiene import sentences
from harness.metrics.text.tokenization import tokenizer
from harness.statistics.bootstrap import bootstrap_weights, replicates
from harness.statistics.significance import Resampling, holm, paired_randomisation
from tests.cli.test_cli import invoke
from tests.helpers.reports import corpus

FAST = ("bleu", "rouge_l", "cider")


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


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
    values = {one.metric: one.estimate.value for one in found.scores}
    assert len(by_hand.scores) == 6
    for other in by_hand.scores:
        assert values[other.metric] == pytest.approx(other.estimate.value, abs=1e-12)
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
    assert content["n"] == 119  # one reference has no words
    assert content["unavailable"] == {}
    low, high = content["metrics"]["bleu_4"]["ci95"]
    assert 0 < low < content["metrics"]["bleu_4"]["value"] < high < 1
    assert "tok:r2gen-iu" in content["metrics"]["bleu_4"]["signature"]
    lines = list(csv.DictReader(rows.open()))
    assert len(lines) == 119
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
    name, task, outputs = "spread", Task.REPORT, (MetricOutput("spread", bounds=(-np.inf, np.inf)),)
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


# ---------------------------------------------------------------- files as people have them


def scored(
    folder: Path, truth: object, mine: object, metrics: Sequence[str] = ("bleu_1",)
) -> tuple[dict[str, float], str]:
    """Values, and all remarks as one text."""
    paths = [write(folder / name, json.dumps(each)) for name, each in (("t.json", truth), ("m.json", mine))]
    scores = score_files.score(paths[0], paths[1], metrics)
    return {each.metric: each.estimate.value for each in scores.scores}, "\n".join(sentences(scores.remarks))


RULES = "chexpert_rules_f1_micro_14"


def test_tables_in_another_order_are_joined_by_id(tmp_path: Path) -> None:
    rows = [f"s{number}\tNodule {number} is seen in zone {number}.\n" for number in range(4)]
    for ending in ("tsv", "txt"):
        truth = write(tmp_path / f"t.{ending}", "id\treport\n" + "".join(rows))
        mine = write(tmp_path / f"m.{ending}", "id\treport\n" + "".join(reversed(rows)))
        if ending == "tsv":
            (bleu,) = score_files.score(truth, mine, ["bleu_1"]).scores
            assert bleu.estimate.value == pytest.approx(1.0)
        else:
            with pytest.raises(HarnessError, match=r"a table with tabs and a header.*tsv"):
                score_files.score(truth, mine, ["bleu_1"])


def test_one_file_of_both_sides_is_scored(tmp_path: Path) -> None:
    both = write(tmp_path / "a.json", '{"references": ["no edema", "clear"], "hypotheses": ["no", "clear"]}')
    scores = score_files.score(both, both, ["rouge_l"])
    assert len(scores.ids) == 2
    assert scores.per_study["rouge_l"][0] < scores.per_study["rouge_l"][1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text", ["Large pleural e\ufb00usion.", "Large pleural ef\u00adfusion.", "Large pleural ef\u200bfusion."]
)
def test_texts_that_look_equal_have_equal_labels_and_a_warning(tmp_path: Path, text: str) -> None:
    metrics = [RULES, "bleu_1", "bertscore_minilm_f1", "ratescore_lite"]
    values, remarks = scored(tmp_path, {"a": "Large pleural effusion."}, {"a": text}, metrics)
    assert values.pop("bleu_1") < 1.0
    assert values[RULES] == 1.0
    assert list(values.values()) == pytest.approx([1.0] * len(values), abs=1e-6)
    assert "1 of 1 predictions hold ligatures" in remarks
    assert "1 differ from their references in the form of characters alone" in remarks


def test_leftovers_of_a_tokenizer_are_counted(tmp_path: Path) -> None:
    truth = {"a": "The heart is normal.", "b": "No effusion.", "c": "Clear lungs."}
    mine = {"a": "The\u0120heart\u0120is\u0120normal.", "b": "<s> No eff ##usion. </s>", "c": "Clear lungs."}
    _, remarks = scored(tmp_path, truth, mine)
    assert "2 of 3 predictions hold tokenizer leftovers (tokens: a, b)" in remarks


def test_empty_predictions_have_no_label_and_are_counted(tmp_path: Path) -> None:
    truth = {f"s{number}": "Heart and lungs are normal." for number in range(8)}
    truth |= {"s8": "Large pleural effusion.", "s9": "Severe cardiomegaly."}
    values, remarks = scored(tmp_path, truth, dict.fromkeys(truth, ""), [RULES, "rouge_l"])
    assert values == {RULES: 0.0, "rouge_l": 0.0}
    assert "10 of 10 predictions are empty" in remarks


def test_null_words_on_both_sides_are_no_match(tmp_path: Path) -> None:
    truth = {"a": "nan", "b": "No effusion.", "c": "None"}
    values, remarks = scored(tmp_path, truth, {"a": "nan", "b": "NaN", "c": "Edema."})
    assert values["bleu_1"] < 1e-6
    assert "2 are empty or a null word: their studies are left out" in remarks
    assert "2 of 3 predictions are absent or a null word such as nan" in remarks
    assert "1 of 1 predictions are empty" in remarks
    files = [str(tmp_path / name) for name in ("t.json", "m.json")]
    call = ["score", "--references", files[0], "--predictions", files[1], "--metrics", "bleu_1"]
    result = CliRunner().invoke(app, [*call, "--format", "json", "--null-words", ""])
    content = json.loads(result.stdout)
    assert content["n"] == 3
    assert content["remarks"] == []
    content = json.loads(CliRunner().invoke(app, [*call, "--format", "json"]).stdout)
    assert content["n"] == 1
    assert {"kind": "empty", "side": "predictions", "count": 1, "of": 1, "ids": ["b"]}.items() <= next(
        each for each in content["remarks"] if each["kind"] == "empty"
    ).items()
    assert "note: 1 of 1 predictions are empty" in CliRunner().invoke(app, call).output


def test_texts_beyond_the_limit_of_a_model_are_counted(tmp_path: Path) -> None:
    common = " ".join(f"nodule {number}" for number in range(300))
    truth, mine = {"a": f"{common} edema"}, {"a": f"{common} effusion"}
    values, remarks = scored(tmp_path, truth, mine, ["bertscore_minilm_f1"])
    assert values["bertscore_minilm_f1"] == pytest.approx(1.0)
    assert "bertscore_minilm, predictions: 1 of 1 texts were cut at 512 tokens (a)" in remarks
    assert "bertscore_minilm, references: 1 of 1 texts were cut at 512 tokens (a)" in remarks
    _, remarks = scored(tmp_path, {"a": "clear " * 400}, {"a": "edema"}, ["bertscore_minilm_f1"])
    assert "cut at" not in remarks


def test_compare_names_the_system_of_a_remark(tmp_path: Path) -> None:
    truth = write(tmp_path / "t.json", json.dumps({f"s{n}": f"Nodule {n}." for n in range(4)}))
    empty = write(tmp_path / "e.json", json.dumps({f"s{n}": "" for n in range(4)}))
    rows = score_files.compare(truth, {"mine": truth, "theirs": empty}, ["bleu_1"], trials=50)
    lines = list(sentences(rows.remarks))
    assert lines == [
        "4 of 4 predictions of mine equal their references",
        "4 of 4 predictions of theirs are empty",
    ]


def test_output_paths_are_checked_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = write(tmp_path / "t.json", '{"a": "clear"}')
    monkeypatch.setattr(score_files, "score", lambda *_: pytest.fail("the work has begun"))
    call = ["score", "--references", str(truth), "--predictions", str(truth), "--per-study"]
    cases = {
        str(tmp_path): "is a folder",
        str(truth / "rows.csv"): "is no folder",
        str(truth): "is a file of reports",
    }
    for path, says in cases.items():
        result = CliRunner().invoke(app, [*call, path])
        assert isinstance(result.exception, HarnessError)
        assert says in str(result.exception)
    for option in ("--subset", "--drawn"):
        read = write(tmp_path / "read.json", '{"a": ["clear", "clear"]}')
        result = CliRunner().invoke(app, [*call, str(read), option, str(read)])
        assert "is a file of reports" in str(result.exception)
        assert read.read_text() == '{"a": ["clear", "clear"]}'
    twice = CliRunner().invoke(app, [*call, str(tmp_path / "out"), "--rexrank", str(tmp_path / "out")])
    assert "--rexrank and --per-study name one file" in str(twice.exception)
    both = ["leaderboard", "--results", str(truth), "--store", str(tmp_path)]
    assert "--results and --store" in str(CliRunner().invoke(app, both).exception)
    board = CliRunner().invoke(app, ["leaderboard", "--store", str(tmp_path / "none"), "--out", str(truth)])
    assert "is a file" in str(board.exception)
    share = CliRunner().invoke(app, ["bundle", "write", str(tmp_path), "--store", str(tmp_path / "none")])
    assert "is a folder" in str(share.exception)


def test_a_subset_has_the_numbers_of_files_that_hold_it_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = {f"s{number}": f"The heart is {('wide', 'normal')[number % 2]}." for number in range(8)}
    ours = dict.fromkeys(truth, "The heart is normal.")
    some = ["s5", "s2", "s3"]
    whole = score_files.score(truth, ours, ["bleu", "cider"], reading=ReportReading(subset=some))
    alone = score_files.score(
        {name: truth[name] for name in some}, {name: ours[name] for name in some}, ["bleu", "cider"]
    )
    assert [each.estimate.value for each in whole.scores] == [each.estimate.value for each in alone.scores]
    assert whole.ids == ("s2", "s3", "s5")
    assert "3 of 8 studies are in the subset" in str(whole.remarks[0])
    for name, content in (("truth.json", truth), ("ours.json", ours)):
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "ids.txt").write_text("s5\n\ns9\n")
    words = [str(tmp_path / "truth.json"), str(tmp_path / "ours.json"), "--subset", str(tmp_path / "ids.txt")]
    code, _, error = invoke(capsys, "score", *words)
    assert code == 2
    assert "lacks 1 ids of the subset: 's9'" in error
    (tmp_path / "ids.txt").write_text("s5\ns2\n")
    code, output, error = invoke(capsys, "score", *words, "--metrics", "bleu", "--format", "json")
    assert (code, json.loads(output)["n"]) == (0, 2), error
