"""Cells of a run side by side on one machine."""

from __future__ import annotations

from harness import evaluate, processes
from harness.cells import entries
from harness.config import RunConfig
from harness.errors import HarnessError
from harness.outcome import fail
from harness.preparation import Reporter, open_bench, prepare_images, resolve_device
from harness.processes import Job, Opened, Results, worker_count
from harness.results import ResultRow


def run(config: RunConfig, reporter: Reporter) -> tuple[list[ResultRow], bool]:
    """``evaluate.run`` with several cells at a time where the machine bears it.

    Returns:
        The rows of this run in the order of its methods, and whether every cell succeeded.
    """
    jobs = jobs_of(config)
    workers = worker_count(config, resolve_device(config.device), len(jobs))
    if workers == 1:
        return evaluate.run(config, reporter)
    modules = {entry.method_class.__module__ for entry in entries(config)}
    context = processes.ready(["harness.evaluate", "lightning.pytorch", *sorted(modules)])
    bench = open_bench(config)  # what is wrong with the run as a whole surfaces here
    prepare_images(bench, reporter)

    def lost(job: Job, code: int | None, found: dict[Job, list[ResultRow]]) -> Results:
        """Failed rows for what a process left undone when it died."""
        label, seed = job
        for entry in entries(config):
            if entry.trained_label == label and (entry.label, seed) not in found:
                error = HarnessError(f"its process ended with code {code}", "out of memory? try --workers 1")
                yield (entry.label, seed), fail(bench, entry, seed, error, reporter)

    found = processes.Team(config, workers, reporter, context, _open, lost).work(jobs)
    rows = [row for entry in entries(config) for seed in config.seeds for row in found[entry.label, seed]]
    return rows, all(row.status != "failed" for row in rows)


def jobs_of(config: RunConfig) -> list[Job]:
    """What may run side by side; learned methods first, for they take longest.

    A shuffled-image rerun needs its method's checkpoint, so it comes along.
    """
    rows = sorted(entries(config), key=lambda row: not row.method_class.card.learned)
    return list(dict.fromkeys((row.trained_label, seed) for row in rows for seed in config.seeds))


def _open(config: RunConfig) -> Opened:
    bench = open_bench(config)

    def work(job: Job, reporter: Reporter) -> Results:
        label, seed = job
        for entry in entries(config):
            if entry.trained_label == label:
                yield (entry.label, seed), evaluate.evaluate(bench, entry, seed, reporter)

    return work
