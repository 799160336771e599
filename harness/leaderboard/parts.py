"""Which rows share a table: a metric has one signature in it, and a method one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.store.results import Measurement

Identity = tuple[str, str, int]
"""Method, preset and seed."""


@dataclass(slots=True)
class _Line:
    """Rows of one method, preset and seed that may stand in one line: of one version, without two signatures.

    Attributes:
        version: of the results; see ``selection.version``.
        signatures: metric -> signature.
    """

    version: str
    signatures: dict[str, str] = field(default_factory=dict)
    rows: list[Measurement] = field(default_factory=list)

    def agrees(self, signatures: Mapping[str, str]) -> bool:
        """Whether no metric has another signature there."""
        return all(self.signatures.get(name, own) == own for name, own in signatures.items())

    def add(self, rows: Sequence[Measurement]) -> None:
        """Put rows in."""
        self.signatures.update(_signatures(rows))
        self.rows.extend(rows)


def declared(rows: Sequence[Measurement]) -> list[Measurement]:
    """Rows of methods for which at least one cell is not ``n/a``."""
    able = {_identity(row) for row in rows if row.status != "n/a"}
    return [row for row in rows if _identity(row) in able]


def by_signatures(rows: Sequence[Measurement], versions: Mapping[str, str]) -> list[list[Measurement]]:
    """Split rows into tables: in each, every metric has one signature, and every method one line.

    Args:
        rows: of one protocol and group of metrics.
        versions: result key -> version; results of one method share a line only where it agrees.
    """
    lines = _lines(rows, versions)
    parts: list[tuple[_Line, set[Identity]]] = []
    # A method's line with most numbers comes before its other lines, so that it stands beside other methods.
    most = max(map(len, lines.values()), default=0)
    for rank in range(most):
        for identity, own in lines.items():
            if rank >= len(own):
                continue
            for part, members in parts:
                if identity not in members and part.agrees(own[rank].signatures):
                    break
            else:
                part, members = _Line(""), set()
                parts.append((part, members))
            part.add(own[rank].rows)
            members.add(identity)
    places = {id(row): number for number, row in enumerate(rows)}
    return [sorted(part.rows, key=lambda row: places[id(row)]) for part, _ in parts]


def _lines(rows: Sequence[Measurement], versions: Mapping[str, str]) -> dict[Identity, list[_Line]]:
    """Every method's lines, the one with most numbers first."""
    results: dict[Identity, dict[str, list[Measurement]]] = {}
    for row in rows:
        results.setdefault(_identity(row), {}).setdefault(row.key, []).append(row)
    lines: dict[Identity, list[_Line]] = {}
    for identity, by_key in results.items():
        own = lines.setdefault(identity, [])
        for key, of_result in sorted(by_key.items(), key=lambda item: -len(item[1])):
            version, signatures = versions.get(key, ""), _signatures(of_result)
            line = next((each for each in own if each.version == version and each.agrees(signatures)), None)
            if line is None:
                line = _Line(version)
                own.append(line)
            line.add(of_result)
        own.sort(key=lambda line: -len(line.rows))
    return lines


def _identity(row: Measurement) -> Identity:
    return row.method, row.preset, row.seed


def _signatures(rows: Sequence[Measurement]) -> dict[str, str]:
    return {row.metric: row.signature for row in rows}
