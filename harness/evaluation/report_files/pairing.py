"""References and predictions of systems, joined study by study, with remarks on what is odd about them."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference
from harness.evaluation.report_files.fields import NULL_WORDS, listed
from harness.evaluation.report_files.in_memory import Texts, reports_of
from harness.evaluation.report_files.joining import alike, joined_ids, last_report, shortened
from harness.evaluation.report_files.reader import ReportFile
from harness.metrics.base import Metric, Statistics, checked_statistics
from harness.metrics.several import SeveralTexts, known_way
from harness.metrics.text.hygiene import Remark, remarks_on, remarks_on_pairs


@dataclass(frozen=True, slots=True)
class ReportReading:
    """What report files cannot say themselves.

    Attributes:
        null_words: texts that mean "no report"; None: ``NULL_WORDS``.
        subset: ids of the studies that count; None: all.
        several: how several texts of one study count, ``max`` or ``mean``; None: they are refused.
    """

    null_words: Sequence[str] | None = None
    subset: Sequence[str] | None = None
    several: str | None = None


DEFAULT_READING = ReportReading()

_FIRST = 64
"""Studies that show a metric what it has to start."""


@dataclass(frozen=True, slots=True)
class PairedReports:
    """Studies of all files.

    Attributes:
        targets: in the order of the references' file.
        systems: system -> its predictions, in the same order.
        remarks: on all files; those of a system name it where there are several.
        several: system -> all texts, where a study has several; else empty.
    """

    targets: list[Reference]
    systems: Mapping[str, list[Prediction]]
    remarks: tuple[Remark, ...]
    several: Mapping[str, SeveralTexts] = field(default_factory=dict)

    def refused(self, metric: Metric) -> str | None:
        """Why a metric cannot score studies with several texts, or None."""
        return next((reason for each in self.several.values() if (reason := each.refused(metric))), None)

    def signature(self, metric: Metric, system: str) -> str:
        """The metric's signature, and how several texts count."""
        return self.several[system].signature(metric) if self.several else metric.signature

    def begin(self, metric: Metric) -> None:
        """Let a metric start what takes seconds to be ready: its first studies show what it needs."""
        if not self.several:
            for predictions in self.systems.values():
                metric.begin(predictions[:_FIRST], self.targets[:_FIRST])

    def statistics(self, metric: Metric, system: str) -> Statistics:
        """One row per study.

        Raises:
            PluginError: the metric breaks its contract.
        """
        if self.several:
            return self.several[system].statistics(metric)
        return checked_statistics(metric, self.systems[system], self.targets)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Inside, Python does not look for cycles of objects.

    Reading makes millions of objects that stay, and hardly any in a cycle: the search would take a tenth of
    the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_uncollected()
def paired_reports(
    references: Texts,
    systems: Mapping[str, Texts],
    reading: ReportReading = DEFAULT_READING,
) -> PairedReports:
    """Read and join reports of files or of objects.

    A prediction that is absent, blank or a null word counts as empty. A study whose reference is so cannot be
    scored: it is left out, and a remark says so.

    Args:
        references: the true reports: a file, or what ``in_memory.reports_of`` takes.
        systems: system -> its predictions, likewise.
        reading: what the files cannot say.

    Raises:
        HarnessError: an unreadable file, an id on one side only, an id of the subset that is no study, or no
            reference with words.
    """
    words = NULL_WORDS if reading.null_words is None else reading.null_words
    several = reading.several is not None
    true = reports_of(references, "references", words, several)
    files = {name: reports_of(each, "predictions", words, several) for name, each in systems.items()}
    lines_left_out: list[Remark] = []
    if all(file.order == "lines" for file in (true, *files.values())):
        length = last_report([true, *files.values()])
        lines_left_out += _blank_lines(true, "references", length)
        true, files = shortened(true, length), {name: shortened(file, length) for name, file in files.items()}
    for file in files.values():
        ids = joined_ids(true, file)
    if reading.subset is not None:
        ids, left_out = within(ids, reading.subset, true)
        lines_left_out.append(left_out)
    empty = [name for name in ids if not true.texts[name].strip()]
    scored = [name for name in ids if true.texts[name].strip()]
    if not scored:
        raise HarnessError(f"{true.path}: no report in it has words", "references need a text")
    similar = alike(true.texts)
    remarks = [*lines_left_out, *_of_file(true, "references", similar)]
    if empty:
        predicate = "are empty or a null word: their studies are left out"
        remarks.append(Remark("left out", predicate, len(empty), len(ids), "references", tuple(empty)))
    texts = {name: true.texts[name] for name in scored}
    remarks += remarks_on(texts, "references")
    for name, file in files.items():
        side, predicted = _side(name, files), {each: file.texts[each] for each in scored}
        own_similar = alike(file.texts) if similar else []  # the ids are those of the references
        remarks += [*_of_file(file, side, own_similar), *remarks_on(predicted, side)]
        remarks += remarks_on_pairs(predicted, texts, side)
    # A study whose patient the file does not name is its own patient.
    targets = [_reference(true, name, text) for name, text in texts.items()]
    predictions = {
        system: [Prediction(report=file.texts[name]) for name in scored] for system, file in files.items()
    }
    if reading.several is None:
        return PairedReports(targets, predictions, tuple(remarks))
    remarks += _counts(true, files, scored)
    return PairedReports(targets, predictions, tuple(remarks), _several(true, files, scored, reading.several))


def _reference(true: ReportFile, name: str, text: str) -> Reference:
    return Reference(name, true.patients.get(name, name), text, context=true.contexts.get(name))


def _several(
    true: ReportFile, files: Mapping[str, ReportFile], ids: Sequence[str], way: str
) -> dict[str, SeveralTexts]:
    """All texts of every study, by system.

    Raises:
        HarnessError: an unknown way, or no study has several.
    """
    way = known_way(way)
    if not any(file.more.get(name) for file in (true, *files.values()) for name in ids):
        raise HarnessError(f"--several {way}: no study has several texts", "leave it out")
    references = tuple(
        tuple(_reference(true, name, text) for text in (true.texts[name], *true.more.get(name, ())))
        for name in ids
    )
    return {
        system: SeveralTexts(
            tuple(
                tuple(Prediction(report=text) for text in (file.texts[name], *file.more.get(name, ())))
                for name in ids
            ),
            references,
            way,
        )
        for system, file in files.items()
    }


def _counts(true: ReportFile, files: Mapping[str, ReportFile], ids: Sequence[str]) -> Iterator[Remark]:
    """How many studies have several texts, and how many these are."""
    sides = {"references": true, **{_side(name, files): file for name, file in files.items()}}
    for side, file in sides.items():
        counts = {name: 1 + len(file.more[name]) for name in ids if name in file.more}
        if counts:
            fewest, most = min(counts.values()), max(counts.values())
            number = f"{most}" if fewest == most else f"{fewest} to {most}"
            predicate = f"have several texts of one study: {number}"
            yield Remark("several", predicate, len(counts), len(ids), side, tuple(counts))


def within(ids: Sequence[str], subset: Sequence[str], true: ReportFile) -> tuple[list[str], Remark]:
    """The ids of a subset, in the order of the references, and a remark that says how many they are."""
    if true.order != "ids":
        raise HarnessError(f"{true.path}: a subset needs ids", "write the reports with ids")
    if absent := [name for name in subset if name not in true.texts]:
        raise HarnessError(f"{true.path} lacks {len(absent)} ids of the subset: {listed(absent)}")
    if not subset:
        raise HarnessError("the subset has no ids", "one id per line")
    chosen = [name for name in ids if name in set(subset)]
    predicate = "are in the subset: only these are scored"
    return chosen, Remark("subset", predicate, len(chosen), len(ids), "studies", tuple(chosen))


def _side(system: str, systems: Mapping[str, object]) -> str:
    return f"predictions of {system}" if len(systems) > 1 else "predictions"


def _blank_lines(file: ReportFile, side: str, length: int) -> Iterator[Remark]:
    blank = tuple(list(file.texts)[length:])
    if blank:
        yield Remark(
            "blank lines", "are blank lines at the end: left out", len(blank), len(file.texts), side, blank
        )


def _of_file(file: ReportFile, side: str, similar: Sequence[str]) -> Iterator[Remark]:
    """What the reader met in a file; ``similar`` are its ids that differ from another only in form."""
    total = len(file.texts)
    nulls = tuple(name for name in file.nulls if name in file.texts)
    if nulls:
        predicate = "are absent or a null word such as nan: they count as empty"
        yield Remark("null", predicate, len(nulls), total, side, nulls)
    if file.repeated:
        predicate = "occur several times with the same text: they count once"
        yield Remark("repeated", predicate, len(file.repeated), total, side, file.repeated)
    if similar:
        predicate = "have an id that differs from another only in form"
        yield Remark("ids", predicate, len(similar), total, side, tuple(similar))
