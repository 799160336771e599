"""What a table needs of a result beside its numbers: replicates, cost, verdict, vital signs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from harness.leaderboard.protocol import NOTHING_DROPPED, Masks
from harness.leaderboard.ranking import Samples
from harness.leaderboard.shares import NO_SHARES, Shares
from harness.store.manifest import Cost, VitalSigns
from harness.store.results import Measurement

NOT_AUDITED: Final = "not audited"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a table needs of a result beside its numbers.

    Attributes:
        samples: metric -> bootstrap replicates (R, B), one line per missing rate.
        cost: what it took.
        audit: ``passed``, ``failed`` or why there is no verdict.
        cell: of the trained method; results of one method stand in one row only where it agrees.
        masks: under which it was measured.
        signs: vital signs of the parts of its network.
        shares: what its masks took at each missing rate.
        left_out: one sentence on images that the dataset was opened without.
    """

    samples: Samples = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    audit: str = NOT_AUDITED
    cell: str = ""
    masks: Masks = NOTHING_DROPPED
    signs: VitalSigns | None = None
    shares: Shares = NO_SHARES
    left_out: str = ""


def evidence_of(rows: Sequence[Measurement], evidence: Mapping[str, Evidence]) -> Evidence:
    """What stands behind the rows of one seed; a metric's replicates are those of the result that has it."""
    own = {row.metric: evidence.get(row.key, Evidence()) for row in rows}
    samples = {name: each.samples[name] for name, each in own.items() if name in each.samples}
    return replace(own[rows[0].metric], samples=samples)


def verdict(seeds: Sequence[Evidence]) -> str:
    """The audit's verdict on a row: ``failed`` where it is so of one seed."""
    verdicts = {each.audit for each in seeds}
    return "failed" if "failed" in verdicts else seeds[0].audit if len(verdicts) == 1 else NOT_AUDITED


def remarks_of(rows: Sequence[Measurement]) -> dict[str, str]:
    """Metric -> its remarks in all rows, each once, with its methods where they are not all."""
    remarks: dict[str, dict[str, dict[str, None]]] = {}
    methods: dict[str, set[str]] = {}
    for row in rows:
        if row.status == "ok":
            methods.setdefault(row.metric, set()).add(row.method)
            if row.detail:
                remarks.setdefault(row.metric, {}).setdefault(row.detail, {})[row.method] = None

    def line(metric: str, detail: str, of: Iterable[str]) -> str:
        everybody = methods[metric] == set(of) or detail.startswith(tuple(of))
        return detail if everybody else f"{', '.join(of)}: {detail}"

    return {
        metric: "; ".join(line(metric, detail, of) for detail, of in details.items())
        for metric, details in remarks.items()
    }


def dead_parts(seeds: Mapping[int, Evidence]) -> tuple[str, ...]:
    """One line per dead part of a row's network; of several seeds each line names its own.

    Args:
        seeds: seed -> what stands behind its rows.
    """
    lines: list[str] = []
    for seed, evidence in seeds.items():
        of_seed = f"seed {seed}: " if len(seeds) > 1 else ""
        signs = evidence.signs or VitalSigns()
        lines += [f"{of_seed}{probe}" for probe in signs.dead]
        lines += [f"{of_seed}probes failed: {signs.error}"] if signs.error else []
    return tuple(lines)
