"""A run: its trials one after another, side by side on one machine, or as tasks on a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from harness.core import registry
from harness.core.clock import CELLS, OPEN
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.progress import Progress, Reporter
from harness.core.types import Task
from harness.distributed import launch, processes, ray_tasks
from harness.distributed.processes import Job, Opened, Results, worker_count
from harness.evaluation import tracking
from harness.evaluation.benchmark import Benchmark, open_benchmark, prepare_images, resolve_device
from harness.evaluation.chosen_metrics import absent_metrics, broken_metrics
from harness.evaluation.confinement import settled
from harness.evaluation.entries import Entry, entries
from harness.evaluation.evaluate import evaluate, predict_shard, prepare
from harness.evaluation.record import record_failure
from harness.evaluation.timings import Timings
from harness.evaluation.trial import Trial, train_as_member
from harness.store.predictions import Shard
from harness.store.results import Measurement
from harness.store.row_labels import row_title, trained

Rows = dict[tuple[str, int], list[Measurement]]
"""(label, seed) -> the numbers of a leaderboard row."""


@dataclass(frozen=True)
class Work:
    """What a run has to do.

    Attributes:
        settings: of the run.
        entries: the rows that the settings ask for.
        broken: (name, reason) of methods and metrics that the settings ask for and that cannot be loaded.
    """

    settings: RunSettings
    entries: Sequence[Entry]
    broken: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, settings: RunSettings) -> Work:
        """Find the rows.

        Raises:
            UnknownNameError: a method, variant or setting that does not exist.
            PluginError: no method can be loaded.
        """
        broken: dict[str, str] = {}
        rows = entries(settings.config, broken)
        metrics = broken_metrics(settings.config)
        return cls(settings, rows, [*broken.items(), *metrics.items()])

    @property
    def jobs(self) -> list[Job]:
        """What may run side by side, as (label, seed).

        Learned methods come first, for they take longest, and of them those that write reports. A
        shuffled-image rerun needs its method's checkpoint, so it belongs to its method's job. A row with an
        imputer needs two checkpoints and comes last; what is not trained by then it trains, under the lock of
        that cell.
        """

        def late(entry: Entry) -> tuple[bool, bool, bool]:
            card = entry.method_class.card
            return bool(entry.imputer), not card.learned, Task.REPORT not in card.tasks

        ordered = sorted(self.entries, key=late)
        return list(
            dict.fromkeys((entry.job, seed) for entry in ordered for seed in self.settings.config.seeds)
        )

    @property
    def titles(self) -> list[str]:
        """What progress calls the rows, in the order of ``--methods`` and ``--seeds``."""
        seeds = self.settings.config.seeds
        return [row_title(entry.label, seed, seeds) for entry in self.entries for seed in seeds]

    def in_order(self, rows: Rows) -> tuple[list[Measurement], bool]:
        """All numbers in the order of ``--methods`` and ``--seeds``, and whether all of them succeeded."""
        seeds = self.settings.config.seeds
        numbers = [row for entry in self.entries for seed in seeds for row in rows[entry.label, seed]]
        return numbers, not self.broken and all(row.status != "failed" for row in numbers)


def run(settings: RunSettings, reporter: Reporter, *, tracks: bool = True) -> tuple[list[Measurement], bool]:
    """Train what is not trained, predict what is not predicted, score, store.

    Args:
        settings: what is computed, and where.
        reporter: shows progress.
        tracks: also hand the rows to what ``--track`` names.

    Returns:
        The numbers of this run in the order of its methods, and whether everything succeeded: a method or
        metric that fails, or that cannot be loaded, never takes the run down. Of several nodes that train
        together, the first has the numbers.
    """
    execution = settings.execution
    if execution.address is not None and execution.executor != "ray":
        raise HarnessError(f"--address {execution.address}: only Ray has one", "add --executor ray")
    if execution.shards > 1 and execution.executor != "ray":
        raise HarnessError(f"--shards {execution.shards}: only Ray spreads predictions", "add --executor ray")
    launch.check(execution)
    settings = settled(settings)
    if execution.track is not None:
        tracking.check(execution.track)
    timings = Timings.over(reporter)
    timings.begin(OPEN)
    work = Work.of(settings)
    timings.expect(work.titles)
    for name, reason in work.broken:
        timings.reporter.failed(name, reason)
    for name, reason in absent_metrics(settings.config).items():
        timings.reporter.done(name, f"not computed: {reason}")
    rows, succeeded = (_on_cluster if execution.executor == "ray" else _here)(work, timings)
    if not rows:
        return rows, succeeded
    timings.keep(settings, succeeded, dict.fromkeys((trained(label), seed) for label, seed in work.jobs))
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


def run_serially(settings: RunSettings, reporter: Reporter) -> tuple[list[Measurement], bool]:
    """A run's trials one after another, in this process."""
    return _serially(Work.of(settings), reporter)


def _serially(work: Work, reporter: Reporter) -> tuple[list[Measurement], bool]:
    benchmark = open_benchmark(work.settings, work.entries)
    prepare_images(benchmark, reporter)
    rows = {
        (entry.label, seed): evaluate(Trial(benchmark, entry, seed, reporter))
        for entry in benchmark.entries
        for seed in benchmark.config.seeds
    }
    return work.in_order(rows)


def _here(work: Work, reporter: Timings) -> tuple[list[Measurement], bool]:
    """In processes of this machine."""
    settings, execution = work.settings, work.settings.execution
    if launch.together(execution) > 1:
        return _trained_together(work, reporter)
    workers = worker_count(execution, resolve_device(execution.device), len(work.jobs))
    if workers == 1:
        return _serially(work, reporter)
    methods = registry.method_modules(settings.config.methods, settings.config.confine)
    context = processes.ready(["harness.evaluation.evaluate", *methods])
    benchmark = open_benchmark(settings, work.entries)  # errors of the run as a whole surface here
    prepare_images(benchmark, reporter)
    elsewhere = reporter.elsewhere()

    def lost(job: Job, error: HarnessError, rows: Rows) -> Results:
        return _failed(benchmark, job, error, rows, elsewhere)

    reporter.begin(CELLS)
    opener = partial(_open, fingerprint=benchmark.dataset.info.fingerprint)
    return work.in_order(processes.Team(settings, workers, elsewhere, context, opener, lost).work(work.jobs))


def _trained_together(work: Work, reporter: Timings) -> tuple[list[Measurement], bool]:
    """One trial at a time, each trained by several processes. Only the first node has rows."""
    with launch.meeting(work.settings.execution) as first:
        if first:
            return _serially(work, reporter)
        launch.follow(work.settings, train_as_member, lambda name: reporter.phase(name, "train"))
        return [], True


def _on_cluster(work: Work, reporter: Timings) -> tuple[list[Measurement], bool]:
    """One Ray task per job. What it stores says nothing of the cluster: a local run would store the same."""
    settings, execution = work.settings, work.settings.execution
    config = settings.config
    ray_tasks.check(execution)
    cards = {entry.job: entry.cards for entry in work.entries}
    local = {"executor": "local", "address": None, "track": None, "workers": None, "shards": 1}
    paths = {"store": config.store, "root": config.root, "masks": config.masks}
    absolute = {name: path.resolve() for name, path in paths.items() if path is not None}
    stored = settings.replaced(**local, **absolute)  # a node's working folder is another
    # Where the run is started there may be no GPU: it reads data and writes what a lost task could not.
    benchmark = open_benchmark(stored.replaced(device="cpu"), work.entries)
    own = benchmark.settings.replaced(device=execution.device)
    benchmark = replace(benchmark, device=f"Ray ({execution.device})", settings=own)
    prepare_images(benchmark, reporter)

    def need(job: Job) -> ray_tasks.Need:
        label, _, *step = job
        used = cards[label]
        trains = any(card.learned for card in used) and step in ([], [FIT])
        members = execution.devices if trains else 1
        gpus = max(members, *(card.gpus for card in used))
        return ray_tasks.Need(gpus, max(card.memory_gib for card in used), members)

    elsewhere = reporter.elsewhere()

    def lost(job: Job, error: HarnessError, rows: Rows) -> Results:
        return _failed(benchmark, job, error, rows, elsewhere)

    reporter.begin(CELLS)
    steps = _Steps(execution.shards)
    rules = ray_tasks.JobRules(need, lost, steps.after)
    opener = partial(_open, fingerprint=benchmark.dataset.info.fingerprint)
    tasks = ray_tasks.Tasks(execution, stored, opener, rules, elsewhere)
    return work.in_order(tasks.work(steps.first(work.jobs)))


FIT, JOIN = "fit", "join"


class _Steps:
    """Steps of a job whose test studies several tasks predict: fit, then the shards, then the rest.

    The last step alone would do; it finds done what the others did.
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
            return [(*job, Shard(number, self.shards)) for number in range(self.shards)]
        if not step or step == (JOIN,):
            return []
        self.left[job] -= 1
        return [] if self.left[job] else [(*job, JOIN)]


class _OfShard:
    """A reporter of one of several tasks that work on a row: the row's label, with the shard behind it."""

    def __init__(self, reporter: Reporter, shard: Shard) -> None:
        self.reporter, self.suffix = reporter, f" {shard}"

    def phase(self, label: str, phase: str) -> Progress:
        return self.reporter.phase(label + self.suffix, phase)

    def done(self, label: str, summary: str) -> None:
        self.reporter.done(label + self.suffix, summary)

    def failed(self, label: str, reason: str) -> None:
        self.reporter.failed(label + self.suffix, reason)


def _failed(benchmark: Benchmark, job: Job, error: HarnessError, rows: Rows, reporter: Reporter) -> Results:
    """Failed rows for what was left undone where a job was lost."""
    label, seed, *_ = job
    for entry in benchmark.entries:
        if entry.job == label and (entry.label, seed) not in rows:
            yield (entry.label, seed), record_failure(Trial(benchmark, entry, seed, reporter), error)


def _open(settings: RunSettings, fingerprint: str) -> Opened:
    """In a process of its own: the benchmark, and then one job after another.

    Args:
        fingerprint: of the data as the run read them. A plugin's dataset may follow a salted hash or a date.

    Raises:
        HarnessError: they are others here.
    """
    benchmark = open_benchmark(settings)
    if benchmark.dataset.info.fingerprint != fingerprint:
        message = f"dataset {benchmark.dataset.info.name}: its studies are others in another process"
        raise HarnessError(message, "do they follow a salted hash, a date, a random number, changed files?")

    def work(job: Job, reporter: Reporter) -> Results:
        label, seed, *step = job
        trials = [
            Trial(benchmark, entry, seed, reporter) for entry in benchmark.entries if entry.job == label
        ]
        if step == [FIT]:
            prepare(trials[0])
        elif step and isinstance(step[0], Shard):
            for trial in trials:
                predict_shard(replace(trial, shard=step[0], reporter=_OfShard(reporter, step[0])))
        else:
            for trial in trials:
                yield (trial.entry.label, seed), evaluate(trial)

    return work
