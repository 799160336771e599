"""Cells of a run side by side on one machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from harness.core import registry
from harness.core.clock import CELLS, OPEN
from harness.core.config import RunConfig, RunSettings
from harness.core.errors import HarnessError
from harness.core.progress import Progress, Reporter
from harness.core.types import Task
from harness.distributed import launch, processes, ray_tasks
from harness.distributed.processes import Job, Opened, Results, worker_count
from harness.evaluation import evaluate, tracking
from harness.evaluation import fit as fitting
from harness.evaluation.benchmark import Benchmark, open_benchmark, prepare_images, resolve_device
from harness.evaluation.entries import Entry, entries
from harness.evaluation.record import fail
from harness.evaluation.timings import Timings
from harness.store.predictions import Part
from harness.store.results import Measurement
from harness.store.row_labels import trained


def run(settings: RunSettings, reporter: Reporter, *, tracks: bool = True) -> tuple[list[Measurement], bool]:
    """``evaluate.run`` with several cells at a time where the machine bears it, or on a cluster.

    Returns:
        The rows of this run in the order of its methods, and whether every cell succeeded. Of several nodes
        that train together, the first has the rows.
    """
    config, execution = settings.config, settings.execution
    if execution.address is not None and execution.executor != "ray":
        raise HarnessError(f"--address {execution.address}: only Ray has one", "add --executor ray")
    if execution.shards > 1 and execution.executor != "ray":
        raise HarnessError(f"--shards {execution.shards}: only Ray spreads predictions", "add --executor ray")
    launch.check(execution)
    if execution.track is not None:
        tracking.check(execution.track)
    timings = Timings.over(reporter)
    timings.begin(OPEN)
    rows, succeeded = (_on_cluster if execution.executor == "ray" else _here)(settings, timings)
    if not rows:
        return rows, succeeded
    cells = dict.fromkeys((trained(label), seed) for label, seed in jobs_of(config))
    timings.keep(settings, succeeded, cells)
    if tracks:
        track(settings, rows)
    return rows, succeeded


def track(settings: RunSettings, rows: Sequence[Measurement]) -> None:
    """Keep a run's rows in what ``--track`` names, too.

    Raises:
        HarnessError: it failed; the store has everything all the same.
    """
    if settings.execution.track is not None:
        tracking.track(settings.execution.track, settings.config.store, rows)


def _here(settings: RunSettings, reporter: Timings) -> tuple[list[Measurement], bool]:
    """Processes of this machine."""
    config, execution = settings.config, settings.execution
    if launch.together(execution) > 1:
        return _in_turn(settings, reporter)
    jobs = jobs_of(config)
    workers = worker_count(execution, resolve_device(execution.device), len(jobs))
    if workers == 1:
        return evaluate.run(settings, reporter)
    context = processes.ready(["harness.evaluation.evaluate", *registry.method_modules(config.methods)])
    benchmark = open_benchmark(settings)  # what is wrong with the run as a whole surfaces here
    prepare_images(benchmark, reporter)
    elsewhere = reporter.elsewhere()

    def lost(job: Job, code: int | None, found: Found) -> Results:
        error = HarnessError(f"its process ended with code {code}", "out of memory? try --workers 1")
        return _failed(benchmark, job, error, found, elsewhere)

    reporter.begin(CELLS)
    return _in_order(config, processes.Team(settings, workers, elsewhere, context, _open, lost).work(jobs))


def _in_turn(settings: RunSettings, reporter: Timings) -> tuple[list[Measurement], bool]:
    """Cells one at a time, each trained by several processes. Nodes but the first have no rows."""
    with launch.meeting(settings.execution) as first:
        if first:
            return evaluate.run(settings, reporter)
        launch.follow(settings, fitting.member, lambda name: reporter.phase(name, "train"))
        return [], True


def _on_cluster(settings: RunSettings, reporter: Timings) -> tuple[list[Measurement], bool]:
    """A Ray task per job. What it stores says nothing of the cluster: it is what a local run would store."""
    config, execution = settings.config, settings.execution
    ray_tasks.check(execution)
    cards = {entry.job: entry.cards for entry in entries(config)}
    here = {"executor": "local", "address": None, "track": None, "workers": None, "shards": 1}
    given = {"store": config.store, "root": config.root, "masks": config.masks}
    paths = {name: path.resolve() for name, path in given.items() if path is not None}
    stored = settings.replaced(**here, **paths)  # a node's working folder is another
    # Where the run is started there may be no GPU: it reads data and writes what a lost task could not.
    benchmark = open_benchmark(stored.replaced(device="cpu"))
    benchmark = replace(
        benchmark,
        device=f"Ray ({execution.device})",
        settings=benchmark.settings.replaced(device=execution.device),
    )
    prepare_images(benchmark, reporter)

    def need(job: Job) -> ray_tasks.Need:
        label, _, *step = job
        used = cards[label]
        trains = any(card.learned for card in used) and step in ([], [FIT])
        processes = execution.devices if trains else 1
        gpus = max(processes, *(card.gpus for card in used))
        return ray_tasks.Need(gpus, max(card.memory_gib for card in used), processes)

    elsewhere = reporter.elsewhere()

    def lost(job: Job, error: HarnessError, found: Found) -> Results:
        return _failed(benchmark, job, error, found, elsewhere)

    reporter.begin(CELLS)
    graph = _Graph(execution.shards)
    rules = ray_tasks.JobRules(need, lost, graph.after)
    tasks = ray_tasks.Tasks(execution, stored, _open, rules, elsewhere)
    return _in_order(config, tasks.work(graph.first(jobs_of(config))))


FIT, JOIN = "fit", "join"


class _Graph:
    """Steps of a job whose test studies several tasks predict: fit, then the parts, then all that is left.

    The last one alone would do; it finds done what the others did.
    """

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self.left: Counter[Job] = Counter()

    def first(self, jobs: list[Job]) -> list[Job]:
        """What can begin at once."""
        return jobs if self.shards == 1 else [(*job, FIT) for job in jobs]

    def after(self, done: Job) -> list[Job]:
        """What can begin when a step is done."""
        job, step = done[:2], done[2:]
        if step == (FIT,):
            self.left[job] = self.shards
            return [(*job, Part(number, self.shards)) for number in range(self.shards)]
        if not step or step == (JOIN,):
            return []
        self.left[job] -= 1
        return [] if self.left[job] else [(*job, JOIN)]


class _Named:
    """A reporter of one of several tasks that work on a row."""

    def __init__(self, reporter: Reporter, which: str) -> None:
        self.reporter, self.which = reporter, which

    def phase(self, label: str, phase: str) -> Progress:
        return self.reporter.phase(label + self.which, phase)

    def done(self, label: str, summary: str) -> None:
        self.reporter.done(label + self.which, summary)

    def failed(self, label: str, reason: str) -> None:
        self.reporter.failed(label + self.which, reason)


Found = dict[tuple[str, int], list[Measurement]]
"""Rows by label and seed."""


def _failed(benchmark: Benchmark, job: Job, error: HarnessError, found: Found, reporter: Reporter) -> Results:
    """Failed rows for what was left undone where a job was lost."""
    label, seed, *_ = job
    for entry in entries(benchmark.config):
        if entry.job == label and (entry.label, seed) not in found:
            yield (entry.label, seed), fail(benchmark, entry, seed, error, reporter)


def _in_order(config: RunConfig, found: Found) -> tuple[list[Measurement], bool]:
    rows = [row for entry in entries(config) for seed in config.seeds for row in found[entry.label, seed]]
    return rows, all(row.status != "failed" for row in rows)


def jobs_of(config: RunConfig) -> list[Job]:
    """What may run side by side; learned methods first, for they take longest, and of them those that write.

    A shuffled-image rerun needs its method's checkpoint, so it comes along. A row with an imputer needs two
    checkpoints and comes last; what is not trained by then it trains, under the lock of that cell.
    """

    def late(row: Entry) -> tuple[bool, bool, bool]:
        card = row.method_class.card
        return bool(row.imputer), not card.learned, Task.REPORT not in card.tasks

    rows = sorted(entries(config), key=late)
    return list(dict.fromkeys((row.job, seed) for row in rows for seed in config.seeds))


def _open(settings: RunSettings) -> Opened:
    benchmark = open_benchmark(settings)

    def work(job: Job, reporter: Reporter) -> Results:
        label, seed, *step = job
        rows = [entry for entry in entries(settings.config) if entry.job == label]
        if step == [FIT]:
            evaluate.prepare(benchmark, rows[0], seed, reporter)
        elif step and isinstance(step[0], Part):
            for entry in rows:
                evaluate.share(benchmark, entry, seed, step[0], _Named(reporter, f" {step[0]}"))
        else:
            for entry in rows:
                yield (entry.label, seed), evaluate.evaluate(benchmark, entry, seed, reporter)

    return work
