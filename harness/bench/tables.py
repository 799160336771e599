"""A run of benchmarks as a table: text for a terminal, markdown for a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.bench.history import Ratios
from harness.bench.rows import Row
from harness.core.errors import HarnessError
from harness.core.user_files import write_user_file
from harness.leaderboard.render.text import markdown as _inline

NUMERIC = ("ours", "peer", "ratio", "before")


def heading(facts: Mapping[str, Any]) -> str:
    """The machine, date and commit in one line."""
    parts = [
        facts["cpu"],
        f"{facts['cores']} of {facts['cpus']} cores",
        facts.get("gpu") or "no GPU",
        f"torch {facts['torch']}, threads: {facts['threads']}",
        f"Python {facts['python']}",
        facts["date"],
        f"commit {facts['commit']}" if facts["commit"] else f"harness {facts['harness']}",
    ]
    if facts["load"] is not None:
        parts.append(f"load at the start {facts['load']:g}")
    return ", ".join(parts)


def cells(rows: Sequence[Row], ratios: Ratios | None = None) -> list[dict[str, str]]:
    """Rows as text by column; ``before`` is there where a history is."""
    lines = []
    for row in rows:
        cell = {
            "suite": row.suite,
            "benchmark": row.benchmark,
            "ours": _value(row.ours, row.unit, row.gib),
            "peer": _value(row.peer, row.unit, row.peer_gib),
            "ratio": _ratio(row.ratio),
        }
        if ratios is not None:
            cell["before"] = _ratio(ratios.get(row.identity))
        state = row.state if row.state in ("failed", "skipped") else ""
        limits = "" if row.interval is None else "[{:.3f}, {:.3f}]".format(*row.interval)
        remark = "; ".join(part for part in (limits, row.of, row.note) if part)
        lines.append(cell | {"the peer, remarks": ": ".join(part for part in (state, remark) if part)})
    return lines


def markdown(facts: Mapping[str, Any], rows: Sequence[Row], ratios: Ratios | None = None) -> str:
    """The machine as a paragraph, then the tables; of one suite alone, without its name in each row."""
    lines = [heading(facts) + ".", "", *_matrices(rows)]
    listed = [row for row in rows if row.place is None]
    texts = cells(listed, ratios)
    if len(listed) < len(rows):
        lines += [f"- {_inline(each['benchmark'])}: {_inline(each['the peer, remarks'])}" for each in texts]
        return "\n".join(lines).rstrip("\n") + "\n"
    alone = len({row.suite for row in rows}) == 1
    columns = [column for column in texts[0] if not (alone and column == "suite")]
    lines.append("| " + " | ".join(columns) + " |")
    lines.append("|" + "|".join("--:" if column in NUMERIC else "---" for column in columns) + "|")
    lines += ["| " + " | ".join(_inline(each[column]) for column in columns) + " |" for each in texts]
    return "\n".join(lines) + "\n"


def _matrices(rows: Sequence[Row]) -> list[str]:
    """The cells that have a place, as tables with a caption each."""
    tables: dict[str, dict[str, dict[str, Row]]] = {}
    for row in rows:
        if row.place is not None:
            caption, line, column = row.place
            tables.setdefault(caption, {}).setdefault(line, {})[column] = row
    lines = []
    for caption, by_line in tables.items():
        columns = list(dict.fromkeys(column for of_line in by_line.values() for column in of_line))
        sizes = [
            _size(of_line[column] for of_line in by_line.values() if column in of_line) for column in columns
        ]
        lines += [f"**{_inline(caption[:1].upper() + caption[1:])}**", ""]
        lines.append(
            "| | " + " | ".join(f"{column}{size}" for column, size in zip(columns, sizes, strict=True)) + " |"
        )
        lines.append("|---|" + "--:|" * len(columns))
        for name, of_line in by_line.items():
            cell = (_cell(of_line[column]) if column in of_line else "" for column in columns)
            lines.append(f"| `{name}` | " + " | ".join(cell) + " |")
        lines.append("")
    return lines


def _size(rows: Iterable[Row]) -> str:
    """The remark that all cells of a column share, e.g. their number of pairs."""
    notes = {row.note for row in rows}
    return f" ({notes.pop()})" if len(notes) == 1 else ""


def _cell(row: Row) -> str:
    if row.ours is None or not math.isfinite(row.ours):
        return "n/a"
    value = _short(row.ours)
    return (
        value if row.interval is None else f"{value} [{_short(row.interval[0])}, {_short(row.interval[1])}]"
    )


def _short(value: float) -> str:
    """Two decimals without a zero in front."""
    text = f"{abs(value):.2f}"
    text = text[1:] if text.startswith("0") else text
    return f"-{text}" if value < 0 and float(text) else text


def check_page(path: Path, suites: Iterable[str]) -> None:
    """Check that a page has a place for each of these suites, before anything is measured.

    Raises:
        HarnessError: no such page, or no two marks of a suite on it.
    """
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    for suite in suites:
        _parts(path, page, suite)


def put_into(path: Path, facts: Mapping[str, Any], rows: Sequence[Row], ratios: Ratios | None = None) -> None:
    """Replace what stands between the marks of each suite on a page; one that was skipped keeps its table."""
    page = path.read_text(encoding="utf-8")
    for suite in dict.fromkeys(row.suite for row in rows if row.state != "skipped"):
        head, tail = _parts(path, page, suite)
        of_suite = [row for row in rows if row.suite == suite]
        page = f"{head}\n{markdown(facts, of_suite, ratios)}\n{tail}"
    write_user_file(path, page.encode())


def _parts(path: Path, page: str, suite: str) -> tuple[str, str]:
    """A page up to and with the first mark of a suite, and from its second one on."""
    begin, end = f"<!-- harness bench {suite} -->\n", f"<!-- end of harness bench {suite} -->"
    head, opened, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (opened and closed):
        raise HarnessError(
            f"--into {path}: nothing between {begin.strip()} and {end}", "write these two lines into it"
        )
    return head + begin, end + tail


def _value(value: float | None, unit: str, gib: float | None) -> str:
    if value is None:
        return ""
    memory = f", {gib:.2f} GiB" if gib is not None else ""
    if unit == "GiB":
        return f"{value:.2f} GiB"
    if unit.endswith("/s") or (unit == "s" and value >= 100):
        return f"{value:,.0f} {unit}{memory}"
    return f"{value:.3f} {unit}".rstrip() if unit not in ("s",) else f"{value:.3g} s{memory}"


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}" if ratio < 1 else f"{ratio:.1f}"
