"""Reports in every file format. What a format needs is imported when it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.papers.checks import Contradiction
from harness.papers.compare import Report

KINDS = ("markdown", "latex", "html", "csv", "json")


def files(report: Report, kind: str) -> dict[str, str]:
    """File name -> content of one paper's report; ``kind`` is one of ``KINDS``.

    LaTeX has a file per table, to be input anywhere, and a document that inputs them.
    """
    if kind != "latex":
        suffix = {"markdown": "md"}.get(kind, kind)
        return {f"{report.paper.id}.{suffix}": text([report], kind)}
    from harness.papers.render import report_latex

    parts = {f"{name}.tex": content for name, content in report_latex.fragments(report).items()}
    return {**parts, f"{report.paper.id}-report.tex": report_latex.standalone(report, inputs=True)}


def text(reports: Sequence[Report], kind: str) -> str:
    """Reports as one text. LaTeX is one document for one paper, else the tables alone."""
    if kind == "json" or kind == "csv":
        from harness.papers.render import report_data

        return report_data.to_json(reports) if kind == "json" else report_data.to_csv(reports)
    if kind == "html":
        return _html(reports)
    if kind == "markdown":
        from harness.papers.render import report as text_report

        return "\n".join(text_report.to_markdown(report) for report in reports)
    from harness.papers.render import report_latex

    if len(reports) == 1:
        return report_latex.standalone(reports[0])
    return "\n".join(part for report in reports for part in report_latex.fragments(report).values())


def _html(reports: Sequence[Report]) -> str:
    """One page without scripts that fetches nothing."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from harness.papers.render.report import OUTSIDE, sheet, summary

    environment = Environment(
        loader=PackageLoader("harness.papers.render", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    papers = []
    for report in reports:
        checks, off = summary(report)
        facts = {
            name: getattr(report.paper, name) for name in ("id", "title", "reference", "source", "notes")
        }
        papers.append(
            {**facts, "sheets": [sheet(table) for table in report.tables], "checks": checks, "off": off}
        )
    return environment.get_template("report.html.j2").render(papers=papers, outside=OUTSIDE)


def checks(findings: Sequence[Contradiction]) -> str:
    """Every check on a line, with what does not add up and what is recorded about it."""
    lines = []
    for each in findings:
        lines.append(f"{each.state:8} {each.paper}/{each.check}: {each.says} [{each.tested} compared]")
        lines += [f"         - {problem}" for problem in each.problems]
        lines += [f"         recorded: {each.expected}"] if each.expected else []
    counts = Counter(each.state for each in findings)
    lines.append(", ".join(f"{count} {state}" for state, count in counts.items()) or "nothing to check")
    return "\n".join(lines) + "\n"
