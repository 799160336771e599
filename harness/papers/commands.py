"""The command that fills a cell without a number of ours, or the reason why none does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

from harness.core import registry
from harness.papers.schema import Ours, Paper
from harness.papers.settings import assignments

COSTS = ("parameters", "flops", "training_seconds", "seconds_per_study", "peak_memory_gib")
"""What a run records about a method beside metrics."""

EMBEDDED = "iu-phantom"
"""The one dataset that needs no folder."""


@dataclass(frozen=True, slots=True)
class Filler:
    """What fills a cell.

    Attributes:
        dataset: registered name, or empty where ``text`` is all there is.
        profile: of the dataset, for its split and texts.
        settings: of the method, ``owner.key=value``.
        text: a command that is no ``harness run``, or why nothing fills the cell.
        by: attribute whose groups of test studies the cell needs.
        runs: whether ``text`` is a command.
    """

    dataset: str = ""
    profile: str = ""
    settings: tuple[str, ...] = ()
    method: str = ""
    preset: str = ""
    drop: str = ""
    rate: float = 0.0
    by: str = ""
    text: str = ""
    runs: bool = True
    advice: str = ""

    def command(self) -> str:
        """The command for this cell alone, or the reason."""
        return self.text or merged([self])[0].text


@dataclass(frozen=True, slots=True)
class Advice:
    """A line below a table: a command or a reason, and the cells that it is for."""

    text: str
    runs: bool
    fills: frozenset[Filler] = field(default_factory=frozenset)


def filler(paper: Paper, ours: Ours, detail: str) -> Filler:
    """What fills a cell with these settings.

    Args:
        paper: whose cell.
        ours: its settings, with method and metrics.
        detail: what a result without a value says about it.
    """
    method = ours.method or ""
    if registry.split_variant(method)[0] not in registry.METHODS:
        return Filler(text=f"no command: this version has no method {method}", runs=False)
    if ours.metrics and ours.metrics[0] in ("parameters", "flops"):
        return Filler(text=f"harness describe {method} --preset paper")
    if ours.dataset is None:
        return Filler(text="no command: the paper names no dataset", runs=False)
    dataset = paper.datasets[ours.dataset]
    readable = [name for name in (dataset.reader, *dataset.substitutes) if name in registry.DATASETS]
    if not readable:
        return Filler(text=f"no command: this version does not read {dataset.label}", runs=False)
    if ours.command and readable[0] == dataset.reader:
        return Filler(text=ours.command, advice=detail)
    is_papers_own = readable[0] == dataset.reader
    return Filler(
        readable[0],
        dataset.profile if is_papers_own else "",
        _settings(paper, ours) if is_papers_own else (),
        method,
        "paper" if is_papers_own else "",
        ours.drop or "",
        ours.rate or 0.0,
        by=(ours.group or "").partition("=")[0],
        advice=detail,
    )


def _settings(paper: Paper, ours: Ours) -> tuple[str, ...]:
    """What ``--set`` has to say for a cell: the paper's settings, and where pretrained weights come from."""
    owner = registry.split_variant(ours.method or "")[0]
    return assignments(owner, {**paper.settings(ours), **paper.weights_of(owner)})


def merged(fillers: Iterable[Filler]) -> list[Advice]:
    """As few lines as fill all cells: methods and rates of a dataset share a command.

    Settings of one method that differ from cell to cell take a command each.
    """
    groups: dict[tuple[Any, ...], list[Filler]] = {}
    for each in dict.fromkeys(fillers):
        place = (each.dataset, each.preset, each.drop, each.settings)
        key = ("", each.text, each.advice) if each.text else place
        groups.setdefault(key, []).append(each)
    return [_advice(group) for group in groups.values()]


def _advice(group: list[Filler]) -> Advice:
    first = group[0]
    text = first.text
    if not text:
        rates = sorted({each.rate for each in group if each.rate > 0.0})
        parts = ["harness run"]
        if first.dataset != EMBEDDED:
            parts.append(f"--dataset {first.dataset} --root DIR")
        parts.append(f"--methods {','.join(dict.fromkeys(each.method for each in group))}")
        if first.profile:
            parts.append(f"--set {first.dataset}.profile={first.profile}")
        parts += [f"--set {quote(setting)}" for setting in first.settings]
        if first.preset:
            parts.append(f"--preset {first.preset}")
        if rates:
            parts.append(f"--missing {','.join(f'{rate:g}' for rate in rates)}")
            if first.drop and first.drop != "context":
                parts.append(f"--drop {first.drop}")
        if attributes := list(dict.fromkeys(each.by for each in group if each.by)):
            parts.append(f"--by {','.join(attributes)}")
        text = " ".join(parts)
    details = list(dict.fromkeys(each.advice for each in group if each.advice))
    return (
        Advice(text, first.runs, frozenset(group))
        if not details
        else Advice(f"{text} ({'; '.join(details)})", first.runs, frozenset(group))
    )
