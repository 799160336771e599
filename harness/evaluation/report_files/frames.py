"""Data frames of studies: which of their index and columns has the ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError
from harness.evaluation.report_files.fields import IDS, folded, id_of

if TYPE_CHECKING:
    import pandas as pd


def with_ids(frame: pd.DataFrame, place: str) -> pd.DataFrame:
    """A frame in which the index, where it is named as ids are, is a column.

    Args:
        frame: any.
        place: begins the message of an error.

    Raises:
        HarnessError: a column of the same name has other ids.
    """
    name = frame.index.name
    if name is None or folded(str(name)) not in IDS:
        return frame
    columns = [
        number for number, column in enumerate(frame.columns) if folded(str(column)) == folded(str(name))
    ]
    if not columns:
        return frame.reset_index()
    for number in columns:
        if [*map(_text, frame.index)] != [*map(_text, frame.iloc[:, number])]:
            raise HarnessError(
                f"{place}: its index {str(name)!r} and its column {str(frame.columns[number])!r} differ",
                "drop one of the two, reset_index(drop=True) the index",
            )
    return frame.reset_index(drop=True)


def _text(value: Any) -> str | None:
    return id_of(value.item() if hasattr(value, "item") else value)
