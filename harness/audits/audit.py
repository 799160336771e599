"""Black-box audits over the Method protocol: does a method cheat, knowingly or not?

A method is trained on a few real studies and asked about real test studies, again and again with one thing
changed that must not matter. A verdict names the study and the change that gave a method away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import __version__
from harness.audits import checks
from harness.audits.breach import Breach
from harness.audits.checks import repeatable
from harness.audits.differences import Answers
from harness.audits.plausibility import plausible
from harness.audits.provenance import answer_free
from harness.audits.replay import run_honest
from harness.audits.subject import Case, Subject
from harness.audits.verbatim import hidden_reports
from harness.audits.watch import data_files
from harness.core import registry
from harness.core.config import RunConfig, RunSettings
from harness.core.errors import HarnessError
from harness.core.failures import describe, let_through
from harness.core.progress import Reporter
from harness.core.types import Task
from harness.datasets.base import Dataset
from harness.datasets.opening import open_dataset, studies_of
from harness.datasets.selection import select
from harness.distributed import processes
from harness.distributed.processes import Job, Opened, Results, worker_count
from harness.evaluation.benchmark import resolve_device
from harness.evaluation.entries import Entry, entries
from harness.method.box.box import LIBRARIES, confinement
from harness.method.box.hidden import shared_by
from harness.method.box.starters import boxes
from harness.method.fingerprint import code_fingerprint
from harness.missingness.states import FULL
from harness.store import verdicts
from harness.store.store import Store
from harness.store.verdicts import Check, Verdict

LIMIT = 64
"""Studies of each split that an audit uses unless ``--limit`` says otherwise."""

STEPS: dict[str, checks.Step] = {
    **checks.STEPS,
    "run-honest": run_honest,
    "answer-free": answer_free,
    "plausible": plausible,
}
"""Checks on a trained method, by name; ``split-honest`` is what its training showed."""

_FEW = 2
SPLIT = "split-honest"
_COMPARING = frozenset({"target-blind", "batch-independent", "mask-honest", "run-honest"})
"""Checks that say nothing about a method whose answers differ each time."""
_TRAINING, _ASKING = "at import or in training", "during predict"
UNCONFINED = "this system, or a class that is in no module, allows no box"
CHECKS = (SPLIT, *STEPS)


def audit(settings: RunSettings, reporter: Reporter) -> list[Verdict]:
    """Audit every method of a run, several at a time where the machine bears it; verdicts go to the store.

    A method that cannot be loaded fails every check; the store keeps no verdict about it.

    Raises:
        HarnessError: a name that is not registered, a dataset that is not there.
    """
    settings = _boxed(settings)
    config = settings.config
    _start_boxes(config)
    broken: dict[str, str] = {}
    entries(config, broken)
    for name, reason in broken.items():
        reporter.failed(name, reason)
    audited = _audit(settings, reporter)
    return audited + [_not_loaded(config, name, reason) for name, reason in broken.items()]


def _boxed(settings: RunSettings) -> RunSettings:
    """Settings under which no code of a method runs outside a box, where there can be one."""
    names = [registry.split_variant(name)[0] for name in settings.config.methods]
    live = any(
        registry.is_live("methods", name) for name in (registry.names("methods") if "all" in names else names)
    )
    return settings.replaced(confine="on" if confinement() and not live else "off")


def _start_boxes(config: RunConfig) -> None:
    """Before the first box is asked what a method declares: the starter imports libraries when it starts."""
    if config.confine == "on":
        boxes(libraries=_preloaded(config))


def _preloaded(config: RunConfig) -> tuple[str, ...]:
    """What is imported once for all boxes: nothing for few methods, which may need none of it."""
    return LIBRARIES if len(config.methods) > _FEW or "all" in config.methods else ()


def _not_loaded(config: RunConfig, name: str, reason: str) -> Verdict:
    tried = tuple(Check(check, False, f"not tried: {reason}") for check in CHECKS)
    return Verdict(method=name, dataset=config.dataset, preset="-", studies=0, code="", checks=tried)


def _audit(settings: RunSettings, reporter: Reporter) -> list[Verdict]:
    config = settings.config
    jobs = [(entry.label, config.seeds[0]) for entry in _audited(config)]
    workers = worker_count(settings.execution, resolve_device(settings.execution.device), len(jobs))
    if workers == 1:
        with TemporaryDirectory(prefix="harness-") as folder:
            case = open_case(settings, Path(folder))
            return [_kept(config, case, entry, reporter) for entry in _audited(config)]
    context = processes.ready(
        ["harness.audits.audit", *registry.method_modules(config.methods, config.confine)]
    )
    # Whatever is wrong with the audit as a whole surfaces here.
    name = open_dataset(config.dataset, config.root, _settings(config)).info.name

    def lost(job: Job, error: HarnessError, verdict_of: dict[str, Verdict]) -> Results:
        tried = tuple(Check(check, False, f"not tried: {error}") for check in CHECKS)
        for entry in _audited(config):
            if entry.label == job[0]:
                reporter.failed(entry.label, f"audit: {error}")
                yield entry.label, _verdict(entry, name, config.preset, 0, tried)

    place = {entry.label: _place(entry) for entry in _audited(config)}
    longest_first = sorted(jobs, key=lambda job: place[job[0]])  # no process waits for a long one at the end
    verdict_of = processes.Team(settings, workers, reporter, context, _open, lost).work(longest_first)
    return [verdict_of[label] for label, _ in jobs]


def _place(entry: Entry) -> tuple[bool, bool, bool, bool]:
    """Where a method stands among the jobs: those that learn to write reports take longest.

    Controls come last, and of them those that read no image.
    """
    card = entry.method_class.card
    return entry.is_control, not card.learned, not card.reads, Task.REPORT not in card.tasks


def open_case(settings: RunSettings, folder: Path) -> Case:
    """What all methods of an audit share; ``folder`` is for scratch files."""
    config = settings.config
    limit = config.limit or LIMIT
    registry.load("datasets", config.dataset)  # what its import opens is no data

    def opened() -> Dataset:
        return open_dataset(config.dataset, config.root, _settings(config))

    dataset, files = data_files(opened, limit)
    train, val, test = (select(studies_of(dataset, split), limit) for split in ("train", "val", "test"))
    device = resolve_device(settings.execution.device)
    return Case(
        *(dataset, files, train, val, test, config.preset, device, folder),
        seed=config.seeds[0],
        store=config.store,
        root=config.root,
        unseen=hidden_reports(dataset),
        libraries=_preloaded(config),
    )


def _open(settings: RunSettings) -> Opened:
    """In a process of its own: the case, and the audit of one method after the other."""
    config = settings.config
    _start_boxes(config)
    case = open_case(settings, Path())

    def work(job: Job, reporter: Reporter) -> Results:
        for entry in _audited(config):
            if entry.label == job[0]:
                with TemporaryDirectory(prefix="harness-") as folder:
                    verdict = _kept(config, replace(case, folder=Path(folder)), entry, reporter)
                yield entry.label, verdict

    return work


def _audited(config: RunConfig) -> list[Entry]:
    return [entry for entry in entries(config, {}) if not entry.shuffled]


def _settings(config: RunConfig) -> dict[str, Any]:
    return config.set.get(config.dataset, {})


def _kept(config: RunConfig, case: Case, entry: Entry, reporter: Reporter) -> Verdict:
    """A verdict, which the store keeps as soon as it is there."""
    verdict = examine(case, entry, reporter)
    facts = {"harness": __version__, "limit": config.limit or LIMIT, "device": case.device, "seed": case.seed}
    verdicts.save(Store(config.store).root, verdict, facts)
    return verdict


def examine(case: Case, entry: Entry, reporter: Reporter) -> Verdict:
    """Every check of one method. A check that cannot be made has failed."""
    progress = reporter.phase(entry.label, "audit")
    subject = Subject(case, entry)
    try:
        answers = tuple(_checks(subject, progress))
    finally:
        subject.close()
    failed = [check.check for check in answers if not check.passed]
    if failed:
        reporter.failed(entry.label, f"audit: {', '.join(failed)}")
    else:
        reporter.done(entry.label, "audit passed")
    verdict = _verdict(entry, case.info.name, case.preset, len(case.test), answers)
    return replace(verdict, checkpoints=subject.replayed, files=subject.sources, places=subject.places)


def _verdict(entry: Entry, dataset: str, preset: str, studies: int, tried: tuple[Check, ...]) -> Verdict:
    return Verdict(
        method=entry.label,
        dataset=dataset,
        preset=preset if entry.method_class.card.learned else "-",
        studies=studies,
        code=code_fingerprint(entry.method_class),
        checks=tried,
    )


class _NotAsked(Exception):
    """A method could not be trained or asked.

    Attributes:
        check: the check that it has failed by that; empty where it has failed none.
    """

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(reason)
        self.check = check


def _checks(subject: Subject, progress: Callable[[float, str], None]) -> Iterator[Check]:
    total = len(STEPS) + 1
    trained = False
    try:
        yield _trained(subject, lambda share, status: progress(share / total, f"{SPLIT}: {status}"))
        trained = True
        base, twice = _base(subject)
    except _NotAsked as failure:
        for name in STEPS if trained else CHECKS:
            yield Check(name, False, f"{'' if name == failure.check else 'not tried: '}{failure}")
        return
    for number, name in enumerate(STEPS, 1):
        progress(number / total, name)
        if twice and name == "deterministic":
            yield Check(name, False, twice)
        elif twice and name in _COMPARING:
            yield Check(name, False, "not tried: the same question has two answers")
        else:
            yield _one(name, subject, base)
    progress(1.0, "done")


def _trained(subject: Subject, progress: Callable[[float, str], None]) -> Check:
    """Import and train the method.

    Raises:
        _NotAsked: it could not be trained.
    """
    case = subject.case
    try:
        subject.original()
        reached = subject.fit(progress)
    except BaseException as error:
        let_through(error)
        raise _not_asked(subject, error, SPLIT, _TRAINING) from error
    if reached:
        return Check(SPLIT, False, f"{reached}, {_TRAINING}")
    where = f"in a box ({subject.confined})" if subject.confined else f"unconfined: {UNCONFINED}"
    shared = shared_by(type(case.dataset), subject.entry.method_class.__module__) if subject.confined else ()
    where += f", with code of the data set: {', '.join(sorted(shared))}" if shared else ""
    return Check(SPLIT, True, f"imported and fit on {len(case.train)} and {len(case.val)} studies {where}")


def _base(subject: Subject) -> tuple[Answers, str]:
    """What later answers are held to, and why they differ the second time, empty where they do not.

    Raises:
        _NotAsked: it could not be asked.
    """
    try:
        for state in subject.states:
            subject.of_state(state)  # before any process is asked about whole studies
        base = subject.of_state(FULL)
        repeatable(subject, base)
    except Breach as breach:
        return base, str(breach)
    except BaseException as error:
        let_through(error)
        raise _not_asked(subject, error, "target-blind", _ASKING) from error
    return base, ""


def _not_asked(subject: Subject, error: BaseException, check: str, phase: str) -> _NotAsked:
    """Why a method could not be trained or asked: because it reached for the data, or for another reason."""
    reached = subject.reached()
    reason = describe(error, subject.entry.method_class.__module__)
    return _NotAsked(check, f"{reached}, {phase}: {reason}") if reached else _NotAsked("", reason)


def _one(name: str, subject: Subject, base: Answers) -> Check:
    try:
        check = Check(name, True, STEPS[name](subject, base))
    except Breach as breach:
        check = Check(name, False, str(breach))
    except BaseException as error:
        let_through(error)
        reason = describe(error, subject.entry.method_class.__module__)
        check = Check(name, False, f"could not be tried: {reason}")
    reached = subject.reached()
    return replace(check, passed=False, detail=f"{reached}, {_ASKING}") if reached else check


def to_rows(audited: Sequence[Verdict]) -> list[dict[str, Any]]:
    """One row per method and check: method, check, passed, detail."""
    return [
        {"method": verdict.method, "check": check.check, "passed": check.passed, "detail": check.detail}
        for verdict in audited
        for check in verdict.checks
    ]
