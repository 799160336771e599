"""RadCliQ-v1 and its parts against the packages they come from, put together as RadEval puts them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli.score_tables import verdict
from harness.evaluation.score_files import Comparison
from harness.leaderboard.ranking import ranks
from harness.leaderboard.tables import tables
from harness.metrics.clinical.chexbert import Labeler
from harness.metrics.learned import bertscore_idf, radcliq
from harness.metrics.learned.bertscore_idf import BASELINE, FLOOR, BertScoreIdf
from harness.metrics.learned.radcliq import RadCliq, RadGraphCombined
from harness.metrics.learned.semb_score import SembScore
from harness.metrics.pretrained import old_tokenizer_methods
from harness.metrics.text.bertscore import Encoder
from harness.metrics.text.study_bleu import StudyBleu, words_of
from harness.statistics.estimate import Estimate
from harness.statistics.significance import PairedTest
from harness.store.results import Measurement
from tests.helpers.checkpoints import write_chexbert, write_radgraph, write_roberta
from tests.helpers.reports import findings, pairs

N = 24


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small random checkpoints of the three models."""
    root = tmp_path_factory.mktemp("weights")
    for name in ("chexbert", "radgraph"):
        (root / name).mkdir()
    write_chexbert(root / "chexbert")
    write_radgraph(root / "radgraph", "radgraph")
    write_roberta(root / "distilroberta-base")
    return root


@pytest.fixture
def weights(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CHEXBERT", str(root / "chexbert"))
    monkeypatch.setenv("HARNESS_RADGRAPH", str(root / "radgraph"))
    monkeypatch.setenv("HARNESS_DISTILROBERTA", str(root / "distilroberta-base"))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return root


@pytest.fixture
def package(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """f1chexbert's class on the random checkpoint."""
    from f1chexbert import f1chexbert

    monkeypatch.chdir(root / "chexbert")
    monkeypatch.setattr(f1chexbert, "CACHE_DIR", str(root / "chexbert"))
    with old_tokenizer_methods():
        yield f1chexbert.F1CheXbert(device="cpu")


def texts() -> tuple[list[str], list[str]]:
    """Reports that share something: each prediction is partly its reference, partly another study's text."""
    reports = findings(2 * N)
    predicted = [
        f"{a[: len(a) // 2]}. {b[: len(b) // 2]}" for a, b in zip(reports[:N], reports[N:], strict=True)
    ]
    return predicted, list(reports[:N])


def column(metric: Any, predicted: list[str], true: list[str]) -> np.ndarray:
    return metric.statistics(*pairs(predicted, true))[:, 0]


def package_bertscore(
    folder: Path, predicted: list[str], true: list[str], monkeypatch: pytest.MonkeyPatch
) -> np.ndarray:
    """bert-score's own numbers, with idf over the references, rescaled by the file that it ships."""
    import bert_score
    from bert_score import BERTScorer, scorer
    from transformers import AutoTokenizer

    def get_tokenizer(*_: object) -> object:
        tokenizer = AutoTokenizer.from_pretrained(folder, add_prefix_space=True)
        tokenizer.model_max_length = 512
        tokenizer.build_inputs_with_special_tokens = lambda ids: [0, *ids, 2]
        return tokenizer

    monkeypatch.setattr(scorer, "get_tokenizer", get_tokenizer)
    baseline = Path(bert_score.__file__).parent / "rescale_baseline" / "en" / "distilroberta-base.tsv"
    official = BERTScorer(
        model_type=str(folder),
        num_layers=5,
        idf=True,
        idf_sents=true,
        device="cpu",
        lang="en",
        nthreads=0,
        rescale_with_baseline=True,
        baseline_path=str(baseline),
    )
    return official.score(predicted, true)[2].numpy()


def package_semb(package: Any, predicted: list[str], true: list[str]) -> np.ndarray:
    """Cosines of the first vectors of the package's own BERT."""
    import torch

    def vector(text: str) -> np.ndarray:
        ids = torch.tensor([package.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            return package.model.bert(ids)[0][0, 0].numpy()

    both = [(vector(one), vector(other)) for one, other in zip(predicted, true, strict=True)]
    return np.array([a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in both])


def package_radgraph(root: Path, predicted: list[str], true: list[str]) -> np.ndarray:
    """Half of each F1, of the package's own annotations."""
    from radgraph import RadGraph

    def entities(annotation: dict[str, Any]) -> set[Any]:
        return {(each["tokens"], each["label"]) for each in annotation["entities"].values()}

    def relations(annotation: dict[str, Any]) -> set[Any]:
        at = annotation["entities"]
        ends = {key: (each["tokens"], each["label"]) for key, each in at.items()}
        return {(ends[key], ends[to], kind) for key, each in at.items() for kind, to in each["relations"]}

    def f1(one: set[Any], other: set[Any]) -> float:
        return 2 * len(one & other) / (len(one) + len(other)) if one and other else 0.0

    with old_tokenizer_methods():
        model = RadGraph(model_type="radgraph", model_cache_dir=str(root / "radgraph"), cuda=-1)
        ours, theirs = (list(model(side).values()) for side in (predicted, true))
    return np.array(
        [
            (f1(entities(a), entities(b)) + f1(relations(a), relations(b))) / 2
            for a, b in zip(ours, theirs, strict=True)
        ]
    )


def nltk_bleu(predicted: list[str], true: list[str]) -> np.ndarray:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method1
    sides = zip(predicted, true, strict=True)
    return np.array(
        [sentence_bleu([words_of(b)], words_of(a), (0.5, 0.5), smoothing_function=smooth) for a, b in sides]
    )


def test_radcliq_and_its_parts_are_those_of_the_packages(
    weights: Path, package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted, true = texts()
    parts = {
        RadGraphCombined: package_radgraph(weights, predicted, true),
        BertScoreIdf: package_bertscore(weights / "distilroberta-base", predicted, true, monkeypatch),
        SembScore: package_semb(package, predicted, true),
        StudyBleu: nltk_bleu(predicted, true),
    }
    for part, expected in parts.items():
        assert column(part(), predicted, true) == pytest.approx(expected, abs=1e-5), part
        assert expected.std() > 1e-4, f"{part}: the checkpoint should tell pairs apart"
    # StandardScaler.transform, then the dot product with the coefficients and the intercept.
    scaled = (np.column_stack(list(parts.values())) - radcliq.MEANS) / radcliq.SCALES
    expected = scaled @ np.array(radcliq.COEFFICIENTS) + radcliq.INTERCEPT
    metric = RadCliq()
    statistics = metric.statistics(*pairs(predicted, true))
    assert statistics[:, 0] == pytest.approx(expected, abs=1e-5)
    values = metric.reduce(statistics.sum(axis=0))
    assert values["radcliq_v1"] == pytest.approx(expected.mean(), abs=1e-5)
    assert expected.mean() > 0
    assert values["radcliq_v1_inverse"] == pytest.approx(1 / expected.mean(), abs=1e-5)


def test_constants_are_those_of_the_file_that_bert_score_ships() -> None:
    import bert_score

    file = Path(bert_score.__file__).parent / "rescale_baseline" / "en" / "distilroberta-base.tsv"
    line = file.read_text().splitlines()[1 + bertscore_idf.LAYER]
    assert float(line.split(",")[3]) == BASELINE


def test_less_is_better_of_radcliq_and_its_inverse_ends_at_zero() -> None:
    metric = RadCliq()
    directions = {output.name: output.higher_is_better for output in metric.outputs}
    assert directions == {"radcliq_v1": False, "radcliq_v1_inverse": True}
    values = metric.reduce(np.array([[3.0, 2.0], [-1.0, 2.0], [0.0, 2.0]]))
    assert values["radcliq_v1"].tolist() == [1.5, -0.5, 0.0]
    assert values["radcliq_v1_inverse"][0] == pytest.approx(2 / 3)
    assert np.isnan(values["radcliq_v1_inverse"][1:]).all()


def test_tables_ranks_and_verdicts_follow_the_declared_direction() -> None:
    radcliq_v1 = RadCliq().outputs[0]
    direction = radcliq_v1.higher_is_better
    base = Measurement(
        dataset="toy", method="", preset="tiny", seed=0, drop="context", mechanism="mcar", rate=0.0,
        metric=radcliq_v1.name, value=0.0, ci95=(-1.0, 1.0), n=100, signature="radcliq_v1|v:1",
        higher_is_better=direction,
    )  # fmt: skip
    values = {"good": -0.2, "middling": 0.7, "bad": 1.4}
    (table,) = tables([replace(base, method=name, value=value) for name, value in sorted(values.items())])
    assert [row.method for row in table.rows] == ["good", "middling", "bad"]
    assert table.marks(radcliq_v1.name, 0.0) == {"good": 1, "middling": 2}
    noise = np.random.default_rng(0).normal(0, 0.01, (3, 400))
    samples = {name: value + line for (name, value), line in zip(values.items(), noise, strict=True)}
    assert ranks(values, samples, direction is not False) == {
        "good": (1, 1),
        "middling": (2, 2),
        "bad": (3, 3),
    }
    difference = Estimate(-0.9, -1.0, -0.8, 100)
    test = PairedTest(-0.2, 0.7, difference, 0.001, 500)
    row = Comparison(radcliq_v1.name, "good", "middling", test, 0.001, "radcliq_v1|v:1", direction)
    assert verdict(row) == "a better *"


def test_weights_of_words_belong_to_the_references_not_to_a_resample(weights: Path) -> None:
    predicted, true = texts()
    metric = BertScoreIdf()
    statistics = metric.statistics(*pairs(predicted, true))
    once = metric.values(statistics[:6], np.ones((1, 6)))["bertscore_idf_f1"][0]
    fewer = column(BertScoreIdf(), predicted[:6], true[:6]).mean()
    assert once != pytest.approx(fewer, abs=1e-4), "other references are other weights, also in the cache"
    assert "|idf:references|" in metric.signature
    assert "|idf:references|" in RadCliq().signature


def test_a_second_run_of_bertscore_loads_no_model(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = column(BertScoreIdf(), *texts())
    monkeypatch.setattr(Encoder, "__init__", lambda *_: pytest.fail("model loaded"))
    assert column(BertScoreIdf(), *texts()).tolist() == first.tolist()


def test_a_text_without_weight_scores_the_floor_and_is_counted(weights: Path) -> None:
    metric = BertScoreIdf()
    statistics = metric.statistics(
        *pairs(["", "Clear lungs.", "Heart."], ["Clear lungs.", "Clear lungs.", ""])
    )
    assert statistics[:, 0] == pytest.approx([FLOOR, 1.0, FLOOR])
    assert metric.remarks(statistics)["bertscore_idf_f1"].startswith("2 of 3 pairs score -5.55: ")
    assert metric.remarks(statistics[1:2]) == {}
    alone = metric.statistics(*pairs(["Clear lungs."], ["Clear lungs."]))
    assert alone[:, 0] == pytest.approx([FLOOR]), "every word of the only reference is in all references"


def test_vectors_of_texts_that_recur_are_computed_once(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    vectors = Labeler.vectors

    def counting(self: Labeler, texts: list[str]) -> np.ndarray:
        seen.extend(texts)
        return vectors(self, texts)

    monkeypatch.setattr(Labeler, "vectors", counting)
    predicted, true = texts()
    metric = SembScore()
    first = column(metric, predicted, true)
    assert len(seen) == len({*predicted, *true})
    column(metric, predicted[::-1], true)
    assert len(seen) == len({*predicted, *true}), "other pairs of the same texts"
    assert column(SembScore(), predicted, true).tolist() == first.tolist()
    assert len(seen) == len({*predicted, *true}), "another run reads the cache"


@pytest.mark.parametrize("metric", [RadCliq, RadGraphCombined, BertScoreIdf, SembScore])
def test_absent_weights_are_one_line_of_advice(
    metric: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_ALLOW_DOWNLOADS", raising=False)
    for name in ("HARNESS_CHEXBERT", "HARNESS_RADGRAPH", "HARNESS_DISTILROBERTA"):
        monkeypatch.setenv(name, str(tmp_path))
    reason = metric().unavailable()
    assert reason is not None
    assert f"({metric.name})" in reason
    assert "HARNESS_" in reason
    assert "\n" not in reason


def test_bleu_of_one_study() -> None:
    metric = StudyBleu()
    predicted = ["No effusion.", "NO   effusion .", "", "heart", "clear lungs", "Clear"]
    true = ["no effusion.", "No effusion.", "Clear.", "Lungs.", "lungs clear", "clear lungs"]
    values = column(metric, predicted, true)
    half = math.sqrt(1.0 * 0.1)
    assert values == pytest.approx([1.0, 1.0, 0.0, 0.0, half, math.exp(-1) * half])
    assert values[3:] == pytest.approx(nltk_bleu(predicted[3:], true[3:]))


def test_the_preset_asks_for_these_and_no_others(weights: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from harness.cli.app import app

    for name, side in zip(("p.json", "r.json"), texts(), strict=True):
        (tmp_path / name).write_text(json.dumps({f"s{i}": text for i, text in enumerate(side)}))
    files = ["--predictions", str(tmp_path / "p.json"), "--references", str(tmp_path / "r.json")]
    asked = CliRunner().invoke(app, ["score", *files, "--preset", "rexrank", "--format", "json"])
    assert list(json.loads(asked.stdout)["metrics"]) == [
        *("bleu_2_study", "bertscore_idf_f1", "sembscore", "radgraph_combined"),
        *("radcliq_v1", "radcliq_v1_inverse"),
    ]
    whole = CliRunner().invoke(app, ["score", *files, "--preset", "rexrank-all", "--format", "json"])
    content = json.loads(whole.stdout)
    assert [name.partition("_")[0] for name in (*content["metrics"], *content["unavailable"])][6:] == [
        "ratescore", *["green"] * 8, *["crimson"] * 5,
    ]  # fmt: skip
    wrong = CliRunner().invoke(app, ["score", *files, "--preset", "rexrunk"])
    assert "did you mean rexrank or" in str(wrong.exception or wrong.output)
    both = CliRunner().invoke(app, ["score", *files, "--preset", "rexrank", "--metrics", "bleu"])
    assert "exclude each other" in str(both.exception or both.output)
