"""Numbers of an earlier run that a rerun under the same identity does not have: they stay, with a remark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import CorruptFileError
from harness.store.manifest import Manifest
from harness.store.results import Measurement, StoredResult

_REMARK = "from an earlier run, because the newest has no value: "


class Earlier:
    """What an earlier result adds to the rows of a rerun.

    Equal identities mean equal numbers: one that the rerun could not compute is still right.

    Args:
        result: of the same key; None where there is none.
        rows: what the rerun measured.
    """

    def __init__(self, result: StoredResult | None, rows: Sequence[Measurement]) -> None:
        self._result = result
        measured = {row.metric for row in rows if row.value is not None}
        stored: dict[str, list[Measurement]] = {}
        for row in result.rows if result is not None else ():
            if row.value is not None and row.metric not in measured:
                stored.setdefault(row.metric, []).append(row)
        self._stored = {row.metric: stored[row.metric] for row in rows if row.metric in stored}
        self.rows = [each for row in rows for each in self._in_place_of(row)]

    def _in_place_of(self, row: Measurement) -> list[Measurement]:
        """A row of the rerun, or the earlier curve of its metric with the reason as a remark."""
        remark = f"{_REMARK}{row.detail or row.status}"

        def with_remark(each: Measurement) -> Measurement:
            own = each.detail.partition(_REMARK)[0].removesuffix("; ")
            return replace(each, detail=f"{own}; {remark}" if own else remark)

        return [with_remark(each) for each in self._stored.get(row.metric, ())] or [row]

    def replicates(self) -> dict[str, NDArray[np.float32]]:
        """Bootstrap replicates of the earlier numbers, as far as they can be read."""
        if not self._stored or self._result is None:
            return {}
        with suppress(CorruptFileError):
            return {name: each for name, each in self._result.replicates().items() if name in self._stored}
        return {}

    def manifest(self, own: Manifest) -> Manifest:
        """The rerun's manifest with what made the earlier numbers, and what absent modalities cost there."""
        if not self._stored or self._result is None:
            return own
        before = self._result.manifest
        costs = {name: each for name, each in before.reliance.items() if name in self._stored}
        makers = {name: each for name, each in before.measured_by.items() if name in self._stored}
        return own.model_copy(
            update={"reliance": costs | own.reliance, "measured_by": own.measured_by | makers}
        )

    def reliability(self, own: Mapping[str, Mapping[str, list[float]]]) -> Mapping[str, object]:
        """The rerun's bins of reliability diagrams, else those behind an earlier calibration error."""
        if own or self._result is None or "ece" not in self._stored:
            return own
        return {state: bins.to_json() for state, bins in self._result.reliability.items()}
