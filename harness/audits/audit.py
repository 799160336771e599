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
from harness.audits.plausibility import plausible
from harness.audits.provenance import answer_free
from harness.audits.replay import run_honest
from harness.audits.subject import Answers, Case, Subject
from harness.audits.verbatim import hidden_reports
from harness.audits.watch import Touches, data_files
from harness.core import registry
from harness.core.config import RunConfig, RunSettings
from harness.core.failures import describe
from harness.core.progress import Reporter
from harness.datasets.base import Dataset
from harness.datasets.opening import open_dataset, studies_of
from harness.datasets.selection import select
from harness.distributed import processes
from harness.distributed.processes import Job, Opened, Results, worker_count
from harness.evaluation.benchmark import resolve_device
from harness.evaluation.entries import Entry, entries
from harness.method.fingerprint import code_fingerprint
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

SPLIT = "split-honest"
CHECKS = (SPLIT, *STEPS)


def audit(settings: RunSettings, reporter: Reporter) -> list[Verdict]:
    """Audit every method of a run, several at a time where the machine bears it; verdicts go to the store.

    A method that cannot be loaded fails every check; the store keeps no verdict about it.

    Raises:
        HarnessError: a name that is not registered, a dataset that is not there.
    """
    config = settings.config
    broken: dict[str, str] = {}
    entries(config, broken)
    for name, reason in broken.items():
        reporter.failed(name, reason)
    audited = _audit(settings, reporter)
    return audited + [_not_loaded(config, name, reason) for name, reason in broken.items()]


def _not_loaded(config: RunConfig, name: str, reason: str) -> Verdict:
    tried = tuple(Check(check, False, f"not tried: {reason}") for check in CHECKS)
    return Verdict(method=name, dataset=config.dataset, preset="-", studies=0, code="", checks=tried)


def _audit(settings: RunSettings, reporter: Reporter) -> list[Verdict]:
    config = settings.config
    jobs = [(entry.label, config.seeds[0]) for entry in _audited(config)]
    workers = worker_count(settings.execution, resolve_device(settings.execution.device), len(jobs))
    if workers == 1:
        with TemporaryDirectory(prefix="harness-audit-") as folder:
            case = open_case(settings, Path(folder))
            return [_kept(config, case, entry, reporter) for entry in _audited(config)]
    context = processes.ready(["harness.audits.audit", *registry.method_modules(config.methods)])
    # Whatever is wrong with the audit as a whole surfaces here.
    name = open_dataset(config.dataset, config.root, _settings(config)).info.name

    def lost(job: Job, code: int | None, verdict_of: dict[str, Verdict]) -> Results:
        tried = tuple(
            Check(check, False, f"not tried: its process ended with code {code}") for check in CHECKS
        )
        for entry in _audited(config):
            if entry.label == job[0]:
                reporter.failed(entry.label, f"audit: its process ended with code {code}")
                yield entry.label, _verdict(entry, name, config.preset, 0, tried)

    verdict_of = processes.Team(settings, workers, reporter, context, _open, lost).work(jobs)
    return [verdict_of[label] for label, _ in jobs]


def open_case(settings: RunSettings, folder: Path) -> Case:
    """What all methods of an audit share; ``folder`` is for scratch files."""
    config = settings.config
    limit = config.limit or LIMIT
    registry.load("datasets", config.dataset)  # what its import opens is no data

    def opened() -> Dataset:
        return open_dataset(config.dataset, config.root, _settings(config))

    dataset, files, opened_files = data_files(opened, limit)
    train, val, test = (select(studies_of(dataset, split), limit) for split in ("train", "val", "test"))
    device = resolve_device(settings.execution.device)
    return Case(
        *(dataset, files, train, val, test, config.preset, device, folder),
        seed=config.seeds[0],
        store=config.store,
        opened=opened_files,
        unseen=hidden_reports(dataset),
    )


def _open(settings: RunSettings) -> Opened:
    """In a process of its own: the case, and the audit of one method after the other."""
    config, case = settings.config, open_case(settings, Path())

    def work(job: Job, reporter: Reporter) -> Results:
        for entry in _audited(config):
            if entry.label == job[0]:
                with TemporaryDirectory(prefix="harness-audit-") as folder:
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
    answers = tuple(_checks(subject, progress))
    failed = [check.check for check in answers if not check.passed]
    if failed:
        reporter.failed(entry.label, f"audit: {', '.join(failed)}")
    else:
        reporter.done(entry.label, "audit passed")
    verdict = _verdict(entry, case.info.name, case.preset, len(case.test), answers)
    return replace(verdict, checkpoints=subject.replayed, files=subject.sources)


def _verdict(entry: Entry, dataset: str, preset: str, studies: int, tried: tuple[Check, ...]) -> Verdict:
    return Verdict(
        method=entry.label,
        dataset=dataset,
        preset=preset if entry.method_class.card.learned else "-",
        studies=studies,
        code=code_fingerprint(entry.method_class),
        checks=tried,
    )


def _checks(subject: Subject, progress: Callable[[float, str], None]) -> Iterator[Check]:
    total = len(STEPS) + 1
    try:
        split_check = _trained(subject, lambda share, status: progress(share / total, f"{SPLIT}: {status}"))
        base = subject.predict()
    except (Exception, SystemExit) as error:
        reason = describe(error, subject.entry.method_class.__module__)
        yield Check(SPLIT, False, f"not tried: {reason}")
        yield from (Check(name, False, f"not tried: {reason}") for name in STEPS)
        return
    yield split_check
    for number, name in enumerate(STEPS, 1):
        progress(number / total, name)
        yield _one(name, subject, base)
    progress(1.0, "done")


def _one(name: str, subject: Subject, base: Answers) -> Check:
    try:
        return Check(name, True, STEPS[name](subject, base))
    except Breach as breach:
        return Check(name, False, str(breach))
    except (Exception, SystemExit) as error:
        return Check(
            name, False, f"could not be tried: {describe(error, subject.entry.method_class.__module__)}"
        )


def _trained(subject: Subject, progress: Callable[[float, str], None]) -> Check:
    """Fit with poisoned test studies; a method that reads one is fitted again without them."""
    case = subject.case
    method, touches = subject.fit(case.seed, progress, poisoned=True)
    breach = _breach(touches)
    if touches.fields:
        method, _ = subject.fit(case.seed, progress, poisoned=False)
    subject.method = method
    if breach:
        return Check(SPLIT, False, breach)
    return Check(
        SPLIT, True, f"fit on {len(case.train)} and {len(case.val)} studies with poisoned test studies"
    )


def _breach(touches: Touches) -> str:
    if touches.fields:
        study, name = touches.fields[0]
        return f"study {study}: its {name} was read during fit"
    return f"fit opened {touches.files[0]}, which holds the data" if touches.files else ""


def to_rows(audited: Sequence[Verdict]) -> list[dict[str, Any]]:
    """One row per method and check: method, check, passed, detail."""
    return [
        {"method": verdict.method, "check": check.check, "passed": check.passed, "detail": check.detail}
        for verdict in audited
        for check in verdict.checks
    ]
