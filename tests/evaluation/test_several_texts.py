"""Several references or predictions of a study: pycocoevalcap's numbers, arithmetic, shapes, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.core import registry
from harness.core.errors import HarnessError, UnavailableError
from harness.core.types import Prediction, Reference
from harness.evaluation import score_files
from harness.evaluation.report_files.pairing import ReportReading, paired_reports
from harness.metrics.several import SeveralReferences, SeveralTexts
from harness.metrics.text.tokenization import DEFAULT_PROFILE, tokenizer
from tests.cli.test_cli import invoke
from tests.helpers.reports import findings

BEST, MEAN = ReportReading(several="max"), ReportReading(several="mean")
N = 24


def references() -> dict[str, list[str]]:
    """One to three real reports per study."""
    texts = findings(3 * N)
    return {f"s{n}": list(texts[3 * n : 3 * n + 1 + n % 3]) for n in range(N)}


def predictions() -> dict[str, str]:
    """Another study's report, a study's own second reference, or nothing."""
    texts = findings(3 * N)
    ours = {f"s{n}": texts[3 * ((n + 1) % N)] for n in range(N)}
    return ours | {"s1": texts[4], "s5": "", "s8": "Effusion."}


def plain(text: str) -> str:
    return " ".join(tokenizer(DEFAULT_PROFILE).batch([text])[0])


def coco() -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    truth = {name: list(map(plain, own)) for name, own in references().items()}
    return truth, {name: [plain(text)] for name, text in predictions().items()}


def values(scores: score_files.Scores) -> dict[str, float]:
    return {each.metric: each.estimate.value for each in scores.scores}


def test_overlap_metrics_have_the_numbers_of_pycocoevalcap() -> None:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    truth, ours = coco()
    for way in (BEST, MEAN):  # neither changes a way that the metric has itself
        scores = score_files.score(references(), predictions(), ["bleu", "rouge_l", "cider"], reading=way)
        computed = values(scores)
        bleu, _ = Bleu(4).compute_score(truth, ours, verbose=0)
        assert [computed[f"bleu_{order}"] for order in range(1, 5)] == pytest.approx(bleu, abs=1e-12)
        rouge, each = Rouge().compute_score(truth, ours)
        assert computed["rouge_l"] == pytest.approx(rouge, abs=1e-12)
        assert scores.per_study["rouge_l"] == pytest.approx(each, abs=1e-12)
        cider, each = Cider().compute_score(truth, ours)
        assert computed["cider"] == pytest.approx(cider, abs=1e-9)
        assert scores.per_study["cider"] == pytest.approx(each, abs=1e-9)
        assert all(row.signature.endswith("|refs:coco") for row in scores.scores)
    assert "several texts of one study: 2 to 3" in str(scores.remarks[-1])


@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")
def test_meteor_has_the_number_of_pycocoevalcap() -> None:
    from pycocoevalcap.meteor.meteor import Meteor

    truth, ours = coco()
    computed = values(score_files.score(references(), predictions(), ["meteor"], reading=BEST))
    expected, _ = Meteor().compute_score(truth, ours)
    assert computed["meteor"] == pytest.approx(expected, abs=1e-12)


def test_one_reference_each_gives_the_numbers_of_one() -> None:
    texts = findings(2 * N)
    ours = [Prediction(report=text) for text in texts[:N]]
    true = [Reference(str(n), str(n), text) for n, text in enumerate(texts[N:])]
    for family in ("bleu", "rouge_l", "cider", "cider_plain"):
        metric = registry.make_metric(family)
        assert isinstance(metric, SeveralReferences)
        several = metric.statistics_of_several(ours, [(each,) for each in true])
        assert several == pytest.approx(metric.statistics(ours, true), abs=1e-9), family


def pair_by_pair(family: str, output: str) -> list[list[float]]:
    """The value of each pair of a study, by the metric on single texts."""
    metric = registry.make_metric(family)
    studies = []
    for name, own in references().items():
        both = [(Prediction(report=predictions()[name]), Reference(name, name, text)) for text in own]
        rows = metric.statistics([ours for ours, _ in both], [theirs for _, theirs in both])
        studies.append(metric.alone(rows)[output].tolist())
    return studies


def test_other_metrics_take_the_best_or_the_mean_of_the_pairs() -> None:
    pytest.importorskip("spacy")
    for family in ("rouge_score_l", "bleu_2_study", "temporal_f1"):
        pairs = pair_by_pair(family, family)
        for way, combine in ((BEST, max), (MEAN, np.mean)):
            scores = score_files.score(references(), predictions(), [family], reading=way)
            assert scores.per_study[family] == pytest.approx([combine(own) for own in pairs], abs=1e-12)
            assert scores.scores[0].signature.endswith(f"|refs:{way.several}")


def test_several_predictions_count_as_their_mean_or_the_best() -> None:
    true, own = predictions(), references()
    true["s5"] = "No effusion."
    single = {
        name: [score_files.score({name: true[name]}, {name: text}, ["rouge_l"]) for text in texts]
        for name, texts in own.items()
    }
    for way, combine in ((BEST, max), (MEAN, np.mean)):
        scores = score_files.score(true, own, ["rouge_l"], reading=way)
        expected = [combine([each.scores[0].estimate.value for each in single[name]]) for name in scores.ids]
        assert scores.per_study["rouge_l"] == pytest.approx(expected, abs=1e-12)
        assert scores.scores[0].signature.endswith(f"|preds:{way.several}")


def test_counts_are_averaged_before_they_are_added_up() -> None:
    pytest.importorskip("spacy")
    truth = {"s1": "Left effusion. Edema.", "s2": "Normal."}
    ours = {"s1": ["Left effusion.", "Edema."], "s2": ["Normal.", "Normal."]}
    scores = score_files.score(truth, ours, ["chexpert_rules_f1_micro_13"], reading=MEAN)
    assert scores.scores[0].estimate.value == pytest.approx(2 / 3)  # TP 1, FN 1 in each drawn report
    drawn = {"s1": ["a b c d e", "f g h i j"]}
    bleu = values(score_files.score({"s1": "a b c d e"}, drawn, ["bleu_1"], reading=MEAN))
    assert bleu["bleu_1"] == pytest.approx(7 / 12)  # six tokens each, the full stop in both


def test_what_cannot_be_is_refused_with_a_reason() -> None:
    pytest.importorskip("spacy")
    scores = score_files.score(references(), predictions(), ["bleu", "chexpert_rules_f1"], reading=BEST)
    assert "adds up counts" in scores.unavailable["chexpert_rules_f1_micro_14"]
    with pytest.raises(UnavailableError, match="no best pair"):
        score_files.score(predictions() | {"s5": "x"}, references(), ["bleu"], reading=BEST)
    for family in ("bertscore_idf", "radcliq_v1"):
        texts = SeveralTexts(
            ((Prediction(report="a"),),), ((Reference("1", "1", "a"), Reference("1", "1", "b")),), "max"
        )
        assert "one reference" in (texts.refused(registry.make_metric(family)) or "")
    with pytest.raises(HarnessError, match="has 2 texts") as error:
        score_files.score({"s1": ["a", "b"]}, {"s1": "a"}, ["bleu"])
    assert "--several max or mean" in error.value.hint
    with pytest.raises(HarnessError, match="no study has several"):
        score_files.score({"s1": "a"}, {"s1": "a"}, ["bleu"], reading=BEST)
    with pytest.raises(HarnessError, match="no such way"):
        score_files.score({"s1": ["a", "b"]}, {"s1": "a"}, ["bleu"], reading=ReportReading(several="best"))


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_every_shape_of_several_references_is_read(tmp_path: Path) -> None:
    lists = {"1": ["a b", "c d"], "2": ["e"], "3": ["f", "g h", "i"]}
    shapes = {
        "lists.json": lists,
        "records.json": [{"id": name, "references": own} for name, own in lists.items()],
        "lines.jsonl": "\n".join(json.dumps({"id": name, "report": own}) for name, own in lists.items()),
        "columns.csv": "id,reference_1,reference_2,reference_3\n1,a b,c d,\n2,e,,nan\n3,f,g h,i\n",
        "coco.json": {
            "annotations": [
                {"id": 10 * place, "image_id": name, "caption": text}
                for name, own in lists.items()
                for place, text in enumerate(own)
            ]
        },
        "rows.csv": "id,report\n1,a b\n2,e\n1,c d\n3,f\n3,g h\n3,i\n",
    }
    ours = {"1": "a b", "2": "e", "3": "i"}
    for name, content in shapes.items():
        paired = paired_reports(write(tmp_path / name, content), {"": ours}, BEST)
        texts = paired.several[""].references
        assert {own[0].id: [each.report for each in own] for own in texts} == lists, name
        with pytest.raises(HarnessError):
            paired_reports(tmp_path / name, {"": ours})
    files = [
        write(tmp_path / f"{n}.json", {name: own[n % len(own)] for name, own in lists.items()})
        for n in (0, 1)
    ]
    for read in (paired_reports(files, {"": ours}, BEST), paired_reports(lists, {"": ours}, BEST)):
        assert [each.report for each in read.several[""].references[0]] == ["a b", "c d"]


def test_the_command_takes_files_several_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = [write(tmp_path / f"r{n}.json", {name: own[n % len(own)] for name, own in references().items()})
             for n in (0, 1)]  # fmt: skip
    ours = write(tmp_path / "ours.json", predictions())
    words = [
        "score",
        "--references",
        str(truth[0]),
        "--references",
        str(truth[1]),
        "--predictions",
        str(ours),
    ]
    words += ["--metrics", "bleu_4,rouge_score_l", "--format", "json"]
    code, output, error = invoke(capsys, *words, "--several", "mean")
    assert code == 0, error
    metrics = json.loads(output)["metrics"]
    assert metrics["bleu_4"]["signature"].endswith("|refs:coco")
    assert metrics["rouge_score_l"]["signature"].endswith("|refs:mean")
    code, _, error = invoke(capsys, *words)
    assert (code, "--several max or mean" in error) == (2, True)
    code, output, error = invoke(
        capsys, "compare", "--references", str(write(tmp_path / "lists.json", references())),
        "--system", f"ours={ours}", "--system", f"first={truth[0]}", "--several", "max",
        "--metrics", "rouge_score_l", "--trials", "50", "--format", "json",
    )  # fmt: skip
    assert code == 0, error
    row = json.loads(output)["rows"][0]
    assert row["value_b"] == pytest.approx(1.0)
    assert row["signature"].endswith("|refs:max")


def test_from_python(tmp_path: Path) -> None:
    table = harness.score(
        references(), predictions(), "rouge_score_l", reading=harness.ReportReading(several="max")
    )
    single = harness.score(
        references(), predictions(), "rouge_score_l",
        reading=harness.ReportReading(several="max", subset=["s1", "s2"]),
    )  # fmt: skip
    assert table["rouge_score_l"].n == N
    assert single["rouge_score_l"].n == 2
    assert table.per_study().loc["s1", "rouge_score_l"] == 1.0
