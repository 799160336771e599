"""Is every cell of a paper measured, one command away, or explained? And do the printed commands parse?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from harness.core.errors import HarnessError
from harness.papers.commands import merged
from harness.papers.compare import Report, ReportCell, ReportRow, ReportTable

State = Literal["blank", "measured", "command", "reason", "unexplained"]

_WORDS: dict[State, str] = {
    "measured": "measured",
    "command": "with a command",
    "reason": "with a reason",
    "unexplained": "unexplained",
}

_OTHERS = "another system's row, which is not reimplemented"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What there is to say about a paper's cells and commands.

    Attributes:
        states: state -> number of cells.
        unexplained: source of each cell that is not measured, has no command and no reason.
        reasons: why nothing can stand beside a cell -> number of cells.
        commands: printed command -> what is wrong with it; empty where nothing is.
    """

    paper: str
    states: Counter[State]
    unexplained: tuple[str, ...]
    reasons: Counter[str]
    commands: dict[str, str]

    @property
    def sound(self) -> bool:
        """Whether every cell is accounted for and every command parses."""
        return not self.unexplained and not any(self.commands.values())


def examine(report: Report, check: Callable[[str], None]) -> Coverage:
    """Account for every cell of a paper and check the commands that fill the gaps.

    Args:
        report: the paper beside our results.
        check: raises a HarnessError where a command would not run.
    """
    states: Counter[State] = Counter()
    reasons: Counter[str] = Counter()
    unexplained: list[str] = []
    for table, row, cell in _cells(report):
        state, text = state_of(table, row, cell)
        states[state] += 1
        if state == "reason":
            reasons[text] += 1
        elif state == "unexplained":
            unexplained.append(cell.source)
    commands = {line: "" for table in report.tables for line in _lines_below(table)}
    for line in commands:
        try:
            check(line)
        except HarnessError as error:
            commands[line] = str(error)
    return Coverage(report.paper.id, states, tuple(unexplained), reasons, commands)


def state_of(table: ReportTable, row: ReportRow, cell: ReportCell) -> tuple[State, str]:
    """What there is for a cell, and the command or the reason."""
    if cell.published.state == "blank":
        return "blank", ""
    if any(measured.value is not None for measured in cell.measured.values()):
        return "measured", ""
    if cell.fill is not None:
        return ("command" if cell.fill.runs else "reason"), cell.fill.command()
    settings = table.table.ours_at(row.row, cell.column)
    if settings.reason:
        return "reason", settings.reason
    if cell.measured:
        return "reason", "measured, and not finite"
    has_own = any(each.method for each in table.rows)
    return ("reason", _OTHERS) if has_own and not row.row.ours.method else ("unexplained", "")


def text(coverages: list[Coverage]) -> str:
    """A paragraph per paper: its cells by state, its commands, and what is wrong."""
    return "".join(line + "\n" for each in coverages for line in _lines(each))


def _lines(coverage: Coverage) -> Iterator[str]:
    total = sum(coverage.states.values()) - coverage.states["blank"]
    counts = ", ".join(f"{coverage.states[state]} {words}" for state, words in _WORDS.items())
    yield f"{coverage.paper}: {total} cells: {counts}; {len(coverage.commands)} commands"
    for reason, number in coverage.reasons.items():
        yield f"  {number} cells: {reason}"
    for command, problem in coverage.commands.items():
        yield f"  {'ok' if not problem else 'WRONG'}  {command}" + (f"\n    {problem}" if problem else "")
    for source in coverage.unexplained:
        yield f"  UNEXPLAINED  {source}"


def _lines_below(table: ReportTable) -> Iterator[str]:
    """The commands that the report prints below a table, without what stands behind them in brackets."""
    fillers = [
        cell.fill for row in table.rows for cell in row.cells if cell.fill is not None and cell.fill.runs
    ]
    for advice in merged(replace(filler, advice="") for filler in fillers):
        yield advice.text


def _cells(report: Report) -> Iterator[tuple[ReportTable, ReportRow, ReportCell]]:
    for table in report.tables:
        for row in table.rows:
            for cell in row.cells:
                yield table, row, cell
