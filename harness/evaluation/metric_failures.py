"""Metrics that fail: each one alone, named, while the other metrics of the row have numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.core import registry
from harness.core.errors import DiskError
from harness.core.failures import describe, keep_traceback, let_through, no_silent_end
from harness.core.opened import noting
from harness.core.printed import OUTPUT, printed_into, printed_nowhere
from harness.core.slugs import slug
from harness.core.untouched import untouched
from harness.metrics.base import Metric


class MetricFailures:
    """Why metrics have no numbers, by family.

    Args:
        folder: gets a file with the traceback of each failure; None keeps none.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.reasons: dict[str, str] = {}

    @contextmanager
    def of(self, metric: Metric) -> Iterator[None]:
        """Note what goes wrong inside as a failure of the metric, unless nothing can be written at all.

        Of several failures of one metric the first reason stays. What a plugin prints is not shown: with a
        folder it is kept there, as what methods print.
        """
        process = os.getpid()
        try:
            with kept_apart(metric, self.folder):
                yield
        except DiskError:
            raise
        except BaseException as error:
            let_through(error)
            reason = describe(error, type(metric).__module__)
            if self.folder is not None:
                log = self.folder / f"error-{slug(metric.name)}.txt"
                keep_traceback(log, error)
            self.reasons.setdefault(metric.name, reason)
        finally:
            if os.getpid() != process:  # a fork that came back out of the plugin would do all the rest again
                os._exit(1)

    def __contains__(self, name: object) -> bool:
        return name in self.reasons

    def summary(self) -> str:
        """One line that names every metric that failed; empty without a failure."""
        lines = [
            reason if reason.startswith("metric ") else f"metric {name}: {reason}"
            for name, reason in self.reasons.items()
        ]
        where = f" (tracebacks: {self.folder}/error-*.txt)" if lines and self.folder else ""
        return "; ".join(lines) + where


@contextmanager
def kept_apart(metric: Metric, folder: Path | None = None) -> Iterator[None]:
    """A metric of another package neither prints on the terminal, nor ends the process, nor changes it.

    A class that the caller of a Python function has given may print and end, but not change others either.

    Args:
        folder: gets what it prints, as what methods print; None drops it.
    """
    with ExitStack() as stack:
        if not registry.is_ours(type(metric)):
            stack.enter_context(untouched(f"metric {metric.name}"))
        if registry.is_foreign(type(metric)):
            stack.enter_context(noting(type(metric).__module__))
            stack.enter_context(no_silent_end())
            stack.enter_context(printed_nowhere() if folder is None else printed_into(folder / OUTPUT))
        yield
