"""Odd reports are counted by kind; ordinary ones, odd as they may look, are not."""

from __future__ import annotations

import pytest

from harness.metrics.text.hygiene import remarks_on, remarks_on_pairs, sentences
from tests.helpers.reports import corpus

ODD = {
    "empty": ["", " \n", "\u00a0"],
    "wordless": [".", " - ", "[]", "___"],
    "tokens": [
        "no effusion</w>",
        "startseq clear endseq",
        "<start> clear <end>",
        "the\u0120heart\u0120is",
        "\u2581No \u2581effusion",
        "cardio ##megaly",
        "<s> clear </s>",
        "clear <unk> lungs",
        "clear [PAD] [PAD]",
        "clear <|endoftext|>",
        "clear<|im_end|>",
        "ate@@ lectasis",
        "[INST] clear",
    ],
    "markup": [
        "**Findings:** clear",
        "## Findings\nclear",
        "<p>clear</p>",
        "clear<br/>lungs",
        "heart &amp; lungs",
        "\\textbf{clear}",
        "```clear```",
        "| a | b |\n| c | d |",
        '{"findings": "clear"}',
        "$10^{3}$",
    ],
    "escapes": ["clear.\\nNo effusion.", "clear \\n no effusion", "['clear lungs']"],
    "script": [
        "\u80ba\u90e8\u6e05\u6670\uff0c\u65e0\u79ef\u6db2",
        "\u043b\u0435\u0433\u043a\u0438\u0435 clear",
    ],
    "mixed": ["pneum\u043enia"],
    "decoding": ["l\u00c3\u00a9sion", "patient\u00e2\u20ac\u2122s lungs", "5 \u00c2\u00b0C", "a \ufffd b"],
    "repetition": ["the lungs are clear . " * 5, "no " * 9],
    "characters": [
        "e\ufb00usion",
        "pneu\u00admonia",
        "no\u200b edema",
        "no\u00a0edema",
        "it\u2019s clear",
        "cl\x7fear",
        "clear\ufe0f",
    ],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in ODD.items() for text in texts])
def test_an_odd_text_is_counted(kind: str, text: str) -> None:
    remarks = {each.kind: each for each in remarks_on({"a": text, "b": "Clear lungs."}, "predictions")}
    assert kind in remarks
    assert remarks[kind].ids == ("a",)
    assert (remarks[kind].count, remarks[kind].total) == (1, 2)


@pytest.mark.parametrize(
    "text",
    [
        "1. Heart size is normal.\n2. No effusion.\n- XXXX; see T10 (stable), SpO2 < 90 %, 5 x 3 mm > 2 mm.",
        "* Clear. ___ year old [**Hospital**] #3 rib, M&M, a_b_c, C&S, $5, 50% & up.",
        "\u00c9tude normale, c\u0153ur \u00e0 gauche, na\u00efve \u00df \u00d8 \u00c5, \u00c3O.",
        "No focal airspace disease. No pneumothorax. No effusion. No bony abnormality. Heart is normal.",
        "\u03b2-blocker, 5 \u03bcm",
    ],
)
def test_an_ordinary_text_is_not(text: str) -> None:
    kinds = {each.kind for each in remarks_on({"a": text, "b": "Clear."}, "predictions")}
    assert kinds == set()


def test_real_reports_are_ordinary() -> None:
    texts = {str(number): text for number, text in enumerate(corpus(400)[1])}
    counts = {each.kind: each.count for each in remarks_on(texts, "references")}
    assert sum(counts.values()) <= 4, counts


def test_counts_are_one_sentence_with_ids_and_without_text() -> None:
    texts = {f"s{number}": "" if number < 7 else "Lungs are clear." for number in range(20)}
    texts |= {f"t{number}": f"Nodule {number}." for number in range(5)}
    (line,) = sentences(remarks_on(texts, "predictions"))
    assert line == (
        "7 of 25 predictions are empty, 13 are the same text (empty: s0, s1, s2, ..; same: s7, s8, s9, ..)"
    )
    assert remarks_on(texts, "references")[0].kind == "empty"
    assert len(remarks_on(texts, "references")) == 1


def test_few_copies_are_ordinary_and_all_are_not() -> None:
    assert remarks_on({"a": "Clear.", "b": "Clear.", "c": "Edema."}, "predictions") == []
    (remark,) = remarks_on({"a": "Clear.", "b": "Clear."}, "predictions")
    assert str(remark) == "2 of 2 predictions are the same text"


def test_pairs_that_look_equal_are_counted() -> None:
    references = {"a": "No effusion.", "b": "Clear.", "c": "Edema."}
    predictions = {"a": "No e\ufb00usion.", "b": "Clear.", "c": "Nodule."}
    (remark,) = remarks_on_pairs(predictions, references, "predictions")
    assert (remark.kind, remark.count, remark.ids) == ("form", 1, ("a",))
    (copies,) = remarks_on_pairs(references, references, "predictions")
    assert str(copies) == "3 of 3 predictions equal their references"
