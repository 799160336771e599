"""CRIMSON (Baharoon et al. 2026): a model lists findings and errors, whose weights make the score."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from harness.core.types import Reference
from harness.metrics.base import MetricOutput
from harness.metrics.judges.base import Judge, UnreadableAnswerError
from harness.metrics.judges.model import JudgeFolder, Writer

SIGNIFICANCE: Mapping[str, float] = {
    "urgent": 1.0,
    "actionable_not_urgent": 0.5,
    "not_actionable_not_urgent": 0.25,
    "benign_expected": 0.0,
}
"""How much a finding weighs."""

SEVERITY: Mapping[str, float] = {"significant": 0.5, "negligible": 0.0}
"""How much a wrong attribute of a matched finding weighs."""

_OTHER = 0.25
"""Weight of a level that the prompt does not name, as in the authors' code."""

_CONTEXT = re.compile(
    r"(?:age (?P<Age>[^,.]+))?(?:, )?(?:sex (?P<Sex>\w+))?(?:\. )?indication: (?P<Indication>.*)", re.DOTALL
)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_ESCAPE = re.compile(r'\\(?!["\\/bfnrtu])')
_COMMA = re.compile(r",(\s*[}\]])")


class Crimson(Judge):
    """Mean over studies of CRIMSON, in (-1, 1]: 1 without an error, below 0 where false findings outweigh.

    Age and indication go into the prompt where the study has a context. Beside the score, the mean numbers of
    false findings, missing findings and wrong attributes, and the share of answers that cannot be read.

    Args:
        max_new_tokens: longest answer.
    """

    name: ClassVar[str] = "crimson"
    folder: ClassVar[JudgeFolder] = JudgeFolder("HARNESS_CRIMSON", "crimson")
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("crimson", bounds=(-1.0, 1.0)),
        *(
            MetricOutput(f"crimson_{kind}", False, (0.0, float("inf")), unit="errors")
            for kind in ("false", "missing", "attribute")
        ),
        MetricOutput("crimson_unread", False),
    )

    def __init__(self, max_new_tokens: int = 8192) -> None:
        self.max_new_tokens = max_new_tokens

    @property
    def details(self) -> str:
        """What the prompt holds besides the texts, and the longest answer."""
        return f"context:age-sex-indication|answer:{self.max_new_tokens}"

    def writer(self) -> Writer:
        """The model behind its own chat template."""
        if self.folder.path is None:
            raise ValueError("no folder")
        return Writer(self.folder.path, chat, self.max_new_tokens)

    def question(self, candidate: str, reference: Reference) -> tuple[str, str, str]:
        """Both texts and the patient's context."""
        return reference.report or "", candidate, context_block(reference.context)

    def read(self, answer: str) -> list[float]:
        """Score, false findings, missing findings, wrong attributes."""
        return evaluated(parsed(answer))


def chat(tokenizer: Any, system: str, prompt: str) -> str:
    """A prompt in the chat template of the tokenizer."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text


def context_block(context: str | None) -> str:
    """Age, sex and indication, a line each, as the model was trained on; empty without a context."""
    if not context:
        return ""
    match = _CONTEXT.fullmatch(context)
    facts = match.groupdict() if match else {"Indication": context}
    lines = [f"    {name}: {' '.join(value.split())}\n" for name, value in facts.items() if value]
    return "Patient Context:\n" + "".join(lines)


def parsed(answer: str) -> dict[str, Any]:
    """The JSON object of an answer.

    A code fence, words around the object, commas before a closing bracket and wrong escapes are forgiven. A
    cut object is not completed: what is absent would count as no error.

    Raises:
        UnreadableAnswerError: there is no object, or not the one that was asked for.
    """
    fenced = _FENCE.search(answer)
    text = fenced[1] if fenced else answer
    text = text[text.find("{") : text.rfind("}") + 1]
    try:
        content = json.loads(_COMMA.sub(r"\1", _ESCAPE.sub(r"\\\\", text)), strict=False)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswerError("no JSON object") from error
    if not isinstance(content, dict) or not isinstance(content.get("errors"), dict):
        raise UnreadableAnswerError("no object with errors")
    return content


def evaluated(content: Mapping[str, Any]) -> list[float]:
    """Score and numbers of errors of a judgement.

    Raises:
        UnreadableAnswerError: a list is absent, or names a finding that is not listed.
    """
    errors = content["errors"]
    true, ours = (_weights(content, side) for side in ("reference_findings", "predicted_findings"))
    false = [_known(each, ours) for each in _list(errors, "false_findings")]
    missing = [_known(each, true) for each in _list(errors, "missing_findings")]
    attributes = [_objects(each) for each in _list(errors, "attribute_errors")]
    matches = [_objects(each) for each in _list(content, "matched_findings")]
    correct = _correct([_known(each.get("ref_id"), true) for each in matches], attributes, true)
    score = crimson(correct, sum(ours[each] for each in false), sum(true[each] for each in missing), true)
    return [score, float(len(false)), float(len(missing)), float(len(attributes))]


def crimson(correct: float, false: float, missing: float, true: Mapping[str, float]) -> float:
    """The score from weights of correct, false and missing findings and of all true ones.

    Without a true finding that weighs anything the score is 1 if nothing is wrong. A negative score is bent
    so that it stays above -1.
    """
    if not sum(true.values()):
        score = 1.0 if not false and not missing else -(false + missing + 1.0)
    else:
        score = (correct - false) / sum(true.values())
    if score >= 0:
        return score
    excess = false - correct
    return -excess / (1.0 + excess) if excess > 0 else 0.0


def _correct(
    matched: Sequence[str], attributes: Sequence[Mapping[str, Any]], true: Mapping[str, float]
) -> float:
    """Weight of the matched findings, each once, less where attributes are wrong."""
    total = 0.0
    for finding in dict.fromkeys(matched):
        own = [
            SEVERITY.get(str(each.get("severity")), _OTHER)
            for each in attributes
            if each.get("ref_id") == finding
        ]
        weight = true[finding]
        total += weight * weight / (weight + sum(own)) if weight + sum(own) > 0 else 0.0
    return total


def _weights(content: Mapping[str, Any], side: str) -> dict[str, float]:
    findings = [_objects(each) for each in _list(content, side)]
    ids = [each.get("id") for each in findings]
    if not all(isinstance(each, str) for each in ids) or len(set(ids)) < len(ids):
        raise UnreadableAnswerError(f"{side} without an id each")
    return {
        str(each["id"]): SIGNIFICANCE.get(str(each.get("clinical_significance")), _OTHER) for each in findings
    }


def _list(content: Mapping[str, Any], name: str) -> list[Any]:
    value = content.get(name)
    if not isinstance(value, list):
        raise UnreadableAnswerError(f"no list {name}")
    return value


def _objects(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UnreadableAnswerError("a list of something other than objects")
    return value


def _known(finding: Any, listed: Mapping[str, float]) -> str:
    if not isinstance(finding, str) or finding not in listed:
        raise UnreadableAnswerError("a finding that is not listed")
    return finding
