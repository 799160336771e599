"""Tables that a program holds: those of pandas, and those of libraries that can turn theirs into one."""

from __future__ import annotations

from typing import Any

from harness.core.arguments import described
from harness.core.errors import HarnessError

_ADVICE = "give a data frame of pandas, or a table that has to_pandas()"


def is_table(values: Any) -> bool:
    """Whether values are a table with columns, of any library. A series with a row ``columns`` is none."""
    if isinstance(values, type) or getattr(values, "ndim", 2) != 2:
        return False
    return hasattr(values, "columns") or hasattr(values, "__dataframe__")


def as_pandas(values: Any, place: str) -> Any:
    """A table of any library as a data frame of pandas; what is no table, as it is.

    Args:
        values: anything.
        place: begins the message of an error.

    Raises:
        HarnessError: a table that is not pandas' own and does not turn into one.
    """
    if not is_table(values):
        return values
    import pandas as pd

    if isinstance(values, pd.DataFrame):
        return values
    if not hasattr(values, "to_pandas"):
        raise HarnessError(f"{place}: {described(values)} is a table that cannot be read", _ADVICE)
    try:
        frame = values.to_pandas()
    except Exception as error:  # code of any library
        kind = type(error).__name__
        raise HarnessError(
            f"{place}: {described(values)} whose to_pandas() fails ({kind})", _ADVICE
        ) from error
    if not isinstance(frame, pd.DataFrame):
        raise HarnessError(f"{place}: {described(values)} whose to_pandas() gives no data frame", _ADVICE)
    return frame
