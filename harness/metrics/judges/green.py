"""GREEN (Ostmeier et al. 2024): a fine-tuned model counts errors of six kinds, and matched findings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from harness.core.types import Reference
from harness.metrics.base import MetricOutput
from harness.metrics.judges.base import Judge, UnreadableAnswerError
from harness.metrics.judges.model import JudgeFolder, Writer

KINDS = (
    "false_finding",
    "missing_finding",
    "location",
    "severity",
    "false_comparison",
    "missing_comparison",
)
"""Kinds of errors in the model's order, a to f."""

WORDS = 300
"""Words of each text that the prompt holds, as in the authors' code."""

_SECTION = r"\[{}\]:\s*(.*?)(?:\n\s*\n|\Z)"
_LINE = re.compile(r"\(([a-f1-6])\) (.*)")
_COUNT = re.compile(r"(?<=: )\d+\b(?=\.|\s*$)")
_NONE = re.compile(r"(?:.*: )?(?:no|none|n/a)\b.*", re.IGNORECASE)
_MATCHED = re.compile(r"(\d+)\.")


class Green(Judge):
    """Mean over studies of GREEN: matched findings / (matched findings + significant errors).

    Beside it, the mean number of significant errors of each kind, and the share of answers that cannot be
    read. A report without a matched finding scores 0.

    Args:
        max_new_tokens: longest answer.
    """

    name: ClassVar[str] = "green"
    folder: ClassVar[JudgeFolder] = JudgeFolder("HARNESS_GREEN", "green")
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("green"),
        *(MetricOutput(f"green_{kind}", False, (0.0, float("inf")), unit="errors") for kind in KINDS),
        MetricOutput("green_unread", False),
    )

    def __init__(self, max_new_tokens: int = 1024) -> None:
        self.max_new_tokens = max_new_tokens

    @property
    def details(self) -> str:
        """Words of a text, and the longest answer."""
        return f"words:{WORDS}|answer:{self.max_new_tokens}"

    def writer(self) -> Writer:
        """The model behind the authors' own chat marks."""
        if self.folder.path is None:
            raise ValueError("no folder")
        return Writer(self.folder.path, chat, self.max_new_tokens, special_tokens=True)

    def question(self, candidate: str, reference: Reference) -> tuple[str, str, str]:
        """Both texts, each cut after ``WORDS`` words and on one line."""
        return _cut(reference.report or ""), _cut(candidate), ""

    def cut(self, texts: Sequence[str]) -> tuple[int, list[bool]]:
        """Which texts have more words than the prompt holds."""
        return WORDS, [len(text.split()) > WORDS for text in texts]

    def read(self, answer: str) -> list[float]:
        """GREEN and the significant errors of each kind."""
        matched, errors = matched_findings(answer), significant_errors(answer)
        total = matched + sum(errors)
        return [matched / total if matched else 0.0, *(float(count) for count in errors)]


def chat(tokenizer: Any, system: str, prompt: str) -> str:
    """A prompt between the marks of the fine-tuning: an empty answer, then the model's own."""
    end = tokenizer.eos_token
    return f"<|user|>\n{prompt}{end}\n<|assistant|>\n{end}\n<|assistant|>\n"


def matched_findings(answer: str) -> int:
    """The number of matched findings.

    Raises:
        UnreadableAnswerError: the section is absent or has no number.
    """
    body = _section(answer, "Matched Findings")
    if match := _MATCHED.match(body):
        return int(match[1])
    if _NONE.fullmatch(body.partition("\n")[0]):
        return 0
    raise UnreadableAnswerError("no number of matched findings")


def significant_errors(answer: str) -> list[int]:
    """Significant errors of the six kinds; a kind that the answer leaves out has none.

    Raises:
        UnreadableAnswerError: the section is absent, names no kind, or a kind has no number.
    """
    body = _section(answer, "Clinically Significant Errors")
    counts = dict.fromkeys("abcdef", 0)
    lines = _LINE.findall(body)
    if not lines and not _NONE.match(body):
        raise UnreadableAnswerError("no kind of error")
    for mark, line in lines:
        if match := _COUNT.search(line):
            count = int(match[0])
        elif _NONE.fullmatch(line):
            count = 0
        else:
            raise UnreadableAnswerError("a kind of error without a number")
        counts[mark if mark in counts else "abcdef"[int(mark) - 1]] = count
    return list(counts.values())


def _section(answer: str, title: str) -> str:
    match = re.search(_SECTION.format(re.escape(title)), answer, re.DOTALL)
    if match is None or not match[1].strip():
        raise UnreadableAnswerError(f"no section {title}")
    return match[1].strip()


def _cut(text: str) -> str:
    return " ".join(text.split()[:WORDS])
