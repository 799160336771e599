"""What a perfect model scores: under every profile, a reference that is split and joined again is itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import registry
from harness.core.config import RunConfig
from harness.core.types import DatasetInfo, Prediction, Reference, Study, Task
from harness.core.words import MARK, PROFILES, frequent_words, words_of
from harness.datasets.readers.profiles import Profile, alphabetic, finished
from harness.datasets.readers.records import ReportRecord
from harness.evaluation.chosen_metrics import choose_metrics
from harness.method.torch_method import TorchMethod
from harness.metrics import Bleu, ChexpertRulesF1, RougeL
from harness.metrics.text.tokenization import tokenizer
from methods.common.text import Vocabulary
from methods.vdgen.language import ReportTokenizer, train_tokenizer

TEXTS = (
    "Heart of usual size. Both lungs look clean, with neither fluid nor air beside them.",
    "1. A 2.5 cm nodule lies in the left upper lobe; follow-up is advised. 2. No edema.",
    "Ground-glass opacity (both lungs): upper/lower zones, 30% of the volume",
    'Fig. 3-12b: "cherry-red spot" of the macula; vision 20/40, age 61 y/o.',
    "Is there fluid? None seen.\nThe spine shows [mild] change & no fracture!",
    "No change since 2019-03-04. Device at T10-T11, tip 1.5 cm above the carina",
    "Spleen: gross, natural color; 300 grams ... old infarct.",
    "Lungs clear.No mass. XXXX catheter, +/- 2 mm. - stable",
)


def profiles() -> Iterator[Any]:
    for name in registry.names("datasets"):
        for profile in getattr(registry.load("datasets", name), "profiles", {}).values():
            yield pytest.param(profile, id=f"{name}-{profile.name}")


PROFILES_OF_DATASETS = list(profiles())


def scores(texts: Sequence[str], references: Sequence[str], profile: Profile) -> list[float]:
    values: list[float] = []
    for metric in (Bleu, RougeL):
        result = metric(profile.tokenizer, profile.reference_words)(texts, references)
        values += [result[output.name] for output in metric.outputs]
    return values


@pytest.mark.parametrize("profile", PROFILES_OF_DATASETS)
def test_a_perfect_model_has_a_perfect_score(profile: Profile) -> None:
    rule, references = words_of(profile.tokenizer), [profile.clean(text) for text in TEXTS]
    vocabulary = Vocabulary(frequent_words(map(rule.split, references), min_count=1), rule)
    texts = [vocabulary.decode(vocabulary.encode(text, 100)) for text in references]
    assert scores(texts, references, profile) == pytest.approx([1.0] * 5, abs=1e-7)


@pytest.mark.parametrize("profile", PROFILES_OF_DATASETS)
def test_a_perfect_model_of_word_pieces_has_a_perfect_score(profile: Profile) -> None:
    rule, references = words_of(profile.tokenizer), [profile.clean(text) for text in TEXTS]
    joined = [rule.join(rule.split(text)) for text in references]
    pieces = ReportTokenizer.of(train_tokenizer(joined * 2, 300), rule)
    texts = [pieces.decode(row) for row in pieces.batch(references, 500)[0].tolist()]
    assert scores(texts, references, profile) == pytest.approx([1.0] * 5, abs=1e-7)


@pytest.mark.parametrize("name", PROFILES)
def test_metrics_see_the_words_that_methods_write(name: str) -> None:
    if name == "ptb" and shutil.which("java") is None:
        pytest.skip("no Java")
    rule = words_of(name)
    # The Penn Treebank's list of abbreviations is its own: "Fig." is one word there.
    texts = [text for text in TEXTS if name != "ptb" or "Fig." not in text]
    joined = [rule.join(rule.split(text)) for text in texts]
    assert [rule.split(text) for text in joined] == [rule.split(text) for text in texts]
    assert tokenizer(name).batch(joined) == tokenizer(name).batch(texts)
    if name != "ptb":
        marks = {MARK} if rule.marks_count else set()
        assert {MARK}.intersection(*tokenizer(name).batch(joined)) <= marks


@given(st.text(max_size=60))
def test_words_hold_no_white_space_and_split_alike_when_joined(text: str) -> None:
    for name in PROFILES:
        rule = words_of(name)
        words = rule.split(text)
        assert not any(character.isspace() for word in words for character in word)
        assert rule.split(rule.join(words)) == words


def test_labels_find_the_ends_of_sentences_in_text_of_letters_alone() -> None:
    texts = ["There is no pneumothorax. Edema is seen.", "No edema! A left pleural effusion (small)."]
    cleaned = [alphabetic(text) for text in texts]
    assert cleaned == [
        "there is no pneumothorax . edema is seen .",
        "no edema . a left pleural effusion small .",
    ]
    metric = ChexpertRulesF1()
    references = [Reference(str(number), str(number), text) for number, text in enumerate(texts)]
    ours = metric.statistics([Prediction(report=text) for text in cleaned], references)
    assert (ours == metric.statistics([Prediction(report=text) for text in texts], references)).all()


def records(reports: dict[str, Sequence[str]]) -> list[ReportRecord]:
    return [
        ReportRecord(f"{split}{number}", f"{split}{number}", split, {}, report, "here")
        for split, texts in reports.items()
        for number, report in enumerate(texts)
    ]


def test_reports_are_cut_and_rare_words_replaced_where_a_profile_says_so() -> None:
    given = records({"train": ["a b c d", "a b x"], "test": ["b x a y b"]})
    whole = Profile("p", "p", tokenizer="jury")
    assert finished(given, whole) == given
    changed = finished(given, replace(whole, report_words=3, rare_words=2))
    assert [each.report for each in changed] == ["a b <unk>", "a b <unk>", "b <unk> a"]
    # A word behind the cut counts among the training words.
    assert [each.report for each in finished(given, replace(whole, report_words=2))] == ["a b", "a b", "b x"]


def test_a_cut_of_the_reports_is_the_widest_of_the_metrics_and_stands_in_the_signature() -> None:
    info = replace(INFO, tokenizer="jury", report_words=78, rare_words=3, uncertain="negative")
    for cut, field in ((None, "ref:78"), (60, "ref:60"), (100, "ref:78")):
        config = RunConfig(methods=("template",), reference_words=cut, metrics=("bleu", "rouge_score_l"))
        signatures = [metric.signature for metric in choose_metrics(config, info)]
        assert all(f"|{field}|unk:min3|" in signature for signature in signatures)
    (metric,) = choose_metrics(RunConfig(methods=("template",), metrics=("chexpert_rules_f1",)), info)
    assert "uncertain:negative" in metric.signature
    asked = RunConfig(methods=("template",), metrics=("chexpert_rules_f1",), uncertain="positive")
    assert "uncertain:positive" in choose_metrics(asked, info)[0].signature


INFO = DatasetInfo(
    name="words",
    tasks=frozenset({Task.REPORT}),
    image_modalities=("frontal", "lateral"),
    has_context=True,
    image_size=64,
    tokenizer="whitespace",
)
REPORT = "opacity , left ; no 2.5 cm mass ."


def studies(report: str) -> list[Study]:
    image = np.zeros((64, 64, 1), np.uint8)
    return [
        Study(f"s{n}", f"p{n}", "train", {"frontal": image, "lateral": image}, "Age 61, male.", report)
        for n in range(6)
    ]


def rewritten(method: Any, text: str) -> str:
    """The text as the method would write it if it had learned it by heart."""
    if hasattr(method, "tokenizer"):
        return str(method.tokenizer.decode(method.tokenizer.batch([text], 100)[0][0].tolist()))
    vocabulary = getattr(method, "vocabulary", None) or method.vocabularies.written
    return str(vocabulary.decode(vocabulary.encode(text, 100)))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in registry.names("methods")
        if registry.card(name).learned and Task.REPORT in registry.card(name).tasks
    ],
)
@pytest.mark.parametrize("profile", ["whitespace", "r2gen-iu", "without-marks"])
def test_learned_methods_write_the_words_of_their_dataset(name: str, profile: str) -> None:
    method = registry.load("methods", name).create(replace(INFO, tokenizer=profile))
    assert isinstance(method, TorchMethod)
    method.prepare(method.artifacts(studies(REPORT)))
    assert tokenizer(profile)(rewritten(method, REPORT)) == tokenizer(profile)(REPORT)
