"""The text below a table of ``harness downstream``: differences, findings, and the paper's own numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.leaderboard.facts import RowFacts
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render.text import markdown as escaped
from harness.papers import library
from harness.papers.compare import Report, Results, compare
from harness.papers.render import report as text_report
from harness.papers.render import report_latex
from harness.store.manifest import Downstream
from harness.store.row_labels import DOWNSTREAM, DOWNSTREAM_SCORES, TRAINED_ON

_TITLES = {"auroc": "AUROC", "f1": "F1", "coarse_auroc": "coarse AUROC", "coarse_f1": "coarse F1"}


def markdown(leaderboard: Leaderboard) -> str:
    """Per generator the differences to real images and a table of findings; then the papers' tables."""
    parts = []
    for facts in leaderboard.results.values():
        if facts.downstream is not None:
            parts += ["", *_generator(facts, facts.downstream)]
    for each in papers(leaderboard):
        for table in each.tables:
            title = escaped(each.paper.title)
            content = text_report.sheet(table)
            parts += ["", f"### As published: {title}", "", *text_report.markdown_table(content)]
    return "\n".join(parts).rstrip() + "\n"


def latex(leaderboard: Leaderboard) -> str:
    """The papers' tables, to be input after the generators'."""
    return "\n".join(part for each in papers(leaderboard) for part in report_latex.fragments(each).values())


def papers(leaderboard: Leaderboard) -> list[Report]:
    """The generators' papers, with only the tables that ask for these numbers, ours beside."""
    generators = {facts.trained for facts in leaderboard.results.values() if facts.downstream}
    reports = []
    for name in library.names():
        paper = library.load(name)
        if paper.method not in generators:
            continue
        tables = tuple(
            table
            for table in paper.tables
            if any(
                set(table.ours_at(row, column).metrics or ()) & set(DOWNSTREAM)
                for row in table.rows
                for column in table.columns
            )
        )
        if tables:
            part = paper.model_copy(update={"tables": tables, "checks": ()})
            reports.append(compare(part, Results.of(leaderboard.rows, leaderboard.results)))
    return reports


def _generator(facts: RowFacts, downstream: Downstream) -> Iterator[str]:
    name = f"{facts.method} ({facts.preset}, seed {facts.seed})"
    yield f"### {escaped(name)}: each finding"
    yield ""
    yield (
        f"The classifier learned from {downstream.training_studies} studies. Macro averages, minus what the "
        "one trained on real images has:"
    )
    for score, differences in downstream.minus_real.items():
        texts = "; ".join(f"{on} {_number(value, '+.3f')}" for on, value in differences.items())
        yield f"- {_TITLES[score]}: {texts}"
    for scores in (DOWNSTREAM_SCORES[:2], DOWNSTREAM_SCORES[2:]):
        yield ""
        heads = [f"{_TITLES[score]} {on}" for score in scores for on in TRAINED_ON]
        yield _line(["finding", "positive in training", "in test", *heads])
        yield "|" + "|".join([":--"] + ["--:"] * (len(heads) + 2)) + "|"
        for finding, each in downstream.findings.items():
            cells = [_number(getattr(each, score)[on], ".3f") for score in scores for on in TRAINED_ON]
            label = escaped(finding) + ("" if each.averaged else ", not averaged")
            yield _line([label, str(each.train), str(each.test), *cells])
    yield ""
    for finding, reason in downstream.absent.items():
        yield f"- {escaped(finding)} is left out: {escaped(reason)}"


def _number(value: Sequence[float | None], form: str) -> str:
    """``0.812 [0.780, 0.843]``."""
    one, lo, hi = ("undefined" if part is None else format(part, form) for part in value)
    return f"{one} [{lo}, {hi}]"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
