"""A paper's report as LaTeX: one fragment per table, to be input anywhere, and a document that holds them."""

from __future__ import annotations

import re

from harness.leaderboard.render.latex import (
    PACKAGES,
    Float,
    braced,
    code,
    document,
    escape,
    itemize,
    multicolumn,
    small,
    table_format,
)
from harness.papers.compare import Report, ReportTable
from harness.papers.render.report import OUTSIDE, Line, OurCell, OurLine, Sheet, sheet, summary


def fragments(report: Report) -> dict[str, str]:
    """Name of each table's file, without its suffix -> its float."""
    paper = report.paper.id
    header = "".join(f"% {line}\n" for line in ["Needs in the preamble:", *PACKAGES.splitlines()])
    return {f"{paper}-{table.table.id}": header + _float(paper, table).tex() for table in report.tables}


def standalone(report: Report, *, inputs: bool = False) -> str:
    """A document with all tables, remarks and checks.

    Args:
        report: the paper beside our results.
        inputs: read the tables from the files of ``fragments`` instead of holding them.
    """
    paper = report.paper
    body = [f"{code(paper.id)}. {escape(paper.reference)}. Published numbers: {escape(paper.source)}."]
    body += itemize([escape(note) for note in paper.notes])
    for table in report.tables:
        name, content = f"{paper.id}-{table.table.id}", sheet(table)
        body.append(rf"\subsection*{{{escape(content.title)}}}")
        body.append(rf"\input{{{name}}}" if inputs else _float(paper.id, table).tex())
        body += itemize([escape(note) for note in content.notes])
        body.append(r"\FloatBarrier")
    text, off = summary(report)
    body += [r"\subsection*{Do the published numbers agree with each other?}", escape(text)]
    items = []
    for finding in off:
        reason = escape(finding.expected) if finding.expected else r"\textbf{Not recorded so far.}"
        problems = "; ".join(escape(problem) for problem in finding.problems)
        items.append(rf"\emph{{{escape(finding.says)}}}: {reason} ({problems}.)")
    return document(escape(paper.title), [*body, *itemize(items)])


def _float(paper: str, table: ReportTable) -> Float:
    content = sheet(table)
    lines: list[tuple[str, ...] | str] = []
    previous: Line | None = None
    for line in content.lines:
        same = previous is not None and previous.head[0] == line.head[0]
        if previous is not None and len(line.head) > 1 and not same:
            lines.append(r"\midrule")
        first = "" if same and len(line.head) > 1 else escape(line.head[0])
        head = (first, *(escape(text) for text in line.head[1:]))
        lines.append((*head, *map(_number, line.cells)))
        for ours in line.ours:
            lines += _ours(ours, len(content.headers))
        previous = line
    return Float(
        caption=f"{escape(_untitled(content.title))}. Published: {escape(content.where)}.",
        label=f"tab:{paper}-{table.table.id}",
        headers=tuple(map(escape, content.headers)),
        groups=tuple((escape(name), size) for name, size in content.groups),
        columns=tuple(map(escape, content.columns)),
        formats=_formats(content),
        lines=tuple(lines),
        notes=_legend(content),
    )


def _untitled(title: str) -> str:
    """The title without the number that the paper gave the table: LaTeX gives its own."""
    text = re.sub(r"^(Table|Fig\.) \w+: ", "", title)
    return text[:1].upper() + text[1:]


def _formats(content: Sheet) -> tuple[str, ...]:
    columns = []
    for place in range(len(content.columns)):
        texts = [line.cells[place] for line in content.lines]
        for line in content.lines:
            for ours in line.ours:
                texts += [ours.cells[place].value, ours.cells[place].difference]
        columns.append(table_format([plain for text in texts if _numeric(plain := text.replace(",", ""))]))
    return tuple(columns)


def _numeric(text: str) -> bool:
    digits = text.lstrip("+-").replace(".", "", 1)
    return digits.isascii() and digits.isdigit()


def _number(text: str) -> str:
    """A number as siunitx reads it; anything else in braces, a dash for what the paper does not print."""
    plain = text.replace(",", "")
    if _numeric(plain):
        return plain
    return braced("--" if text == "-" else escape(text))


def _ours(line: OurLine, headers: int) -> list[tuple[str, ...]]:
    """Values, below them intervals with flags, below them differences."""
    label = multicolumn(headers, rf"\quad\textit{{{escape(line.label)}}}")
    rows = [(label, *map(_value, line.cells))]
    if any(cell.interval or cell.flags for cell in line.cells):
        blank = multicolumn(headers, "")
        rows.append((blank, *(small(escape(cell.interval) + _raised(cell.flags)) for cell in line.cells)))
    if line.has_differences:
        label = multicolumn(headers, r"\quad\textit{difference}")
        rows.append((label, *(_difference(cell) for cell in line.cells)))
    return rows


def _value(cell: OurCell) -> str:
    if cell.advice is None:
        return _number(cell.value) if cell.value else ""
    return braced(f"{escape(cell.value)} ({cell.advice})".strip())


def _difference(cell: OurCell) -> str:
    if not cell.outside:
        return cell.difference.replace(",", "")
    return braced(rf"\(\mathbf{{{cell.difference}}}\)")


def _raised(letters: str) -> str:
    return rf"\textsuperscript{{{letters}}}" if letters else ""


def _legend(content: Sheet) -> tuple[str, ...]:
    lines = [
        f"({number}) {code(each.text) if each.runs else escape(each.text)}"
        for number, each in enumerate(content.advice, 1)
    ]
    lines += [escape(text) for text in content.flags]
    if content.outside:
        lines.append(f"Bold difference: {OUTSIDE.replace('%', chr(92) + '%')}.")
    lines += [f"Ours {escape(labels)}: {code(signature)}" for labels, signature in content.signatures]
    return tuple(lines)
