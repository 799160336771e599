"""Where the time of a store's last complete run went: by phase, by row, by process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from harness.bench.rows import Row, measured
from harness.core.clock import BETWEEN, CELLS, OPEN
from harness.core.errors import HarnessError
from harness.evaluation.timings import Kept, Share, last_complete
from harness.store.row_labels import SHUFFLED

_SUITE = "run"
_NAMES = {
    "import": "import",
    OPEN: "open data and store",
    "draw phantoms": "draw phantoms, once per cache",
    "decode once": "decode images, once per cache",
    CELLS: "rows: train, predict, generate, score",
    "tables": "tables",
    "figures": "figures and robustness",
}
"""Phases of the run itself, in their order."""
_WORK = ("train", "predict", "generate", "draw", "score")
"""First words of the phases of a row; ``draw`` is of reports."""


def run_benchmark(store: Path, required: bool) -> list[Row]:
    """Seconds and shares of the last complete run; runs that took no cell from the store come first.

    Args:
        store: where runs keep their times.
        required: whether nothing to report is an error.

    Raises:
        HarnessError: no complete run in the store.
    """
    run = last_complete(store)
    if run is None:
        if required:
            raise HarnessError(
                f"--store {store}: knows the times of no complete run", "harness run keeps them"
            )
        note = f"no complete run in {store}: harness run keeps the times of each"
        return [Row(_SUITE, "where a run's time went", note=note, state="skipped")]
    return [*_whole(run), *_of_processes(run), *_by_cell(run)]


def _whole(run: Kept) -> list[Row]:
    """The wall clock, and the phases that it is made of."""
    config, machine = run.config, run.machine
    names = ", ".join(config["methods"])
    what = f"{config['dataset']}, {names}, {config['preset']}, {run.cells} cells, {run.trained} trained"
    date = f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, load {machine['load']}"
    rows = [measured(_SUITE, f"wall clock: {what}", run.seconds, note=f"run that ended {date}")]
    main_shares = [share for share in run.shares if share.process == 0]
    if any(share.phase == CELLS for share in main_shares):
        parts = _sums(main_shares, lambda share: share.phase)
    else:  # the rows were worked on in this process
        parts = _sums(main_shares, lambda share: share.phase if share.phase in _NAMES else CELLS)
    accounted = sum(parts.values())
    order = [*_NAMES, *sorted(set(parts) - set(_NAMES))]
    rows += [
        measured(_SUITE, _NAMES.get(phase, phase), parts[phase], note=_percent(parts[phase], run.seconds))
        for phase in order
        if phase in parts
    ]
    rest = run.seconds - accounted
    if rest >= 0.01 * run.seconds:
        rows.append(measured(_SUITE, "not told", rest, note=_percent(rest, run.seconds)))
    return rows


def _of_processes(run: Kept) -> list[Row]:
    """What the processes that work on rows did, all together, then how long the chain of each was."""
    shares = _working(run)
    total = sum(share.seconds for share in shares)
    kinds = _sums(shares, _kind)
    rows = [
        measured(_SUITE, f"in the rows: {kind}", seconds, note=_percent(seconds, total, "of all processes"))
        for kind, seconds in sorted(kinds.items(), key=lambda item: -item[1])
    ]
    for process in sorted({share.process for share in shares}):
        of_process = [share for share in shares if share.process == process]
        jobs = list(dict.fromkeys(_cell(share) for share in of_process if share.label))
        used = sum(share.processor_seconds for share in of_process)
        note = f"{_seconds(used)} of processor; {', '.join(jobs)}"
        rows.append(
            measured(_SUITE, f"chain of process {process}", sum(s.seconds for s in of_process), note=note)
        )
    return rows


def _by_cell(run: Kept) -> list[Row]:
    """What each method took with its control, longest first."""
    shares = [share for share in _working(run) if share.label]
    rows = []
    for cell, seconds in sorted(_sums(shares, _cell).items(), key=lambda item: -item[1]):
        parts = _sums((share for share in shares if _cell(share) == cell), _kind)
        note = ", ".join(f"{kind} {_seconds(took)}" for kind, took in parts.items())
        rows.append(measured(_SUITE, f"cell {cell}", seconds, note=note))
    return rows


def _working(run: Kept) -> list[Share]:
    """Shares of the processes that worked on rows: the others, or the run's own where there were none."""
    others = [share for share in run.shares if share.process]
    return others or [s for s in run.shares if s.phase not in _NAMES and (s.label or s.phase == BETWEEN)]


def _sums(shares: Iterable[Share], key: Callable[[Share], str]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for share in shares:
        sums[key(share)] = sums.get(key(share), 0.0) + share.seconds
    return sums


def _kind(share: Share) -> str:
    """``predict context`` is a prediction; a phase that is no work on a row keeps its name."""
    first = share.phase.partition(" ")[0]
    return first if share.label and first in (*_WORK, "wait") else share.phase


def _cell(share: Share) -> str:
    return share.label.replace(SHUFFLED, "")


def _percent(part: float, whole: float, of: str = "of the wall clock") -> str:
    return f"{part / whole:.1%} {of}" if whole else ""


def _seconds(took: float) -> str:
    return f"{took:,.0f} s" if took >= 10 else f"{took:.1f} s"
