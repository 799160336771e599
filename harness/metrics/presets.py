"""Names for sets of report metrics that a public table prints together."""

from __future__ import annotations

from collections.abc import Mapping

from harness.core.errors import HarnessError
from harness.core.names import did_you_mean

_REXRANK = ("bleu_2_study", "bertscore_idf", "sembscore", "radgraph_combined", "radcliq_v1")
"""RadCliQ-v1 and its parts."""

PRESETS: Mapping[str, tuple[str, ...]] = {
    "rexrank": _REXRANK,
    "rexrank-all": (*_REXRANK, "ratescore", "green", "crimson"),
}
"""Preset -> families of metrics, in the order of the public table."""


def metrics_of(preset: str) -> list[str]:
    """The families of a preset.

    Raises:
        HarnessError: there is no such preset.
    """
    if preset not in PRESETS:
        raise HarnessError(f"--preset {preset}: no such set of metrics", did_you_mean(preset, PRESETS))
    return list(PRESETS[preset])
