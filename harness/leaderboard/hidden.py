"""What a table says of results that the store holds and the table does not show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness.leaderboard.protocol import Masks, place_of
from harness.leaderboard.selection import Line, Selection, line_of, masks_of
from harness.leaderboard.tables import Table
from harness.store.results import Measurement, StoredResult


def beside(table: Table, selection: Selection) -> tuple[str, ...]:
    """What stands below a table beside its numbers, one sentence each.

    On older results, other masks, methods under those alone, means over some seeds, rows of another protocol,
    numbers of another version of a metric, and results without replicates.

    Args:
        table: of the numbers that are shown.
        selection: all numbers of the store.
    """
    keys = {each.key for part in (selection.shown, selection.other_masks) for each in part}
    older = [each for each in selection.older if each.key not in keys and _is_of(table, each)]
    other_masks = _curves(table, selection.other_masks)
    lost = _only_under_other_masks(_curves(table, selection.shown), other_masks)
    return (
        *_count("older result", len(older)),
        *_count("result", len(other_masks), _under(table.masks, map(masks_of, other_masks))),
        *_named(table.masks, lost),
        *_of_some_seeds(table),
        *_of_other_protocols(table, selection.shown),
        *_of_other_versions(table, selection.shown),
        *_without_replicates(table, selection.shown),
    )


def _is_of(table: Table, result: StoredResult) -> bool:
    """Whether a result has the table's dataset, missingness and group of metrics."""
    place = place_of(result.rows[0])
    return (*place, table.masks) == table.protocol and any(row.group == table.group for row in result.rows)


def _curves(table: Table, results: Iterable[StoredResult]) -> list[StoredResult]:
    """The results that have numbers of the table's columns above rate 0, with those numbers alone."""

    def fits(row: Measurement) -> bool:
        same = table.signatures.get(row.metric) == row.signature
        return same and row.rate > 0.0 and row.value is not None

    parts = [replace(each, rows=list(filter(fits, each.rows))) for each in results if _is_of(table, each)]
    return [each for each in parts if each.rows]


def _count(what: str, number: int, where: str = "") -> Iterator[str]:
    if number:
        plural = "s" if number > 1 else ""
        held = f"{number} {what}{plural}{where}"
        yield f"The store holds {held} that this table does not show: harness store ls."


def _under(own: Masks, others: Iterable[Masks]) -> str:
    """`` under other masks (4 mask seeds; missing rate 0.2)``."""
    words = dict.fromkeys(each.unlike([own]) for each in others)
    return f" under other masks ({'; '.join(words)})"


def _only_under_other_masks(
    shown: Iterable[StoredResult], other_masks: Iterable[StoredResult]
) -> dict[Line, StoredResult]:
    """Methods that have one of the numbers under other masks only -> the newest result that has it."""
    measured = {(line_of(row), row.metric) for each in shown for row in each.rows}
    return {
        line_of(row): each
        for each in sorted(other_masks, key=lambda each: each.time)
        for row in each.rows
        if (line_of(row), row.metric) not in measured
    }


def _named(own: Masks, lost: dict[Line, StoredResult]) -> Iterator[str]:
    if lost:
        results = [
            f"{method} ({masks_of(result).unlike([own])}): {result.key}"
            for (method, _, _), result in sorted(lost.items())
        ]
        yield f"Measured under other masks only: {'; '.join(results)}."


def _of_other_protocols(table: Table, shown: Iterable[StoredResult]) -> Iterator[str]:
    """Which rows were made under which protocol, where there are several."""
    methods: dict[int, dict[str, None]] = {}
    for each in shown:
        if _is_of(table, each):
            methods.setdefault(each.manifest.protocol, {})[each.manifest.method] = None
    if len(methods) > 1:
        parts = [f"{number}: {', '.join(names)}" for number, names in sorted(methods.items())]
        yield f"Rows are of several protocols, and ranks compare them all the same: {'; '.join(parts)}."


def _of_other_versions(table: Table, shown: Iterable[StoredResult]) -> Iterator[str]:
    """Metrics of other packages whose code, or a file that they opened, was another one in some rows."""
    versions: dict[str, list[tuple[str, Mapping[str, str]]]] = {}
    for each in shown:
        measured = {row.metric for row in each.rows if row.value is not None and _is_of(table, each)}
        for metric, version in each.manifest.measured_by.items():
            if metric in measured and metric in table.signatures:
                versions.setdefault(metric, []).append((each.manifest.method, version))
    for metric, of_methods in versions.items():
        groups = _apart(of_methods)
        if len(groups) > 1:
            parts = "; ".join(", ".join(names) for names in groups)
            yield (
                f"{metric} had other code or files when it measured some rows, and ranks compare them all "
                f"the same: {parts}. Run these methods again."
            )


def _apart(versions: Sequence[tuple[str, Mapping[str, str]]]) -> list[list[str]]:
    """Methods in groups that agree in each place in which versions differ; a place may be in some alone."""
    digests: dict[str, set[str]] = {}
    for _, version in versions:
        for place, digest in version.items():
            digests.setdefault(place, set()).add(digest)
    differing = [place for place, each in digests.items() if len(each) > 1]
    groups: dict[tuple[str | None, ...], dict[str, None]] = {}
    for method, version in versions:
        groups.setdefault(tuple(version.get(place) for place in differing), {})[method] = None
    return [list(names) for names in groups.values()]


def _without_replicates(table: Table, shown: Iterable[StoredResult]) -> Iterator[str]:
    """Results with numbers whose file of bootstrap replicates is gone."""
    number = sum(
        _is_of(table, each)
        and any(row.ci95 is not None for row in each.rows)
        and not each.path.with_suffix(".npz").exists()
        for each in shown
    )
    if number:
        plural = "s have" if number > 1 else " has"
        yield f"{number} result{plural} no bootstrap replicates (RESULT.npz), so that ranks are absent."


def _of_some_seeds(table: Table) -> Iterator[str]:
    """Which numbers are of some of a method's training seeds, as the others were not scored."""
    parts: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for row in table.rows:
        for metric, rates in row.numbers.items():
            for rate, cell in rates.items():
                if cell.seeds and cell.status == "ok":
                    name = f"{metric} @ {rate:g}" if rate else metric
                    parts.setdefault((row.method, cell.seeds), []).append(name)
    if parts:
        texts = [
            f"{method} ({', '.join(names)}: seed {', '.join(map(str, seeds))})"
            for (method, seeds), names in parts.items()
        ]
        yield f"Not scored of every training seed: {'; '.join(texts)}."
