"""Finds reports word by word among texts and among lists of numbers.

A report counts only as far as training and validation never showed it: of its words in a row (``WINDOW``),
those that also stand in a report that a method may learn from are no sign of anything.

Numbers stand for words as a vocabulary gives them. Whatever they are, a word that returns is a number that
returns, and the distances between returns tell reports apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.core.words import words_of
from harness.datasets.base import Dataset

WINDOW = 8
"""Words in a row."""
SPAN = 20
"""Numbers in a row."""
_RETURNS = 4
"""Numbers of a span that have to return in it: without returns all spans look alike."""
_LEAST = 3
"""Windows of a report that training never showed, from which it is looked for."""
_BLOCK = 1 << 20
"""Spans that are held in memory at a time."""

_WORD = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W\u3040-\u30ff\u4e00-\u9fff]+")
_ESCAPES = re.compile(r"\\[nrtbf]")

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of reports that training never showed.

    Attributes:
        owners: window -> numbers of the reports that have it.
        sizes: number of a report -> how many windows it has.
    """

    owners: dict[str | int, tuple[int, ...]] = field(default_factory=dict)
    sizes: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, hidden: Sequence[Iterable[str | int]], open_: Iterable[Iterable[str | int]]) -> Windows:
        """Those of each report in ``hidden`` that are not among the windows in ``open_``."""
        owners: dict[str | int, set[int]] = {}
        for number, windows in enumerate(hidden):
            for window in windows:
                owners.setdefault(window, set()).add(number)
        for windows in open_:
            for window in windows:
                owners.pop(window, None)
        sizes = Counter(number for numbers in owners.values() for number in numbers)
        countable = {number: size for number, size in sizes.items() if size >= _LEAST}
        kept = {window: tuple(numbers & countable.keys()) for window, numbers in owners.items()}
        return cls({window: numbers for window, numbers in kept.items() if numbers}, Counter(countable))

    def held(self, windows: Iterable[str | int]) -> set[int]:
        """Numbers of the reports of which at least half of the windows are among ``windows``."""
        hits: Counter[int] = Counter()
        for window in set(windows) & self.owners.keys():
            hits.update(self.owners[window])
        return {number for number, count in hits.items() if 2 * count >= self.sizes[number]}


@dataclass(frozen=True, slots=True)
class Hidden:
    """Test reports that training never showed, as words and as patterns of numbers.

    Attributes:
        words: windows of words.
        patterns: hashes of the returns in spans of numbers, for each way to split reports.
    """

    words: Windows
    patterns: tuple[Windows, ...]

    @property
    def reports(self) -> int:
        """How many reports can be found."""
        return len({number for each in (self.words, *self.patterns) for number in each.sizes})

    def in_texts(self, texts: Iterable[str]) -> set[int]:
        """Numbers of the reports that stand in texts."""
        return self.words.held(window for text in texts for window in word_windows(text))

    def in_numbers(self, arrays: Iterable[Numbers]) -> set[int]:
        """Numbers of the reports that stand in lists of numbers, whatever number stands for a word."""
        expected = np.array(
            sorted({window for each in self.patterns for window in each.owners}), dtype=np.int64
        )
        hits: set[int] = set()
        for array in arrays:
            hits.update(np.intersect1d(expected, patterns(array)).tolist())
        return {number for each in self.patterns for number in each.held(hits)}


NOTHING = Hidden(Windows(), ())
"""No report can be found."""


def hidden_reports(dataset: Dataset) -> Hidden:
    """What is looked for: the reports of all test studies, less what training and validation reports show."""
    test = [study.report or "" for study in dataset.studies("test")]
    shown = [study.report or "" for split in ("train", "val") for study in dataset.studies(split)]
    ways: tuple[Callable[[str], Sequence[str]], ...]
    ways = words_of(dataset.info.tokenizer).split, str.split, _words, list

    def spans(way: Callable[[str], Sequence[str]], reports: Sequence[str]) -> list[list[int]]:
        return [patterns(_numbers(way(report))).tolist() for report in reports]

    return Hidden(
        Windows.of([word_windows(each) for each in test], map(word_windows, shown)),
        tuple(Windows.of(spans(way, test), spans(way, shown)) for way in ways),
    )


def word_windows(text: str) -> Iterator[str]:
    """All ``WINDOW`` words in a row of a text, without case and marks."""
    words = _words(text)
    return (" ".join(words[at : at + WINDOW]) for at in range(len(words) - WINDOW + 1))


def _words(text: str) -> list[str]:
    return _WORD.findall(_ESCAPES.sub(" ", text).lower())


def _numbers(words: Sequence[str]) -> Numbers:
    order: dict[str, int] = {}
    return np.array([order.setdefault(word, len(order)) for word in words], dtype=np.int64)


def patterns(array: Numbers) -> Numbers:
    """A hash for every ``SPAN`` numbers in a row: of how far back each was last met within the span.

    Spans in which few numbers return have none. Numbers of other values that return in the same places have
    the same hash.
    """
    values = np.ravel(array)
    if len(values) < SPAN:
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    again = ordered[1:] == ordered[:-1]
    distance = np.zeros(len(values), dtype=np.int64)
    distance[order[1:][again]] = (order[1:] - order[:-1])[again]
    factors = np.random.default_rng(0).integers(1, 2**62, SPAN, dtype=np.int64) | 1
    views = np.lib.stride_tricks.sliding_window_view(distance, SPAN)
    blocks = [_hashes(views[at : at + _BLOCK], factors) for at in range(0, len(views), _BLOCK)]
    return np.concatenate(blocks)


def _hashes(distances: Numbers, factors: Numbers) -> Numbers:
    within = np.where(distances <= np.arange(SPAN), distances, 0)
    returns = np.count_nonzero(within, axis=1)
    many = (returns >= _RETURNS) & (returns <= SPAN - _RETURNS)
    with np.errstate(over="ignore"):
        return np.asarray((within[many] * factors).sum(axis=1), dtype=np.int64)
