"""Published tables as data: what a file in ``published/`` may say, and how a cell is addressed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from harness.core.errors import HarnessError
from harness.papers.claims import Check, Place, Strict

BLANK = "-"
"""In a file: the paper prints no number there."""

UNREADABLE = "?"
"""In a file: the paper prints a number that the available text does not give; a note says why."""

Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
"""A name that is safe in a file's name and in a LaTeX label."""

CellState = Literal["number", "blank", "unreadable"]


class Ours(Strict):
    """Which measured numbers stand beside a cell; set on table, row or column, the finer one wins.

    Attributes:
        method: registered name or ``name:variant``.
        dataset: key of ``Paper.datasets``.
        metrics: metric names, the paper's own first, then the nearest that may stand in, flagged.
        rate: missing rate.
        drop: drop policy of that rate.
        group: ``ATTRIBUTE=GROUP``: the test studies that ``--by ATTRIBUTE`` puts there, with nothing missing.
        scale: the harness's number times this is the paper's unit (100 for percent).
        command: what measures it, where ``harness run`` does not.
        set: settings of the method that the paper states for this cell, as ``--set`` takes them.
        reason: why no number of ours can stand beside the cell.
    """

    method: str | None = None
    dataset: str | None = None
    metrics: tuple[str, ...] | None = None
    rate: float | None = Field(default=None, ge=0.0, le=1.0)
    drop: str | None = None
    group: str | None = Field(default=None, pattern=r"^[^=]+=[^=]+$")
    scale: float | None = None
    command: str | None = None
    set: dict[str, Any] | None = None
    reason: str | None = None

    @property
    def asks(self) -> bool:
        """Whether a number of ours belongs beside the cell."""
        return bool(self.method and self.metrics)

    def over(self, coarser: Ours) -> Ours:
        """These settings where given, else those of ``coarser``; ``set`` has both."""
        own = self.model_dump(exclude_none=True)
        if coarser.set and self.set:
            own["set"] = {**coarser.set, **self.set}
        return coarser.model_copy(update=own)


class PaperDataset(Strict):
    """A dataset as a paper uses it.

    Attributes:
        label: the paper's name for it.
        reader: registered name under which the harness reads it.
        profile: of the reader, whose split and texts are the paper's; empty for its default.
        n_test: test studies or samples that the paper states.
        split: how the paper splits it.
        substitutes: registered datasets that may stand beside it, flagged, and never compared.
        set: settings of the paper's method that it states for this dataset, as ``--set`` takes them.
    """

    label: str
    reader: str
    profile: str = ""
    n_test: int | None = None
    split: str = ""
    substitutes: tuple[str, ...] = ()
    set: dict[str, Any] = Field(default_factory=dict)


class Column(Strict):
    """A column of numbers.

    Attributes:
        group: heading that neighbouring columns share.
        decimals: digits after the point, as printed; half a unit of the last one is the rounding error.
        better: which end is good; None where neither is.
        backend: what the paper says about how the metric is computed, or that it does not say.
        signature: parts that the signature of a comparable measured number has.
    """

    id: str
    label: str
    group: str = ""
    decimals: int = Field(default=3, ge=0, le=6)
    better: Literal["higher", "lower"] | None = "higher"
    backend: str = ""
    signature: tuple[str, ...] = ()
    ours: Ours = Ours()


class PublishedCell(Strict):
    """What a paper prints in one place.

    Attributes:
        value: the number, or None.
        spread: what stands behind a plus-minus sign.
        note: what a reader must know about this cell.
    """

    state: CellState
    value: float | None = None
    spread: float | None = None
    note: str = ""


class PaperRow(Strict):
    """A row: its headings, its cells in the order of the columns, and notes.

    Attributes:
        head: a text per heading of the table.
        values: a number, ``-`` (nothing printed), ``?`` (printed, not readable) or ``[value, spread]``.
        note: a remark on the whole row.
        notes: column id -> remark on that cell.
    """

    id: str
    head: tuple[str, ...]
    values: tuple[Any, ...]
    note: str = ""
    notes: dict[str, str] = Field(default_factory=dict)
    ours: Ours = Ours()

    @field_validator("values")
    @classmethod
    def _known_forms(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        for value in values:
            pair = value if isinstance(value, list) and len(value) == 2 else [value]
            if value in (BLANK, UNREADABLE) or all(type(part) in (int, float) for part in pair):
                continue
            raise ValueError(
                f"{value!r} is no number, no [value, spread], no {BLANK!r} and no {UNREADABLE!r}"
            )
        return values


class PaperTable(Strict):
    """A table (or the figures of a section) in the paper's own shape and order.

    Attributes:
        where: where the paper prints it; with row and column it is the source of each cell.
        headers: titles of the columns that head the rows.
        notes: remarks on the whole table.
    """

    id: Key
    title: str
    where: str
    headers: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[PaperRow, ...]
    notes: tuple[str, ...] = ()
    ours: Ours = Ours()

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        _distinct([column.id for column in self.columns], f"table {self.id}: column")
        _distinct([row.id for row in self.rows], f"table {self.id}: row")
        column_ids = {column.id for column in self.columns}
        for row in self.rows:
            place = f"table {self.id}, row {row.id}"
            if len(row.values) != len(self.columns):
                raise ValueError(f"{place}: {len(row.values)} values for {len(self.columns)} columns")
            if len(row.head) != len(self.headers):
                raise ValueError(f"{place}: {len(row.head)} headings for {len(self.headers)} headers")
            if unknown := row.notes.keys() - column_ids:
                raise ValueError(f"{place}: a note on column {sorted(unknown)[0]!r}, which does not exist")
            for column, value in zip(self.columns, row.values, strict=True):
                explained = row.note or row.notes.get(column.id) or self.notes
                if value == UNREADABLE and not explained:
                    raise ValueError(f"{place}, column {column.id}: unreadable, and no note says why")
        return self

    def row(self, key: str) -> PaperRow:
        """The row with id ``key``."""
        return _by_id(self.rows, key, f"table {self.id}: no row")

    def column(self, key: str) -> Column:
        """The column with id ``key``."""
        return _by_id(self.columns, key, f"table {self.id}: no column")

    def cell(self, row: PaperRow, column: Column) -> PublishedCell:
        """What the paper prints where ``row`` meets ``column``."""
        value = row.values[self.columns.index(column)]
        note = row.notes.get(column.id, "")
        if value in (BLANK, UNREADABLE):
            return PublishedCell(state="blank" if value == BLANK else "unreadable", note=note)
        number, spread = value if isinstance(value, list) else (value, None)
        return PublishedCell(state="number", value=float(number), spread=spread, note=note)

    def source(self, row: PaperRow, column: Column) -> str:
        """Where the cell stands: table, row and column."""
        heading = f"{column.group} {column.label}".strip()
        return f"{self.where}; row {' / '.join(text for text in row.head if text)}; column {heading}"

    def ours_at(self, row: PaperRow, column: Column) -> Ours:
        """Settings for the cell: the column's over the row's over the table's."""
        return column.ours.over(row.ours.over(self.ours))


class Paper(Strict):
    """One paper's published numbers.

    Attributes:
        id: the name that ``harness papers`` takes.
        method: registered name of the paper's model.
        source: what the numbers were read from.
        weights: ``method.setting`` that names pretrained weights -> what the printed commands say there.
        notes: remarks on the whole paper.
    """

    id: Key
    method: str
    title: str
    reference: str
    source: str
    weights: dict[str, str] = Field(default_factory=dict)
    datasets: dict[str, PaperDataset]
    tables: tuple[PaperTable, ...]
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        _distinct([table.id for table in self.tables], "table")
        _distinct([check.id for check in self.checks], "check")
        for table, row, column in self.cells():
            dataset = table.ours_at(row, column).dataset
            if dataset is not None and dataset not in self.datasets:
                raise ValueError(f"table {table.id}: dataset {dataset!r} is not among datasets")
        return self

    def cells(self) -> Iterator[tuple[PaperTable, PaperRow, Column]]:
        """Every cell's table, row and column, in the paper's order."""
        for table in self.tables:
            for row in table.rows:
                for column in table.columns:
                    yield table, row, column

    def settings(self, ours: Ours) -> dict[str, Any]:
        """Settings of a cell's method that the paper states: of its dataset, and of the cell itself."""
        is_own = (ours.method or "").partition(":")[0] == self.method
        of_dataset = self.datasets[ours.dataset].set if ours.dataset and is_own else {}
        return {**of_dataset, **(ours.set or {})}

    def weights_of(self, method: str) -> dict[str, str]:
        """Setting of a method, ``NAME`` or ``NAME:VARIANT``, that names weights -> what the commands say."""
        owner = f"{method.partition(':')[0]}."
        return {key.removeprefix(owner): name for key, name in self.weights.items() if key.startswith(owner)}

    def table(self, key: str) -> PaperTable:
        """The table with id ``key``."""
        return _by_id(self.tables, key, f"{self.id}: no table")

    def at(self, place: Place) -> tuple[PublishedCell, Column]:
        """The cell at a place, with its column."""
        table = self.table(place[0])
        column = table.column(place[2])
        return table.cell(table.row(place[1]), column), column


def _distinct(keys: list[str], what: str) -> None:
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{what} {key!r} stands there twice")


def _by_id(items: tuple[Any, ...], key: str, what: str) -> Any:
    for item in items:
        if item.id == key:
            return item
    raise HarnessError(f"{what} {key!r}", f"there are {', '.join(item.id for item in items)}")
