"""A paper's report as text for every format, and as GitHub markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.leaderboard.render.text import code, markdown
from harness.papers.checks import Contradiction
from harness.papers.commands import Advice, merged
from harness.papers.compare import FLAGS, Measured, Report, ReportCell, ReportRow, ReportTable, Run
from harness.papers.schema import UNREADABLE, PublishedCell

OUTSIDE = "the published number lies outside our 95 % interval"


@dataclass(frozen=True, slots=True)
class OurCell:
    """Our number in a cell as text; all empty where the table asks for none.

    Attributes:
        flags: letters of ``FLAGS``.
        advice: number of the line below the table that says what fills the cell.
    """

    value: str = ""
    interval: str = ""
    difference: str = ""
    outside: bool = False
    flags: str = ""
    advice: int | None = None


@dataclass(frozen=True, slots=True)
class OurLine:
    """One line of ours below a published row."""

    label: str
    cells: tuple[OurCell, ...]

    @property
    def has_differences(self) -> bool:
        """Whether any cell can be compared."""
        return any(cell.difference for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Line:
    """A published row as text with our lines below it."""

    head: tuple[str, ...]
    cells: tuple[str, ...]
    ours: tuple[OurLine, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table as text, in the paper's order; every format prints this."""

    title: str
    where: str
    headers: tuple[str, ...]
    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    decimals: tuple[int, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    flags: tuple[str, ...]
    signatures: tuple[tuple[str, str], ...]
    advice: tuple[Advice, ...]
    outside: bool


def sheet(table: ReportTable) -> Sheet:
    """The texts of a table."""
    advice = merged(cell.fill for row in table.rows for cell in row.cells if cell.fill)
    columns = table.table.columns
    lines = tuple(_line(row, advice) for row in table.rows)
    cells = [cell for line in lines for ours in line.ours for cell in ours.cells]
    return Sheet(
        title=table.table.title,
        where=table.table.where[:1].upper() + table.table.where[1:],
        headers=table.table.headers,
        groups=_runs_of([column.group for column in columns]),
        columns=tuple(column.label for column in columns),
        decimals=tuple(column.decimals for column in columns),
        lines=lines,
        notes=(*table.table.notes, *_remarks(table)),
        flags=_legend(table),
        signatures=_signatures(table),
        advice=tuple(advice),
        outside=any(cell.outside for cell in cells),
    )


def published(cell: PublishedCell, decimals: int) -> str:
    """What the paper prints: ``0.729 ± 0.107``, ``-`` for nothing, ``?`` for what is not readable."""
    if cell.value is None:
        return UNREADABLE if cell.state == "unreadable" else "-"
    text = plain(cell.value, decimals)
    return text if cell.spread is None else f"{text} ± {plain(cell.spread, decimals)}"


def plain(value: float, decimals: int) -> str:
    """A number with the column's digits; thousands have commas."""
    return f"{value:,.{decimals}f}"


def _line(row: ReportRow, advice: Sequence[Advice]) -> Line:
    cells = tuple(published(cell.published, cell.column.decimals) for cell in row.cells)
    runs: Sequence[Run | None] = row.runs or ([None] if row.method else [])
    ours = tuple(
        OurLine(_label(row, run), tuple(_ours(cell, run, advice) for cell in row.cells)) for run in runs
    )
    return Line(row.row.head, cells, ours)


def _label(row: ReportRow, run: Run | None) -> str:
    if run is None:
        return f"ours: {row.method}, not measured"
    seed = f", seed {run.seed}" if len(row.runs) > 1 else ""
    return f"ours: {row.method} ({run.preset}{seed})"


def _ours(cell: ReportCell, run: Run | None, advice: Sequence[Advice]) -> OurCell:
    measured = cell.measured.get(run) if run is not None else None
    if measured is None or measured.value is None:
        status = "" if measured is None else measured.status
        number = next((n for n, each in enumerate(advice, 1) if cell.fill in each.fills), None)
        return OurCell(value=status if status not in ("", "ok") else "", advice=number)
    return _number(measured, cell.column.decimals)


def _number(measured: Measured, decimals: int) -> OurCell:
    interval, difference = "", ""
    if measured.ci95 is not None:
        interval = f"[{plain(measured.ci95[0], decimals)}, {plain(measured.ci95[1], decimals)}]"
    if measured.difference is not None:
        difference = f"{measured.difference:+,.{decimals}f}"
    flags = "".join(dict.fromkeys(flag.kind for flag in measured.flags))
    assert measured.value is not None
    return OurCell(plain(measured.value, decimals), interval, difference, measured.outside, flags)


def _legend(table: ReportTable) -> tuple[str, ...]:
    """One line per letter: its meaning, and its cases in the table."""
    texts_of: dict[str, dict[str, list[str]]] = {}
    for flag in table.flags():
        about = texts_of.setdefault(flag.kind, {}).setdefault(flag.text, [])
        if flag.about and flag.about not in about:
            about.append(flag.about)
    return tuple(
        f"{kind}: {FLAGS[kind]}: "  # type: ignore[index]
        + "; ".join(f"{', '.join(about)}: {text}" if about else text for text, about in texts.items())
        for kind, texts in texts_of.items()
    )


def _signatures(table: ReportTable) -> tuple[tuple[str, str], ...]:
    """Column headings and the signature of our numbers below them."""
    labels_of: dict[str, list[str]] = {}
    for row in table.rows:
        for cell in row.cells:
            for measured in cell.measured.values():
                labels = labels_of.setdefault(measured.row.signature, [])
                if measured.value is not None and cell.column.label not in labels:
                    labels.append(cell.column.label)
    return tuple(
        (", ".join(labels), signature) for signature, labels in labels_of.items() if labels and signature
    )


def _remarks(table: ReportTable) -> list[str]:
    """The notes on rows and cells, each with all places that it is for."""
    places: dict[str, list[str]] = {}
    for row in table.rows:
        name = " / ".join(text for text in row.row.head if text)
        if row.row.note:
            places.setdefault(row.row.note, []).append(name)
        for cell in row.cells:
            if cell.published.note:
                heading = f"{cell.column.group} {cell.column.label}".strip()
                places.setdefault(cell.published.note, []).append(f"{name}, {heading}")
    return [f"{'; '.join(names)}: {note}." for note, names in places.items()]


def _runs_of(names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Neighbouring equal names and how many there are."""
    runs: list[tuple[str, int]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return tuple(runs)


def summary(report: Report) -> tuple[str, list[Contradiction]]:
    """One line on the checks, and those that do not hold."""
    off = [finding for finding in report.findings if finding.problems]
    tested = sum(finding.tested for finding in report.findings)
    held = sum(finding.state == "holds" for finding in report.findings)
    if not report.findings:
        return "Nothing to check: the source gives no numbers that have to agree.", []
    return f"{held} of {len(report.findings)} checks hold ({tested} comparisons).", off


def to_markdown(report: Report) -> str:
    """The report of one paper."""
    paper = report.paper
    lines = [f"# {markdown(paper.title)}", "", f"`{paper.id}`. {markdown(paper.reference)}.", ""]
    lines += [
        f"Published numbers: {markdown(paper.source)}. Lines that begin with *ours* are measured here.",
        "",
    ]
    if paper.notes:
        lines += [*(f"- {markdown(note)}" for note in paper.notes), ""]
    for table in report.tables:
        lines += markdown_table(sheet(table))
    text, off = summary(report)
    lines += ["## Do the published numbers agree with each other?", "", text, ""]
    for finding in off:
        reason = f" {markdown(finding.expected)}" if finding.expected else " **Not recorded so far.**"
        lines.append(f"- *{markdown(finding.says)}*:{reason}")
        lines += [f"  - {markdown(problem)}" for problem in finding.problems]
    return "\n".join(lines).rstrip() + "\n"


def markdown_table(content: Sheet) -> list[str]:
    """Lines of one table with its notes."""
    grouped = len(content.groups) > 1 or bool(content.groups[0][0])
    names = [name for name, size in content.groups for _ in range(size)]
    columns = [
        f"{name} {label}".strip() if grouped else label
        for name, label in zip(names, content.columns, strict=True)
    ]
    lines = [f"## {markdown(content.title)}", "", f"{markdown(content.where)}.", ""]
    lines += [_cells([*content.headers, *columns])]
    lines += ["|" + "|".join([":--"] * len(content.headers) + ["--:"] * len(columns)) + "|"]
    for line in content.lines:
        lines.append(_cells([*line.head, *line.cells]))
        for ours in line.ours:
            blank = [""] * (len(content.headers) - 1)
            lines.append(_raw([*blank, f"*{markdown(ours.label)}*", *map(_markdown_cell, ours.cells)]))
            if ours.has_differences:
                differences = [cell.difference + ("\\*" if cell.outside else "") for cell in ours.cells]
                lines.append(_raw([*blank, "*difference*", *differences]))
    lines.append("")
    for number, each in enumerate(content.advice, 1):
        lines.append(f"{number}. {code(each.text) if each.runs else markdown(each.text)}")
    lines += [""] if content.advice else []
    lines += [f"- {markdown(text)}" for text in content.flags]
    lines += [f"- \\*: {OUTSIDE}."] if content.outside else []
    lines += [f"- ours {markdown(labels)}: {code(signature)}" for labels, signature in content.signatures]
    lines += [f"- {markdown(note)}" for note in content.notes]
    return [*lines, ""] if lines[-1] else lines


def _markdown_cell(cell: OurCell) -> str:
    text = " ".join(part for part in (cell.value, cell.interval) if part)
    if cell.flags:
        text += f" <sup>{cell.flags}</sup>"
    if cell.advice is not None:
        text = f"{text} ({cell.advice})".strip()
    return text


def _cells(texts: Sequence[str]) -> str:
    return _raw([markdown(text) for text in texts])


def _raw(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"
