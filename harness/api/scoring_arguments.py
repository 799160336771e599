"""Arguments of ``score``, ``compare`` and their siblings, held to their types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral

from harness.core.arguments import of_type, several_of, texts_of, whole_number
from harness.core.errors import HarnessError
from harness.core.metric_options import MetricOptions
from harness.evaluation.probability_files.tables import LabelReading
from harness.evaluation.report_files.pairing import ReportReading


def options_of(options: Mapping[str, str | int | None]) -> MetricOptions:
    """How metrics are computed.

    Raises:
        HarnessError: no such option, or a value of another type.
    """
    names = ("tokenizer", "reference_words", "uncertain")
    for name, value in options.items():
        if name not in names:
            raise HarnessError(f"{name}: no such option", f"options are {', '.join(names)}")
        if value is not None and name == "reference_words":
            whole_number(value, name)
        elif value is not None:
            of_type(value, str, name, "a text")
    return MetricOptions(**options)  # type: ignore[arg-type]


def metrics_of(metrics: str | Iterable[str] | None) -> Sequence[str] | None:
    """Names of metrics; None: all that can run.

    Raises:
        HarnessError: no names, or none at all.
    """
    if metrics is None:
        return None
    wanted = "names of metrics, such as 'bleu'"
    several = [metrics] if isinstance(metrics, str) else several_of(metrics, "metrics", wanted)
    if not several:
        raise HarnessError("no metric is named", "name some, or give None for all that can run")
    return texts_of(several, "metrics", wanted)


def reading_of(reading: ReportReading) -> ReportReading:
    """What report files cannot say, with lists that were read once.

    Raises:
        HarnessError: no ``ReportReading``, or fields of another type.
    """
    of_type(reading, ReportReading, "reading", "a harness.ReportReading")
    words = reading.null_words
    return replace(
        reading,
        null_words=None if words is None else texts_of(words, "reading.null_words", "a list of texts"),
        subset=_subset(reading.subset),
    )


def label_reading_of(reading: LabelReading, argument: str = "reading") -> LabelReading:
    """What tables of labels cannot say, with lists that were read once.

    Raises:
        HarnessError: no ``LabelReading``, or fields of another type.
    """
    of_type(reading, LabelReading, argument, "a harness.LabelReading")
    labels = texts_of(reading.labels, f"{argument}.labels", "a tuple of names of columns")
    return replace(reading, labels=labels, subset=_subset(reading.subset))


def _subset(ids: Iterable[str] | None) -> tuple[str, ...] | None:
    if ids is None:
        return None
    wanted = "a list of ids of studies"
    each = several_of(ids, "reading.subset", wanted)
    return tuple(str(of_type(name, str | Integral, "reading.subset", wanted)) for name in each)
