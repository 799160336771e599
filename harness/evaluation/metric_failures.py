"""Metrics that fail: each one alone, named, while the other metrics of the row have numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.core.errors import DiskError
from harness.core.failures import describe, keep_traceback
from harness.core.slugs import slug
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

        Of several failures of one metric the first reason stays.
        """
        try:
            yield
        except DiskError:
            raise
        except (Exception, SystemExit) as error:
            reason = describe(error, type(metric).__module__)
            if self.folder is not None:
                log = self.folder / f"error-{slug(metric.name)}.txt"
                keep_traceback(log, error)
            self.reasons.setdefault(metric.name, reason)

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
