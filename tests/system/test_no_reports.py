"""No report of IU X-Ray is in the repository: their licence (CC BY-NC-ND 4.0) does not allow it."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from harness.core.errors import UnavailableError
from harness.core.types import DatasetInfo, Study, Task
from harness.datasets.iu.reports import find_data_folder, read_reports
from harness.evaluation.sample_sheet import SheetRow, sheet

ROOT = Path(__file__).parents[2]
RUN = 8
"""Words in a row that are a report's: sentences that we invented share at most seven with a report."""
SUFFIXES = {".md", ".json", ".yaml", ".yml", ".py", ".csv", ".html", ".txt", ".j2", ".toml", ".cff", ".svg"}
_WORD = re.compile(r"[a-z0-9]+")


def committed(*suffixes: str) -> list[Path]:
    """The files of the repository that have one of these endings."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a checkout of the repository")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.suffix in suffixes and path.exists()]


def runs_of(text: str) -> Iterator[str]:
    """Every ``RUN`` words in a row, without case and punctuation; marks and line ends separate words."""
    words = _WORD.findall(text.lower())
    return (" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1))


@cache
def runs_of_reports() -> dict[str, str]:
    """Runs of words of all sections of the 3,955 reports -> the id of a report that has them."""
    try:
        reports = read_reports(find_data_folder())
    except UnavailableError as error:
        pytest.skip(str(error))
    return {
        run: report.uid
        for report in reports.values()
        for section in (report.findings, report.impression, report.indication, report.comparison)
        for run in runs_of(section or "")
    }


def copied(text: str) -> set[str]:
    """Ids of reports of which a text holds ``RUN`` words in a row; never the words themselves."""
    runs = runs_of_reports()
    return {runs[run] for run in runs_of(text) if run in runs}


def test_a_copied_report_is_noticed() -> None:
    report = next(each for each in read_reports(find_data_folder()).values() if each.findings)
    words = (report.findings or "").split()
    assert copied("a preface, then: " + '"\n    "'.join(words))
    assert not copied(" ".join(reversed(words)))


def test_no_committed_text_holds_words_of_a_report() -> None:
    files = committed(*SUFFIXES)
    assert len(files) > 300
    hits = {str(path.relative_to(ROOT)): copied(path.read_text(encoding="utf-8")) for path in files}
    assert not {name: ids for name, ids in hits.items() if ids}


def test_no_figure_is_drawn_from_words_of_a_report() -> None:
    """The one figure that shows studies is a sample sheet; here it is drawn of real reports."""
    image = np.zeros((8, 8, 1), dtype=np.uint8)
    info = DatasetInfo("iu-phantom", frozenset({Task.SYNTHESIZE}), ("frontal",), False, 8)
    reports = [each for each in read_reports(find_data_folder()).values() if each.findings][:6]
    studies = [
        Study(each.uid, each.uid, "test", {"frontal": image}, each.indication, each.findings)
        for each in reports
    ]
    rows = [SheetRow(study, study, study.images) for study in studies]
    drawn = sheet("codi_xr on iu-phantom", rows, info).findobj(Text)
    words = " ".join(text.get_text() for text in drawn)
    assert words.count("Condition: report") == len(rows)
    assert not copied(words)
    long = {word for each in reports for word in (each.findings or "").split() if len(word) > 9}
    assert long
    assert not {word for word in long if word in words}


def chunks(png: bytes) -> list[str]:
    """Types of a PNG's chunks, in order."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    place, types = 8, []
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        types.append(kind.decode())
        place += length + 12
    return types


def test_committed_figures_carry_pixels_and_no_text() -> None:
    figures = committed(".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf", ".tif", ".tiff")
    assert figures
    assert {path.suffix for path in figures} == {".png"}, "another format needs its own test"
    for path in figures:
        assert set(chunks(path.read_bytes())) <= {"IHDR", "PLTE", "IDAT", "IEND", "pHYs", "tRNS"}, path.name
