"""Tables of a library that is not pandas, with the surface that such libraries have."""

from __future__ import annotations

from typing import Any

import pandas as pd


class ForeignTable:
    """Like a data frame of another library: names of columns as a list, no index, another ``to_dict``."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame.reset_index(drop=True)
        self.columns = list(frame.columns)

    def to_dict(self, *, as_series: bool = True) -> dict[str, Any]:
        return dict(self._frame.items())

    def to_numpy(self) -> Any:
        return self._frame.to_numpy()

    def to_pandas(self) -> pd.DataFrame:
        return self._frame

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any:
        return self._frame.__dataframe__(nan_as_null, allow_copy)


class LazyTable:
    """A table that is not read yet: it has columns and does not turn into one of pandas."""

    columns = ("A", "B")


class HeadlessTable:
    """It has the interchange protocol alone."""

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any:
        raise NotImplementedError


class FailingTable(LazyTable):
    """It needs a package that is not installed."""

    def to_pandas(self) -> pd.DataFrame:
        raise ModuleNotFoundError("no module named secret-text")
