"""All benchmarks in one go. A failed benchmark becomes a row with its reason; the others go on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.bench.rows import Row
from harness.core.errors import HarnessError
from harness.core.progress import Reporter

SUITES = ("metrics", "methods", "sampling", "robustness", "labeler", "data", "run")
"""What ``harness bench`` measures, in this order."""
BY_NAME = ("scaling", "judgement", "gpu")
"""What it measures only where it is named: many minutes, no speed, or a GPU."""


@dataclass(frozen=True, slots=True)
class Options:
    """The flags of ``harness bench``.

    Attributes:
        suites: which of ``SUITES`` and ``BY_NAME``; empty for all of ``SUITES``, without those that have
            nothing to measure.
        methods: names of learned methods, or None for all of them.
        preset: size of the methods.
        peers: folder with clones of official repositories.
        device: torch device of the methods.
        images, size: files per format of the data benchmark, and their height and width in pixels.
        sizes: numbers of studies of the scaling benchmark; empty for its own.
        store: store whose last complete run ``run`` is about; ``sampling`` draws with its trained methods.
        judgements: files of human judgements, each as ``KIND=PATH``.
        limit: studies per split of the run of ``gpu``; None for all.
        minutes: time limit of ``gpu``.
    """

    suites: tuple[str, ...] = ()
    methods: tuple[str, ...] | None = None
    preset: str = "tiny"
    peers: Path | None = None
    device: str = "cpu"
    images: int = 128
    size: int = 1024
    sizes: tuple[int, ...] = ()
    store: Path = Path("runs")
    judgements: tuple[str, ...] = ()
    limit: int | None = None
    minutes: float = 25.0


Work = Callable[[], list[Row]]
"""One benchmark: some rows at a time."""


def run(options: Options, reporter: Reporter) -> list[Row]:
    """The rows of all benchmarks that were asked for.

    Raises:
        HarnessError: a flag that no benchmark can work with; nothing is measured then.
    """
    works = [work for suite in options.suites or SUITES for work in _works(suite, options)]
    return [row for suite, name, work in works for row in _guarded(suite, name, work, reporter)]


def _works(suite: str, options: Options) -> Iterator[tuple[str, str, Work]]:
    """(Suite, name, work) of each of its benchmarks; what they need is imported here."""
    if suite == "metrics":
        from harness.bench import metrics

        yield from ((suite, name, work) for name, work in metrics.BENCHMARKS.items())
    elif suite == "methods":
        from harness.bench import methods

        chosen = methods.learned_methods() if options.methods is None else options.methods
        methods.check(chosen, options.peers)
        for name in chosen:
            rest = (options.preset, options.peers, options.device)
            yield suite, name, partial(methods.method_benchmark, name, *rest)
    elif suite == "sampling":
        from harness.bench.sampling import sampled_methods, sampling_benchmark

        for name in sampled_methods():
            if options.methods is None or name in options.methods:
                where = (options.store, options.preset, options.device)
                yield suite, name, partial(sampling_benchmark, name, *where)
    elif suite == "robustness":
        from harness.bench import robustness

        yield from ((suite, name, work) for name, work in robustness.BENCHMARKS.items())
    elif suite == "labeler":
        from harness.bench.labeler import labeler_benchmark

        yield suite, "rule labels", partial(labeler_benchmark, every=options.suites == (suite,))
    elif suite == "data":
        from harness.bench import data

        data.check(options.images, options.size)
        for kind in data.SUFFIXES:
            yield suite, kind, partial(data.data_benchmark, kind, options.images, options.size)
    elif suite == "scaling":
        from harness.bench import scaling

        sizes = options.sizes or scaling.SIZES
        scaling.check(sizes)
        for kind in scaling.KINDS:
            yield suite, kind, partial(scaling.scaling_benchmark, kind, sizes)
    elif suite == "judgement":
        from harness.bench import judgement
        from harness.bench.judgement_sets import JudgementFile

        files = [JudgementFile.of(assignment) for assignment in options.judgements]
        yield suite, "rewritten reports", judgement.rewrite_benchmark
        for file in files:
            yield suite, file.kind, partial(judgement.agreement_benchmark, file)
    elif suite == "gpu":
        yield from ((suite, name, work) for name, work in _gpu_works(options))
    else:
        from harness.bench.phases import run_benchmark

        yield suite, "last run", partial(run_benchmark, options.store, required=bool(options.suites))


def _gpu_works(options: Options) -> Iterator[tuple[str, Work]]:
    from harness.bench import gpu, methods

    chosen = tuple(methods.learned_methods() if options.methods is None else options.methods)
    methods.check(chosen, options.peers)
    ends = time.monotonic() + 60 * options.minutes
    yield from gpu.works(
        gpu.Setting(chosen, options.device, options.peers, options.store, options.limit, ends)
    )


def _guarded(suite: str, name: str, work: Work, reporter: Reporter) -> Sequence[Row]:
    """A benchmark's rows, or one that says why it failed."""
    label = f"{suite}, {name}"
    reporter.phase(label, "measure")
    started = time.perf_counter()
    try:
        rows = work()
    except HarnessError as error:
        return [_failed(suite, name, label, " ".join(str(error).split()), reporter)]
    except subprocess.CalledProcessError as error:
        reason = (
            str(error.stderr or "").strip().splitlines() or [f"a process ended with {error.returncode}"]
        )[-1]
        return [_failed(suite, name, label, reason, reporter)]
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        return [_failed(suite, name, label, f"{type(error).__name__}: {reason}", reporter)]
    reporter.done(label, f"{len(rows)} rows in {time.perf_counter() - started:.0f} s")
    return rows


def _failed(suite: str, name: str, label: str, reason: str, reporter: Reporter) -> Row:
    reporter.failed(label, reason)
    return Row(suite, name, note=reason, state="failed")


def report(rows: Sequence[Row], facts: dict[str, Any]) -> dict[str, Any]:
    """A run of benchmarks as JSON: the machine once, then the rows."""
    return {"machine": facts, "rows": [row.to_json() for row in rows]}
