"""Checks as data: what a paper's numbers should bear out, about each other and about its prose."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Base of everything in a paper's file: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Place = tuple[str, str, str]
"""Table id, row id, column id."""


class CheckBase(Strict):
    """What all checks have: a name, and what the text says that the numbers should bear out."""

    id: str
    says: str
    expected: str = Field(default="", alias="known")
    """Why the check is expected to fail, ``known`` in files: the failure is printed and is no error."""


class LinearCheck(CheckBase):
    """A weighted sum of cells gives a printed number (differences, sums, equal cells, mean drops).

    Attributes:
        terms: (weight, table, row, column).
        expect: the printed number.
        decimals: its digits after the point.
        scale: the sum is multiplied by this first (100 for percent).
    """

    kind: Literal["linear"]
    terms: tuple[tuple[float, str, str, str], ...]
    expect: float = 0.0
    decimals: int | None = None
    scale: float = 1.0


class MeanCheck(CheckBase):
    """In every row of a table, one column is the mean of others."""

    kind: Literal["mean"]
    table: str
    columns: tuple[str, ...]
    target: str


class GainCheck(CheckBase):
    """A column prints by how many percent a column's value in one row is above each other row's.

    Rows are compared with the row that has the same first heading.
    """

    kind: Literal["gain"]
    table: str
    column: str
    target: str
    rows: tuple[str, ...]
    """The rows whose value is above: one per first heading."""


class MixtureCheck(CheckBase):
    """The headline row is a mixture of the rows with and without a modality.

    Attributes:
        share: part of the test set that lacks the modality.
        share_error: how far ``share`` may be off.
        columns: (column of the headline, column of the parts).
    """

    kind: Literal["mixture"]
    headline: tuple[str, str]
    present: tuple[str, str]
    absent: tuple[str, str]
    columns: tuple[tuple[str, str], ...]
    share: float = Field(ge=0.0, le=1.0)
    share_error: float = 0.0


class BestCheck(CheckBase):
    """A row is the best (or the second best) of a table in some columns.

    Attributes:
        among: first heading of the rows compared; empty for all rows.
        rank: 1 for the best, 2 for the second best.
        strict: a tie breaks the claim.
    """

    kind: Literal["best"]
    table: str
    row: str
    columns: tuple[str, ...]
    among: str = ""
    rank: int = 1
    strict: bool = False


class OrderCheck(CheckBase):
    """In every row (or those named), values do not rise from one column to the next."""

    kind: Literal["order"]
    table: str
    columns: tuple[str, ...]
    rows: tuple[str, ...] = ()


class QuotientCheck(CheckBase):
    """Two quotients of cells are equal, as times per step are.

    Attributes:
        first, second: places of a numerator and of a denominator.
        scale: the quotients are multiplied by this before they are printed.
        unit: what they are printed in.
    """

    kind: Literal["quotient"]
    first: tuple[Place, Place]
    second: tuple[Place, Place]
    scale: float = 1.0
    unit: str = ""


class CountCheck(CheckBase):
    """A percentage is a whole number of n cases (the GRIM test)."""

    kind: Literal["count"]
    table: str
    columns: tuple[str, ...]
    n: int
    scale: float = 100.0


Check = Annotated[
    LinearCheck | MeanCheck | GainCheck | MixtureCheck | BestCheck | OrderCheck | QuotientCheck | CountCheck,
    Field(discriminator="kind"),
]
