"""A leaderboard: all tables of a store, and what stands behind each of their rows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from harness.core.errors import CorruptFileError
from harness.core.failures import unread
from harness.core.user_files import read_user_file
from harness.leaderboard import other_files
from harness.leaderboard.evidence import Evidence
from harness.leaderboard.facts import RowFacts, verdict_on
from harness.leaderboard.hidden import beside
from harness.leaderboard.policies import without_repetition
from harness.leaderboard.protocol import place_of
from harness.leaderboard.selection import masks_of, select
from harness.leaderboard.shares import Shares
from harness.leaderboard.spec import Spec, spec_of
from harness.leaderboard.states import StateTable, state_tables
from harness.leaderboard.tables import Table, arranged, tables, with_apart
from harness.store.results import Measurement, checked_row, visible
from harness.store.store import SCHEMA, Store
from harness.store.verdicts import verdicts

UNCHECKED = "These numbers came in a file without a checksum, so that one changed by hand would not show."


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """All tables of a store, with everything that its exports need.

    Attributes:
        rows: the long form, one measurement each.
        tables: the same numbers as ranked tables.
        states: what methods lose without each modality; stands in front of ``tables``.
        results: result key -> what stands behind it: card, cost, audit, settings, reliability bins.
    """

    rows: tuple[Measurement, ...]
    tables: tuple[Table, ...]
    results: dict[str, RowFacts]
    states: tuple[StateTable, ...] = ()

    @classmethod
    def of(cls, store: Store, specs: Sequence[Spec] = (), only: Container[str] | None = None) -> Leaderboard:
        """The leaderboard of a store.

        Args:
            store: results and verdicts.
            specs: which columns and order.
            only: result keys; all by default. Of results that compete for a cell one is shown.
        """
        everything = [each for each in store.stored() if each.rows and (only is None or each.key in only)]
        selection = select(everything)
        stored = selection.shown
        audited = {(each.dataset, each.method): each for each in verdicts(store.root)}
        rows = [row for each in stored for row in each.rows]
        results = {each.key: RowFacts.of(each, verdict_on(each, audited)) for each in stored}
        evidence = {
            each.key: Evidence(
                samples=each.replicates(),
                cost=each.manifest.cost,
                audit=results[each.key].audit.state,
                cell=each.manifest.cell,
                masks=masks_of(each),
                signs=each.manifest.signs,
                shares=Shares.of(each.manifest),
                left_out=str(each.manifest.unreadable or ""),
            )
            for each in stored
        }
        states = state_tables(stored, specs)
        ranked = [
            replace(table, beside=(*table.beside, *beside(table, selection)))
            for table in without_repetition(tables(rows, specs, evidence), states)
        ]
        return cls(tuple(rows), tuple(ranked), results, tuple(states))

    @classmethod
    def from_json(cls, path: Path, specs: Sequence[Spec] = ()) -> Leaderboard:
        """The leaderboard that ``to_json`` wrote, its tables in the columns and order of ``specs``.

        Raises:
            HarnessError: the file cannot be read.
            CorruptFileError: it is not such a file, or of another schema.
        """
        try:
            text = read_user_file(path).decode("utf-8")
            whole = json.loads(text, parse_constant=partial(_no_number, path))
            other_files.refuse(path, whole)
            _check_whole(path, whole)
            content = visible(whole, also="\n")
            schema = content["schema"]
            rows = tuple(checked_row(row) for row in content["rows"])
            parts = _Parts.model_validate(content)
        except OSError as error:
            raise other_files.unreadable(path, error) from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise CorruptFileError(f"{path}: {where}: {first['msg'].lower()}") from None
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            other_files.refuse_archive(path)
            raise CorruptFileError(f"{path}: not a leaderboard's JSON: {unread(error)}") from error
        _check_rows(path, rows)
        if schema != SCHEMA:
            raise CorruptFileError(f"{path}: of schema {schema}, but this version reads schema {SCHEMA}")
        rearranged = [
            arranged(table, spec)
            for table in parts.tables
            for spec in spec_of(table.dataset, specs)
            if spec.shows(table.group)
        ]
        shown = with_apart(rearranged) or tables(rows, specs)
        if "sha256" not in whole:
            shown = [replace(table, beside=(*table.beside, UNCHECKED)) for table in shown]
        return cls(rows, tuple(shown), parts.results, parts.states)

    def payload(self) -> dict[str, Any]:
        """Tables and what stands behind their rows as JSON values; what is not finite becomes null."""
        results = {key: facts.to_json() for key, facts in self.results.items()}
        ranked = _TABLES.dump_python(self.tables, mode="json", exclude_defaults=True)
        states = _STATES.dump_python(self.states, mode="json", exclude_defaults=True)
        values: dict[str, Any] = _finite({"results": results, "tables": ranked, "states": states})
        return values

    def to_json(self) -> str:
        """``{"schema", "rows", "results", "tables", "states", "sha256"}``, the last of all that is before."""
        rows = (
            json.dumps(_finite(asdict(row)), separators=(",", ":"), ensure_ascii=False) for row in self.rows
        )
        rest = json.dumps(self.payload(), indent=1, ensure_ascii=False).removeprefix("{")
        # One row per line: a tenth of the lines, and a change of one number is one line of a diff.
        text = f'{{\n "schema": {SCHEMA},\n "rows": [\n' + ",\n".join(rows) + f"\n ],{rest}\n"
        return f'{text.removesuffix(_END)},\n "sha256": "{_digest(json.loads(text))}"{_END}'


class _Parts(BaseModel):
    """What a leaderboard's JSON holds beside its rows."""

    tables: tuple[Table, ...] = ()
    states: tuple[StateTable, ...] = ()
    results: dict[str, RowFacts] = Field(default_factory=dict)


_TABLES: TypeAdapter[tuple[Table, ...]] = TypeAdapter(tuple[Table, ...])
_STATES: TypeAdapter[tuple[StateTable, ...]] = TypeAdapter(tuple[StateTable, ...])


_END = "\n}\n"


def _digest(content: dict[str, Any]) -> str:
    """SHA-256 of a leaderboard's JSON values, whatever their layout, without their checksum."""
    values = {name: value for name, value in content.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _check_whole(path: Path, whole: dict[str, Any]) -> None:
    """Compare a leaderboard's JSON with its checksum; rows of another program may have none.

    Raises:
        CorruptFileError: it does not fit; or it is absent, and the file says that this program made its rows.
    """
    if "sha256" in whole:
        if whole["sha256"] != _digest(whole):
            raise CorruptFileError(f"{path}: checksum mismatch: a value is not what was written")
    elif whole.get("results"):
        raise CorruptFileError(
            f"{path}: its checksum (sha256) is gone, so that a number changed by hand would not show",
            "ask for the file again; rows of another program have no results beside them",
        )


def _no_number(path: Path, text: str) -> float:
    raise CorruptFileError(f"{path}: {text} is no number of JSON")


def _check_rows(path: Path, rows: Iterable[Measurement]) -> None:
    """Refuse numbers that no run writes; a file without a checksum may have been changed by hand.

    Raises:
        CorruptFileError: names the row.
    """
    places: set[tuple[object, ...]] = set()
    for number, row in enumerate(rows, 1):
        place = (
            *place_of(row),
            row.method,
            row.preset,
            row.seed,
            row.rate,
            row.metric,
            row.signature,
            row.key,
        )
        ends: tuple[float, ...] = row.ci95 or ()
        values = ends if row.value is None else (row.value, *ends)
        for wrong, what in (
            (not all(map(math.isfinite, values)), "a number that is not finite"),
            (bool(ends) and ends[0] > ends[-1], "an interval whose lower end is above its upper end"),
            (row.value is not None and row.n < 1, f"n is {row.n}"),
            (not 0.0 <= row.rate <= 1.0, f"a missing rate of {row.rate:g}"),
            (place in places, "its place is that of a row before"),
        ):
            if wrong:
                raise CorruptFileError(f"{path}: row {number}: {what}")
        places.add(place)


def _finite_interval(ends: Sequence[float] | None) -> Any:
    """An interval as JSON; one that has no end is none at all."""
    return ends if ends is not None and all(map(math.isfinite, ends)) else None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {
            key: _finite_interval(item) if key == "ci95" else _finite(item) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
