"""Tokenisation profiles: what each does to a text, oddities included."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import HarnessError, UnavailableError, UnknownNameError
from harness.core.types import Prediction, Reference
from harness.core.words import PROFILES
from harness.metrics.text.bleu import Bleu
from harness.metrics.text.tokenization import PennTreebank, tokenizer
from tests.helpers.reports import findings

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="no Java")

BOTH = [
    ("The heart is normal. Lungs are clear.", "the heart is normal . lungs are clear ."),
    ("No effusion, no pneumothorax; stable", "no effusion no pneumothorax stable ."),
    ("1. Heart normal. 2. Lungs clear. 3. No effusion.", "heart normal . lungs clear . no effusion ."),
    ("Findings 2. Lungs clear", "findings . lungs clear ."),
    ("6. Sixth item. 7. Seventh", "6 . sixth item . 7 . seventh ."),
    ("Level 11. Normal", "level 1normal ."),
    ("Clear... Normal.", "clear . normal ."),
    ("Heart normal . Lungs clear .", "heart normal . lungs clear ."),
    ("A. . B.", "a . . b ."),
    ("?!", "."),
    ("a:b c;d e<f g=h i>j k@l [m] {n} (o)", "ab cd ef gh ij kl m n o ."),
    ("x-ray follow-up 50% +2 a*b a^b a&b", "x-ray follow-up 50 2 ab ab ab ."),
    ('"quoted" isn\'t and/or back\\slash', "quoted isnt andor backslash ."),
    ("size 1.5 cm in T10.", "size 15 cm in t10 ."),
    ("Größe 38 °C, ≥2 cm. 心脏正常。", "größe 38 °c ≥2 cm . 心脏正常。 ."),
    ("XXXX XXXX.", "xxxx xxxx ."),
    ("tab\tand\u00a0space", "tab and space ."),
]


@pytest.mark.parametrize("profile", ["r2gen-iu", "r2gen-mimic"])
@pytest.mark.parametrize(("text", "expected"), BOTH)
def test_r2gen_cleaning(profile: str, text: str, expected: str) -> None:
    assert tokenizer(profile)(text) == expected.split()


@pytest.mark.parametrize(
    ("text", "iu", "mimic"),
    [
        ("Clear.\nNormal.", "clear normal .", "clear . normal ."),
        ("a.  \n 2. b", "a . . b .", "a . b ."),
        ("seen on ___ at", "seen on at .", "seen on at ."),
        ("a" + "." * 9 + " b", "a . b .", "a . b ."),
        ("a.  2. b", "a . . b .", "a . b ."),
    ],
)
def test_the_two_r2gen_profiles_differ_in_line_breaks_and_runs(text: str, iu: str, mimic: str) -> None:
    assert tokenizer("r2gen-iu")(text) == iu.split()
    assert tokenizer("r2gen-mimic")(text) == mimic.split()


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "ptb"])
@pytest.mark.parametrize("blank", ["", " ", "\n\t ", "\u2003"])
def test_a_blank_text_has_no_tokens(profile: str, blank: str) -> None:
    assert tokenizer(profile)(blank) == []


def test_the_words_none_and_nan_are_ordinary_words() -> None:
    assert tokenizer("r2gen-iu")("None") == ["none", "."]
    assert tokenizer("whitespace")("NaN null") == ["NaN", "null"]


def test_whitespace_keeps_case_and_punctuation() -> None:
    assert tokenizer("whitespace")(" The heart,\nis normal. ") == ["The", "heart,", "is", "normal."]


@pytest.mark.parametrize("profile", ["r2gen-iu", "r2gen-mimic"])
def test_cleaning_a_cleaned_report_changes_nothing(profile: str) -> None:
    for text in findings(200):
        once = tokenizer(profile)(text)
        if not set(once) & set("12345"):  # numbers before "." are enumeration
            assert tokenizer(profile)(" ".join(once)) == once


@given(st.text(max_size=80))
def test_tokens_are_lower_case_words_and_batches_change_nothing(text: str) -> None:
    for profile in ("r2gen-iu", "r2gen-mimic"):
        tokens = tokenizer(profile)(text)
        assert all(token and not any(map(str.isspace, token)) for token in tokens)
        assert not set("".join(tokens)) & set(",?;*!%^&_+():<=>@[]{}\"'/\\ABCXYZ")
        assert tokenizer(profile).batch([text, "other", text]) == [tokens, ["other", "."], tokens]


def test_an_unknown_profile_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown tokenizer 'r2gen'.*did you mean r2gen-iu"):
        tokenizer("r2gen")
    with pytest.raises(UnknownNameError, match="did you mean whitespace"):
        Bleu(tokenizer="whitespaces")


def test_a_missing_report_names_its_study() -> None:
    metric = Bleu()
    with pytest.raises(HarnessError, match="study 's7' has no prediction report"):
        metric.tokens([Prediction()], [Reference("s7", "p", report="a")])
    with pytest.raises(HarnessError, match="study 's7' has no reference report"):
        metric.tokens([Prediction(report="a")], [Reference("s7", "p")])
    with pytest.raises(HarnessError, match="1 predictions for 0 references"):
        metric.tokens([Prediction(report="a")], [])
    assert metric.tokens([Prediction(report="")], [Reference("s7", "p", report="A")]) == ([[]], [["a", "."]])


def test_ptb_without_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    reason = Bleu(tokenizer="ptb").unavailable()
    assert reason is not None
    assert "Java not found" in reason
    assert "--tokenizer r2gen-iu" in reason
    assert Bleu(tokenizer="r2gen-iu").unavailable() is None
    with pytest.raises(UnavailableError, match=r"Java not found.*install a JRE"):
        PennTreebank("ptb")("some text")


@needs_java
def test_ptb_survives_whatever_a_model_may_print() -> None:
    texts = [
        "The heart, is normal.\nLungs\u2028clear\x0c.",
        "",
        "a\r\nb",
        "\u200b",
        "38 °C 心脏 \ud800",
        "(x)",
    ]
    assert PennTreebank("ptb").batch(texts) == [
        ["the", "heart", "is", "normal", "lungs", "clear"],
        [],
        ["a", "b"],
        [],
        ["38", "°", "c", "心脏"],
        ["-lrb-", "x", "-rrb-"],
    ]


@needs_java
def test_ptb_tokens_do_not_depend_on_the_batch() -> None:
    texts = list(findings(60))
    whole = PennTreebank("ptb").batch(texts)
    assert PennTreebank("ptb").batch(texts[::-1])[::-1] == whole
    assert PennTreebank("ptb").batch([*texts, *texts, ""]) == [*whole, *whole, []]


@needs_java
def test_ptb_equals_the_coco_tools() -> None:
    spec = find_spec("pycocoevalcap")
    folders = (spec.submodule_search_locations if spec is not None else None) or []
    if not any(os.access(Path(folder, "tokenizer"), os.W_OK) for folder in folders):
        pytest.skip("pycocoevalcap writes into its own folder, which is read-only here")
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    texts = dict(enumerate(findings(60)))
    theirs = PTBTokenizer().tokenize({key: [{"caption": text}] for key, text in texts.items()})
    ours = PennTreebank("ptb").batch(list(texts.values()))
    assert ours == [theirs[key][0].split() for key in texts]
