"""Judging language models: answers are read strictly, asked once, kept, and never silently 0."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import UnavailableError
from harness.core.types import Prediction, Reference
from harness.metrics import annotation_cache
from harness.metrics.base import SIGNATURE
from harness.metrics.judges import base, crimson, green
from harness.metrics.judges.base import Judge, UnreadableAnswerError
from harness.metrics.judges.crimson import Crimson
from harness.metrics.judges.green import Green
from harness.metrics.judges.model import BATCH, Writer

TEMPLATE = "Compare.\n\n{context}\n\nTrue: {reference}\nOurs: {candidate}\nAnswer in {{braces}}."
WORDS = (
    "true",
    "ours",
    "answer",
    "in",
    "the",
    "heart",
    "is",
    "large",
    "lungs",
    "are",
    "clear",
    "effusion",
    "age",
)
WELL = """[Explanation]:
All but one finding agree.

[Clinically Significant Errors]:
(a) False report of a finding in the candidate: 1. Mass
(b) Missing a finding present in the reference: 2. Effusion; edema
(c) Misidentification of a finding's anatomic location/position: 0.

[Clinically Insignificant Errors]:
(d) Misassessment of the severity of a finding: 4. Words

[Matched Findings]:
3. Heart; lungs; bones
"""


def tokenizer(folder: Path) -> None:
    """A tokenizer of whole words with a chat template like Gemma's."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<s>", "<unk>", *WORDS]
    inner = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )
    turn = "<s> {{ message['role'] }} {{ message['content'] }} </s>"
    fast.chat_template = f"{{% for message in messages %}}{turn}{{% endfor %}} answer"
    fast.save_pretrained(folder)


def write_model(folder: Path, kind: str) -> Path:
    """A random model of the architecture of GREEN (Llama) or of MedGemma (Gemma 3)."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": 4 + len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 32,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    if kind == "llama":
        LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(folder)
    else:
        Gemma3ForCausalLM(Gemma3TextConfig(**sizes, head_dim=8)).save_pretrained(folder)
    tokenizer(folder)
    (folder / "prompt.txt").write_text(TEMPLATE)
    (folder / "system.txt").write_text("You judge.\n")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: write_model(tmp_path_factory.mktemp(kind), kind) for kind in ("llama", "gemma")}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["green", "crimson"])
def judge(request: pytest.FixtureRequest, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Judge:
    monkeypatch.setenv("HARNESS_GREEN", str(folders["llama"]))
    monkeypatch.setenv("HARNESS_CRIMSON", str(folders["gemma"]))
    return Green(max_new_tokens=5) if request.param == "green" else Crimson(max_new_tokens=5)


def pairs(n: int, start: int = 0) -> tuple[list[Prediction], list[Reference]]:
    texts = [("the heart is large . " * (1 + number % 3)).strip() for number in range(n)]
    return (
        [Prediction(report=f"{text} {number}") for number, text in enumerate(texts, start)],
        [Reference(f"s{number}", f"s{number}", text) for number, text in enumerate(texts, start)],
    )


def answering(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], str], limit: float = math.inf
) -> list[str]:
    """Let ``answer`` stand for the model, killed after ``limit`` prompts; the prompts are noted."""
    asked: list[str] = []

    def answers(_: Writer, texts: Sequence[str]) -> list[str]:
        if len(asked) + len(texts) > limit:
            raise KeyboardInterrupt
        asked.extend(texts)
        return [answer(text) for text in texts]

    monkeypatch.setattr(Writer, "answers", answers)
    return asked


def test_a_random_model_answers_and_its_answers_are_counted_as_unread(judge: Judge) -> None:
    assert judge.unavailable() is None
    assert re.fullmatch(SIGNATURE, judge.signature)
    statistics = judge.statistics(*pairs(5))
    assert statistics[:, -1].tolist() == [1] * 5  # random words are no judgement
    values = judge.values(statistics, np.ones((1, 5)))
    assert np.isnan(values[judge.name][0])
    assert values[f"{judge.name}_unread"][0] == 1
    assert "5 of 5 answers could not be read" in judge.remarks(statistics)[judge.name]


def test_greedy_answers_do_not_depend_on_the_batch(judge: Judge) -> None:
    writer = judge.writer()
    prompts = [judge.folder.prompt("the heart is large", "no effusion " * number) for number in (1, 4, 2)]
    texts = writer.texts(judge.folder.system, prompts)
    assert writer.answers(texts) == [writer.answers([text])[0] for text in texts]
    assert writer.answers(texts) == writer.answers(texts)


def test_a_pair_is_asked_once_and_a_killed_run_goes_on(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions, references = pairs(3 * BATCH)
    twice = predictions + predictions[:4], references + references[:4]
    asked = answering(monkeypatch, lambda text: "", limit=2 * BATCH)
    with pytest.raises(KeyboardInterrupt):
        judge.statistics(*twice)
    first = list(asked)
    assert len(set(first)) == len(first) == 2 * BATCH
    second = answering(monkeypatch, lambda text: "")
    statistics = type(judge)(5).statistics(*twice)
    assert len(second) == BATCH
    assert not set(first) & set(second)
    assert len(statistics) == 3 * BATCH + 4
    assert not answering(monkeypatch, lambda text: "")
    type(judge)(5).statistics(*twice)


def test_short_prompts_come_first(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, lambda text: "")
    judge.statistics(*pairs(9))
    assert [len(text) for text in asked] == sorted(len(text) for text in asked)


def test_nothing_of_a_report_or_an_answer_is_kept(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    well = WELL if judge.name == "green" else json.dumps(content())
    answering(monkeypatch, lambda text: well)
    judge.statistics(*pairs(3))
    kept = annotation_cache.path_of(judge.signature).read_text()
    for word in ("heart", "Mass", "Effusion", "R1", "pleural"):
        assert word not in kept


def test_another_prompt_or_model_is_another_signature(
    judge: Judge, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = judge.signature
    kind = "llama" if judge.name == "green" else "gemma"
    other = write_model(tmp_path / folders[kind].name, kind)
    monkeypatch.setenv(judge.folder.setting, str(other))
    assert judge.signature == before
    (other / "prompt.txt").write_text(TEMPLATE + " ")
    changed = judge.signature
    assert changed != before
    (other / "config.json").write_text((other / "config.json").read_text() + " ")
    assert judge.signature != changed


def test_without_a_folder_there_is_one_line_of_advice(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path]
) -> None:
    def advice() -> str:
        line = judge.unavailable()
        assert line is not None
        assert "\n" not in line
        return line

    monkeypatch.delenv(judge.folder.setting)
    assert f"set {judge.folder.setting}" in advice()
    with pytest.raises(UnavailableError, match=judge.folder.setting):
        judge.statistics(*pairs(1))
    other = write_model(tmp_path / "other", "llama")
    monkeypatch.setenv(judge.folder.setting, str(other))
    (other / "prompt.txt").write_text("Judge {reference}.")
    assert "lacks {candidate}" in advice()
    (other / "prompt.txt").unlink()
    assert "prompt.txt not found" in advice()
    assert re.fullmatch(SIGNATURE, judge.signature)


def test_texts_with_places_in_them_are_no_places(judge: Judge) -> None:
    prompt = judge.folder.prompt("heart {candidate}", "lungs {context}")
    assert prompt == "Compare.\n\nTrue: heart {candidate}\nOurs: lungs {context}\nAnswer in {{braces}}."
    assert judge.folder.prompt("a", "b", "Patient Context:\n") == (
        "Compare.\n\nPatient Context:\n\n\nTrue: a\nOurs: b\nAnswer in {{braces}}."
    )


# ---------------------------------------------------------------- GREEN's answers


def test_green_is_matched_over_matched_and_significant_errors() -> None:
    assert Green().read(WELL) == [0.5, 1, 2, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("change", "values"),
    [
        (lambda text: text.replace("3. Heart; lungs; bones", "No matched findings."), [0, 1, 2, 0, 0, 0, 0]),
        (lambda text: text.replace("3. Heart; lungs; bones", "0."), [0, 1, 2, 0, 0, 0, 0]),
        (lambda text: re.sub(r"\(a\)[\s\S]*?\n\n", "None.\n\n", text, count=1), [1, 0, 0, 0, 0, 0, 0]),
        (lambda text: text.replace("(a)", "(1)").replace("(b)", "(2)"), [0.5, 1, 2, 0, 0, 0, 0]),
        (lambda text: text.replace("1. Mass", "None"), [0.6, 0, 2, 0, 0, 0, 0]),
        (lambda text: "<s>" + text + "</s>", [0.5, 1, 2, 0, 0, 0, 0]),
        (lambda text: text.replace("2. Effusion; edema", "2"), [0.5, 1, 2, 0, 0, 0, 0]),
    ],
)
def test_green_reads_forms_of_its_answer(change: Callable[[str], str], values: list[float]) -> None:
    assert Green().read(change(WELL)) == values


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot compare these reports.",
        WELL[: WELL.index("[Clinically Insignificant")],  # cut before the matched findings
        WELL[: WELL.index("3. Heart")],
        WELL.replace("3. Heart; lungs; bones", "Heart; lungs; bones"),
        WELL.replace("[Clinically Significant Errors]:", "[Errors]:"),
        WELL.replace("2. Effusion; edema", "many"),
        re.sub(r"\(a\)[\s\S]*?\n\n", "Some.\n\n", WELL, count=1),
    ],
    ids=["empty", "refusal", "cut", "cut in a section", "no number", "no errors", "no count", "no kind"],
)
def test_green_without_an_answer_is_no_zero(answer: str) -> None:
    with pytest.raises(UnreadableAnswerError) as raised:
        Green().read(answer)
    assert "Effusion" not in str(raised.value)


def test_an_unread_answer_does_not_enter_the_mean(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_GREEN", str(folders["llama"]))
    answering(monkeypatch, lambda text: WELL if "large . 0" in text else "cut off")
    metric = Green()
    statistics = metric.statistics(*pairs(3))
    values = metric.values(statistics, np.ones((1, 3)))
    assert values["green"][0] == 0.5
    assert values["green_missing_finding"][0] == 2
    assert values["green_unread"][0] == pytest.approx(2 / 3)
    alone = metric.alone(statistics)["green"]
    assert np.isnan(alone).sum() == 2
    assert len(alone) == 3


def test_green_cuts_texts_as_its_authors_do(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_GREEN", str(folders["llama"]))
    metric = Green()
    long = "heart\n" * 400
    assert metric.cut([long, "heart"]) == (300, [True, False])
    reference, candidate, _ = metric.question(long, Reference("s", "s", long))
    assert reference == candidate == " ".join(["heart"] * 300)


def test_green_s_chat_is_what_the_authors_template_gives(folders: dict[str, Path]) -> None:
    """Their template puts an empty answer before the model's own; written here as their rendering reads."""
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(folders["llama"])
    loaded.chat_template = (
        "{% for message in messages %}\n{% if message['from'] == 'human' %}\n"
        "{{ '<|user|>\n' + message['value'] + eos_token }}\n{% else %}\n"
        "{{ '<|assistant|>\n' + message['value'] + eos_token }}\n{% endif %}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
    )
    messages = [{"from": "human", "value": "the prompt"}, {"from": "gpt", "value": ""}]
    expected = loaded.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert green.chat(loaded, "", "the prompt") == expected


# ---------------------------------------------------------------- CRIMSON's answers


def content(**changes: Any) -> dict[str, Any]:
    """Two true findings, one found with a wrong side, one missed; one invented."""
    return {
        "reference_findings": [
            {
                "id": "R1",
                "finding": "right pleural effusion",
                "clinical_significance": "actionable_not_urgent",
            },
            {"id": "R2", "finding": "pneumothorax", "clinical_significance": "urgent"},
        ],
        "predicted_findings": [
            {
                "id": "P1",
                "finding": "left pleural effusion",
                "clinical_significance": "actionable_not_urgent",
            },
            {"id": "P2", "finding": "old scar", "clinical_significance": "not_actionable_not_urgent"},
        ],
        "matched_findings": [{"ref_id": "R1", "pred_id": "P1"}],
        "errors": {
            "false_findings": ["P2"],
            "missing_findings": ["R2"],
            "attribute_errors": [
                {"ref_id": "R1", "pred_id": "P1", "severity": "significant", "error_types": ["location"]}
            ],
        },
    } | changes


def errors(false: Sequence[str] = (), missing: Sequence[str] = ()) -> dict[str, list[Any]]:
    return {"false_findings": list(false), "missing_findings": list(missing), "attribute_errors": []}


def test_crimson_weighs_findings_and_attributes() -> None:
    score, *counts = Crimson().read(json.dumps(content()))
    assert score == pytest.approx((0.5 * 0.5 - 0.25) / 1.5)  # half a credit for the wrong side
    assert counts == [1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "score"),
    [
        ({"errors": errors(missing=["R2"])}, 0.5 / 1.5),
        ({"errors": errors(), "matched_findings": [{"ref_id": "R1"}, {"ref_id": "R2"}]}, 1.0),
        ({"errors": errors(), "matched_findings": [{"ref_id": "R2"}, {"ref_id": "R2"}]}, 1 / 1.5),
        ({"errors": errors(false=["P1", "P2"]), "matched_findings": []}, -0.75 / 1.75),
        ({"errors": errors(), "matched_findings": []}, 0.0),
        ({"reference_findings": [], "matched_findings": [], "errors": errors()}, 1.0),
        ({"reference_findings": [], "matched_findings": [], "errors": errors(false=["P1"])}, -0.5 / 1.5),
        ({"reference_findings": [{"id": "R1", "clinical_significance": "odd"}], "errors": errors()}, 1.0),
    ],
)
def test_crimson_s_score_follows_its_definition(changes: dict[str, Any], score: float) -> None:
    assert Crimson().read(json.dumps(content(**changes)))[0] == pytest.approx(score)


@pytest.mark.parametrize(
    "form",
    [
        lambda text: f"```json\n{text}\n```",
        lambda text: f"Here it is: {text} Done.",
        lambda text: text.replace("]", ",]").replace("[,]", "[]"),
        lambda text: text.replace("old scar", "old\\_scar"),
        lambda text: text.replace("old scar", "old\nscar"),
    ],
    ids=["fence", "words around", "commas", "escape", "line break"],
)
def test_crimson_forgives_forms(form: Callable[[str], str]) -> None:
    plain = json.dumps(content())
    assert Crimson().read(form(plain)) == Crimson().read(plain)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "The reports agree.",
        json.dumps(content())[:-30],  # cut: what is absent would count as no error
        json.dumps([content()])[1:-1].replace('"errors"', '"mistakes"'),
        json.dumps(content(errors=[])),
        json.dumps(content(errors={"false_findings": []})),
        json.dumps(content(matched_findings=["R1"])),
        json.dumps(content(matched_findings=[{"ref_id": "R7"}])),
        json.dumps(content(errors=errors(missing=["R7"]))),
        json.dumps(content(reference_findings=[{"finding": "mass"}])),
        json.dumps(content(reference_findings=[{"id": "R1"}, {"id": "R1"}])),
        json.dumps(content(predicted_findings=None)),
        "[" * 5000,
        "{" * 100_000,
    ],
)
def test_crimson_without_an_answer_is_no_zero(answer: str) -> None:
    with pytest.raises(UnreadableAnswerError) as raised:
        Crimson().read(answer)
    assert "pleural" not in str(raised.value)


@pytest.mark.parametrize(
    ("context", "block"),
    [
        (None, ""),
        ("", ""),
        (
            "age 54, sex female. indication: chest\npain",
            "    Age: 54\n    Sex: female\n    Indication: chest pain\n",
        ),
        ("indication: fever", "    Indication: fever\n"),
        ("cough for a week", "    Indication: cough for a week\n"),
    ],
)
def test_age_and_indication_go_into_the_prompt(context: str | None, block: str) -> None:
    assert crimson.context_block(context) == (f"Patient Context:\n{block}" if block else "")
    reference = Reference("s", "s", "the truth", context=context)
    assert Crimson().question("ours", reference) == ("the truth", "ours", crimson.context_block(context))


def test_the_module_of_a_judge_imports_no_torch() -> None:
    assert "torch" not in vars(base)
    assert "harness.metrics.judges.model" in sys.modules
