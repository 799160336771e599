"""Classifiers, encoders and word lists of 2025 and 2026, on random models of their architectures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import CorruptFileError
from harness.metrics.base import Metric
from harness.metrics.clinical.radgraph import RadGraphF1
from harness.metrics.learned import cxrfescore
from harness.metrics.learned.bertscore_folder import RadevalBertScore
from harness.metrics.learned.cxrfescore import (
    CxrfeScore,
    FactEncoder,
    FactExtractor,
    facts_in,
    without_repeats,
)
from harness.metrics.learned.label_sets import Classifier, LabelSetF1, RadbertCtF1
from harness.metrics.learned.sentences import sentences_of
from harness.metrics.learned.srr_bert import SrrBertLeaves, SrrBertStatuses, SrrBertUpper
from harness.metrics.learned.temporal import WORDS, TemporalF1
from harness.metrics.pretrained import old_tokenizer_methods
from tests.helpers.checkpoints import write_bert, write_radgraph
from tests.helpers.reports import findings, pairs

N = 20
SRR = {SrrBertLeaves: 55, SrrBertStatuses: 163, SrrBertUpper: 25}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_ALLOW_DOWNLOADS", raising=False)


def write_classifier(folder: Path, labels: int, seed: int) -> None:
    import torch
    from transformers import BertForSequenceClassification

    config = write_bert(folder)
    config.num_labels = labels
    torch.manual_seed(seed)
    model = BertForSequenceClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=1.0)
    model.save_pretrained(folder)


def texts() -> tuple[list[str], list[str]]:
    reports = findings(2 * N)
    predicted = [f"{a[: len(a) // 2]}. {b}" for a, b in zip(reports[:N], reports[N:], strict=True)]
    return predicted, list(reports[:N])


def reference_flags(folder: Path, text: str) -> np.ndarray:
    """Sigmoid above a half, one text at a time, through transformers' own padding and truncation."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer([text], padding=True, truncation=True, max_length=512, return_tensors="pt")
    with torch.no_grad():
        return (torch.sigmoid(model(**encoded).logits) > 0.5)[0].numpy()


def check_against_scikit_learn(metric: LabelSetF1, ours: np.ndarray, theirs: np.ndarray) -> None:
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    statistics = metric.statistics(*pairs(*texts()))
    values = {key: float(value) for key, value in metric.reduce(statistics.sum(axis=0)).items()}
    expected: dict[str, float] = {"exact": accuracy_score(theirs, ours)}
    for average in ("weighted", "micro", "macro"):
        precision, recall, f1, _ = precision_recall_fscore_support(
            theirs, ours, average=average, zero_division=0
        )
        expected |= {f"f1_{average}": f1}
        if average == "weighted":
            expected |= {"precision_weighted": precision, "recall_weighted": recall}
    assert values == pytest.approx(
        {f"{metric.name}_{key}": value for key, value in expected.items()}, abs=1e-12
    )
    assert 0 < values[f"{metric.name}_f1_micro"] < 1


@pytest.mark.parametrize("metric_class", list(SRR))
def test_a_report_has_the_findings_of_its_sentences(
    metric_class: type[LabelSetF1], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_SRR_BERT", str(tmp_path))
    assert "HARNESS_SRR_BERT" in str(metric_class().unavailable())
    folder = tmp_path / metric_class.files.part
    write_classifier(folder, SRR[metric_class], seed=3)
    metric = metric_class()
    assert metric.unavailable() is None
    every = {sentence for side in texts() for text in side for sentence in sentences_of(text)}
    of = {sentence: reference_flags(folder, sentence) for sentence in sorted(every)[:40]}
    assert np.array_equal(metric.classified(list(of)), np.array(list(of.values())))
    sides = [
        np.array([metric.classified(sentences_of(text)).any(axis=0) for text in side]) for side in texts()
    ]
    check_against_scikit_learn(metric, *sides)
    assert metric.flags([""]).sum() == 0


def test_a_vocabulary_may_lie_beside_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_SRR_BERT", str(tmp_path))
    write_classifier(tmp_path / "upper", 25, seed=0)
    (tmp_path / "upper" / "vocab.txt").rename(tmp_path / "vocab.txt")
    assert SrrBertUpper().unavailable() is None
    (tmp_path / "vocab.txt").unlink()
    assert "vocab.txt" in str(SrrBertUpper().unavailable())


def test_findings_of_chest_ct_and_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classifier(tmp_path, 18, seed=5)
    monkeypatch.setenv("HARNESS_RADBERT_CT", str(tmp_path))
    metric = RadbertCtF1()
    sides = []
    for side in texts():
        flags = np.array([reference_flags(tmp_path, text) for text in side])
        sides.append(np.column_stack([flags, ~flags.any(axis=1)]))
    check_against_scikit_learn(metric, *sides)


def test_a_model_of_other_labels_is_refused_and_a_text_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classifier(tmp_path, 18, seed=5)
    with pytest.raises(CorruptFileError, match="18 labels, not 25"):
        Classifier(tmp_path, None, 25)
    monkeypatch.setenv("HARNESS_RADBERT_CT", str(tmp_path))
    first = RadbertCtF1().statistics(*pairs(*texts()))
    monkeypatch.setattr(Classifier, "__call__", lambda *_: pytest.fail("the model read a text again"))
    assert np.array_equal(RadbertCtF1().statistics(*pairs(*texts())), first)


def test_radeval_s_bertscore_is_that_of_bert_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import bert_score
    import torch
    from bert_score import score
    from transformers import AutoTokenizer, ModernBertConfig, ModernBertModel

    bert = write_bert(tmp_path)
    config = ModernBertConfig(
        vocab_size=bert.vocab_size, hidden_size=32, intermediate_size=32, num_hidden_layers=22,
        num_attention_heads=2, pad_token_id=0, cls_token_id=2, sep_token_id=3, initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = ModernBertModel(config).eval()
    model.save_pretrained(tmp_path)
    monkeypatch.setenv("HARNESS_RADEVAL_BERT", str(tmp_path))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.model_max_length = 8192
    tokenizer.save_pretrained(tmp_path)
    tokenizer.build_inputs_with_special_tokens = lambda ids: [2, *ids, 3]
    module = sys.modules[bert_score.score.__module__]
    monkeypatch.setattr(module, "get_tokenizer", lambda *_: tokenizer)
    monkeypatch.setattr(module, "get_model", lambda *_: model)
    predicted, true = texts()
    predicted[0] = " ".join([*predicted, *true])
    assert len(tokenizer(predicted[0])["input_ids"]) > 512
    _, _, expected = score(predicted, true, model_type="tiny", num_layers=22, device="cpu", batch_size=4)
    values = RadevalBertScore().statistics(*pairs(predicted, true))[:, 0]
    assert values == pytest.approx(expected.numpy(), abs=1e-5)
    assert values.std() > 1e-3


def write_cxrfe(root: Path) -> None:
    """A random T5 with a word vocabulary, and a random CXR-BERT, in the layout of the public ones."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertModel, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = sorted({word for text in findings(2 * N) for word in re.findall(r"\w+|[^\w\s]", text)})
    vocabulary = {word: place for place, word in enumerate(["<pad>", "</s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocabulary["</s>"])]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(root / "extractor")
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    torch.manual_seed(0)
    T5ForConditionalGeneration(
        T5Config(vocab_size=len(vocabulary), decoder_start_token_id=0, **sizes)
    ).save_pretrained(root / "extractor")
    config = write_bert(root / "encoder")
    bert = BertModel(config, add_pooling_layer=False)
    shapes = {
        "dense_to_hidden.weight": (8, 32), "dense_to_hidden.bias": (8,),
        "LayerNorm.weight": (8,), "LayerNorm.bias": (8,),
        "dense_to_output.weight": (8, 8), "dense_to_output.bias": (8,),
    }  # fmt: skip
    tensors = {f"bert.{name}": value.contiguous() for name, value in bert.state_dict().items()}
    tensors |= {f"cls_projection_head.{name}": torch.randn(shape) for name, shape in shapes.items()}
    save_file(tensors, root / "encoder" / "model.safetensors")
    facts = config.to_dict() | {"model_type": "cxr-bert", "projection_size": 8}
    facts["auto_map"] = {"AutoModel": "modeling_cxrbert.CXRBertModel"}
    (root / "encoder" / "config.json").write_text(json.dumps(facts))


class Facts:
    """What stands for the extractor: a random one writes no lists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, sentences: list[str]) -> list[list[str]]:
        return [[" ".join(half) for half in _halves(sentence.split())] for sentence in sentences]


def _halves(words: list[str]) -> list[list[str]]:
    middle = len(words) // 2
    return [half for half in (words[:middle], words[middle:]) if half]


def reference_vectors(folder: Path, facts: list[str]) -> np.ndarray:
    """The published model's projection, written out, one fact at a time and normalised."""
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel, BertTokenizer

    tensors = load_file(folder / "model.safetensors")
    config = {**json.loads((folder / "config.json").read_text())}
    config.pop("model_type")
    bert = BertModel(BertConfig(**config), add_pooling_layer=False).eval()
    bert.load_state_dict({k.removeprefix("bert."): v for k, v in tensors.items() if k.startswith("bert.")})
    tokenizer = BertTokenizer.from_pretrained(folder)
    head = {k.removeprefix("cls_projection_head."): v for k, v in tensors.items() if "head" in k}
    rows = []
    for fact in facts:
        with torch.no_grad():
            x = bert(torch.tensor([tokenizer(fact)["input_ids"]]))[0][:, 0]
            x = torch.nn.functional.gelu(x @ head["dense_to_hidden.weight"].T + head["dense_to_hidden.bias"])
            x = torch.nn.functional.layer_norm(
                x, (8,), head["LayerNorm.weight"], head["LayerNorm.bias"], 1e-12
            )
            x = x @ head["dense_to_output.weight"].T + head["dense_to_output.bias"]
        rows.append(torch.nn.functional.normalize(x, dim=1)[0].numpy())
    return np.array(rows)


def test_cxrfescore_matches_facts_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    write_cxrfe(tmp_path)
    monkeypatch.setenv("HARNESS_CXRFE", str(tmp_path))
    monkeypatch.setattr(cxrfescore, "FactExtractor", Facts)
    extract = Facts(tmp_path)

    def facts_of(text: str) -> list[str]:
        return list(dict.fromkeys(fact for each in extract(sentences_of(text)) for fact in each))

    predicted, true = (side[:8] for side in texts())
    expected = []
    for one, other in zip(predicted, true, strict=True):
        ours, theirs = (reference_vectors(tmp_path / "encoder", facts_of(text)) for text in (one, other))
        cosines = cosine_similarity(ours, theirs)
        expected.append((cosines.max(axis=1).mean() + cosines.max(axis=0).mean()) / 2)
    values = CxrfeScore().statistics(*pairs([*predicted, ""], [*true, "Clear."]))[:, 0]
    assert values == pytest.approx([*expected, 0.0], abs=1e-5)
    assert values[:-1].std() > 1e-3


def test_the_extractor_writes_the_same_alone_and_in_a_batch(tmp_path: Path) -> None:
    write_cxrfe(tmp_path)
    extractor = FactExtractor(tmp_path / "extractor")
    sentences = list(dict.fromkeys(sentence for text in findings(6) for sentence in sentences_of(text)))
    written: list[str] = []
    decode = extractor.tokenizer.decode
    extractor.tokenizer.decode = lambda ids, **options: written.append(decode(ids, **options)) or ""
    assert extractor(sentences) == [[sentence] for sentence in sentences], "no list: the sentence is the fact"
    together = sorted(written)
    written.clear()
    for sentence in sentences:
        extractor([sentence])
    assert sorted(written) == together
    assert any(together)
    (tmp_path / "encoder" / "model.safetensors").unlink()
    import torch

    torch.save({}, tmp_path / "encoder" / "pytorch_model.bin")
    with pytest.raises(CorruptFileError, match="is it a CXR-BERT"):
        FactEncoder(tmp_path / "encoder")


@pytest.mark.parametrize(
    ("written", "facts"),
    [
        ('["clear lungs", "no edema", "clear lungs"]', ["clear lungs", "no edema"]),
        ('text ["clear lungs", "no ede', ["clear lungs"]),
        ('["no no edema", " "]', ["no edema"]),
        ("[]", []),
        ("no list", []),
    ],
)
def test_lists_of_facts_are_read(written: str, facts: list[str]) -> None:
    assert facts_in(written) == facts


def test_repeated_runs_of_words_stand_once() -> None:
    assert without_repeats("small Small left effusion left effusion here") == "small left effusion here"
    assert without_repeats("a b c a b") == "a b c a b"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("1. No edema. 2. Heart is normal", ["No edema.", "Heart is normal."]),
        ("A 3.5 cm nodule.Clear lungs", ["A 3.5 cm nodule.", "Clear lungs."]),
        ("It is 3.5. Next one", ["It is 3.5.", "Next one."]),
        ("Heart normal 2. Lungs clear3. Stable", ["Heart normal.", "Lungs clear.", "Stable."]),
        ("Told Dr. Smith. Fine?", ["Told Dr. Smith.", "Fine?"]),
        (" . ", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert sentences_of(text) == sentences


def test_words_of_change() -> None:
    metric = TemporalF1()
    predicted = ["Stable effusion, new edema.", "Clear.", "Worse.", "Normal.", "RE-ENLARGED; stable"]
    true = ["Increased effusion, new edema, STABLE heart", "Clear.", "Clear.", "Improved.", "enlarged"]
    statistics = metric.statistics(*pairs(predicted, true))
    assert statistics[:, 0] == pytest.approx([0.8, 1.0, 0.0, 0.0, 2 / 3])
    remark = metric.remarks(statistics)["temporal_f1"]
    assert remark == "neither text of 1 of 5 studies speaks of change: they score 1"
    assert {"stable", "unchanged", "worsening", "resolved"} <= WORDS
    assert metric.statistics([], []).shape == (0, 3)


@pytest.mark.parametrize(
    "metric", [SrrBertLeaves, SrrBertStatuses, SrrBertUpper, RadbertCtF1, RadevalBertScore, CxrfeScore]
)
def test_absent_models_are_one_line_of_advice(
    metric: type[Metric], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("HARNESS_SRR_BERT", "HARNESS_RADBERT_CT", "HARNESS_RADEVAL_BERT", "HARNESS_CXRFE")
    for named in (False, True):
        for name in settings:
            monkeypatch.setenv(name, str(tmp_path)) if named else monkeypatch.delenv(name, raising=False)
        reason = str(metric().unavailable())
        assert f"({metric.name})" in reason
        assert "HARNESS_" in reason
        assert "\n" not in reason


def test_the_model_type_of_radgraph_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from radgraph import F1RadGraph

    write_radgraph(tmp_path, "modern-radgraph-xl")
    monkeypatch.setenv("HARNESS_RADGRAPH", str(tmp_path))
    monkeypatch.setenv("HARNESS_RADGRAPH_MODEL", "modern-radgraph-xl")
    metric = RadGraphF1(case="written")
    assert "|model:modern-radgraph-xl|" in metric.signature
    predicted, true = (side[:6] for side in texts())
    with old_tokenizer_methods():
        package = F1RadGraph(
            reward_level="all", model_type="modern-radgraph-xl", model_cache_dir=str(tmp_path), cuda=-1
        )
        expected: Any = package(hyps=predicted, refs=true)[1]
    assert metric.statistics(*pairs(predicted, true))[:, :3] == pytest.approx(np.array(expected).T, abs=1e-12)
