"""LaTeX of reports and leaderboards: text that means nothing, and documents that pdflatex compiles."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.leaderboard.evidence import Evidence
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import latex, leaderboard_latex
from harness.leaderboard.spec import load_all
from harness.leaderboard.tables import tables
from harness.papers import library
from harness.papers.compare import Results, compare
from harness.papers.render import formats, report_latex
from harness.store.manifest import Cost
from harness.store.results import Measurement
from tests.helpers.system import require
from tests.papers.test_papers import ROW, nasty, paper, table

COMMITTED = Path(__file__).parents[2] / "leaderboards/iu-phantom.json"

needs_latex = pytest.mark.usefixtures("pdflatex")


@pytest.fixture(scope="module")
def pdflatex() -> str:
    return require("pdflatex")


def compiled(folder: Path, name: str) -> str:
    """Compile a document; its log."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, [line for line in log.splitlines() if line.startswith("!")]
    assert (folder / f"{name}.pdf").stat().st_size > 1000
    return log


def assert_fits(log: str) -> None:
    """Nothing sticks out of the page by more than 5 pt, no glyph is missing, no float is too large."""
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", log)]
    assert max(wide, default=0.0) < 5.0
    assert "Missing character" not in log
    assert "Float too large" not in log


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bleu_4 at 95 %", r"bleu\_4 at 95 \%"),
        (r"a\b{c}", r"a\textbackslash{}b\{c\}"),
        ("$5 & #1 ~ ^", r"\$5 \& \#1 \textasciitilde{} \textasciicircum{}"),
        ("--methods a", r"-{}-methods a"),
        ("[0.1] *", "{[}0.1{]} {*}"),
        (
            "Δ ✓ \N{GREEK SMALL LETTER ALPHA}",
            r"\ensuremath{\Delta} \ensuremath{\checkmark} \ensuremath{\alpha}",
        ),
        ("Žižek ± 2", "Žižek ± 2"),
        ("中", "U+4E2D"),
        ("two\nlines", "two lines"),
    ],
)
def test_text_is_escaped(text: str, expected: str) -> None:
    assert latex.escape(text) == expected


@given(st.text())
def test_escaped_text_has_balanced_braces_and_no_live_character(text: str) -> None:
    escaped = latex.escape(text)
    bare = re.sub(r"\\[\\{}$&#%_]", "", escaped)
    assert not set(bare) & set("$&#%_~^")
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0


def test_a_column_is_as_wide_as_its_numbers() -> None:
    assert latex.table_format(["0.441", "12.5"]) == "2.3"
    assert latex.table_format(["0.441", "-0.02", "+0.1"]) == "+1.3"
    assert latex.table_format(["7470"]) == "4"
    assert latex.table_format([]) == "1"


def test_a_fragment_is_one_float_that_says_what_it_needs() -> None:
    report = compare(library.load("dia"), Results())
    parts = report_latex.fragments(report)
    assert set(parts) == {f"dia-{each.table.id}" for each in report.tables}
    for name, part in parts.items():
        assert part.count(r"\begin{table}") == part.count(r"\end{table}") == 1
        assert rf"\label{{tab:{name}}}" in part
        assert r"\documentclass" not in part
        assert "booktabs" in part.splitlines()[3]
        assert r"\toprule" in part


def test_differences_intervals_and_flags_are_printed() -> None:
    report = compare(paper(), Results.of([replace(ROW, preset="tiny", ci95=(0.74, 0.76))]))
    (part,) = report_latex.fragments(report).values()
    assert r"{[}74.0, 76.0{]}\textsuperscript{P}" in part
    assert r"\mathbf{-5.0}" in part
    assert r"\texttt{accuracy\textbar{}" in part


@needs_latex
@pytest.mark.parametrize("name", library.names())
def test_every_report_compiles(tmp_path: Path, name: str) -> None:
    leaderboard = Leaderboard.from_json(COMMITTED)
    report = compare(library.load(name), Results.of(leaderboard.rows, leaderboard.results))
    for file, content in formats.files(report, "latex").items():
        (tmp_path / file).write_text(content, encoding="utf-8")
    assert_fits(compiled(tmp_path, f"{name}-report"))


@needs_latex
def test_one_report_is_a_document_of_its_own(tmp_path: Path) -> None:
    text = formats.text([compare(paper(), Results.of([ROW]))], "latex")
    (tmp_path / "own.tex").write_text(text, encoding="utf-8")
    assert_fits(compiled(tmp_path, "own"))


@needs_latex
def test_foreign_text_compiles_and_does_nothing(tmp_path: Path) -> None:
    printable = "".join(
        map(chr, [*range(32, 127), *range(0xA0, 0x180), *range(0x391, 0x3CA), 0x4E2D, 0x1F600])
    )
    rows = [{"id": "r", "head": [printable, r"\input{/etc/passwd}\end{document}"], "values": [1.0, 2.0, 3.0]}]
    every = [nasty(), compare(paper(id="b", tables=[table(rows=rows, notes=[printable])]), Results())]
    for report in every:
        for file, content in formats.files(report, "latex").items():
            (tmp_path / file).write_text(content, encoding="utf-8")
        log = compiled(tmp_path, f"{report.paper.id}-report")
        assert "(/etc/passwd" not in log  # how TeX says that it opened a file
        assert "Missing character" not in log


@needs_latex
def test_the_committed_leaderboard_compiles(tmp_path: Path) -> None:
    leaderboard = Leaderboard.from_json(COMMITTED, load_all(()))
    (tmp_path / "leaderboard.tex").write_text(
        leaderboard_latex.fragment(leaderboard.tables), encoding="utf-8"
    )
    (tmp_path / "document.tex").write_text(leaderboard_latex.standalone("leaderboard"), encoding="utf-8")
    assert_fits(compiled(tmp_path, "document"))


def many() -> list[Measurement]:
    """Three methods and a control, twelve metrics, odd names, a failure and something that is not finite."""
    base = Measurement(
        "toy_set", "dia", "tiny", 0, "context", "mcar", 0.0, "m", 0.5, (0.4, 0.6), 590, "m|v:1", key="k"
    )
    rows = []
    for place, method in enumerate(["my_method%", "other & co", "third#", "template"]):
        for column in range(12):
            for rate in (0.0, 0.5):
                own = replace(base, method=method, metric=f"metric_of_some_length_{column}", rate=rate)
                rows.append(replace(own, value=0.5 - place / 10, control=method == "template", key=method))
    failed = replace(rows[0], method="broken_", value=None, ci95=None, status="failed", detail="50% & $x$")
    return [*rows, failed, replace(rows[0], method="nan", value=float("nan"), ci95=None)]


def test_a_wide_leaderboard_is_several_floats() -> None:
    text = leaderboard_latex.fragment(tables(many()))
    assert text.count(r"\begin{table}") == 4
    assert "part 1 of 3" in text
    assert r"my\_method\%" in text
    assert r"\textit{controls}" in text
    assert "{failed}" in text
    assert "{undefined}" in text
    assert r"\bfseries 0.500" in text
    assert r"\itshape 0.400" in text
    assert r"50\% \& \$x\$" in text


@needs_latex
def test_a_leaderboard_with_odd_names_compiles(tmp_path: Path) -> None:
    evidence = {"my_method%": Evidence(cost=Cost(parameters=10, device="cpu_0"), audit="failed")}
    text = leaderboard_latex.fragment(tables(many(), evidence=evidence))
    (tmp_path / "leaderboard.tex").write_text(text, encoding="utf-8")
    (tmp_path / "document.tex").write_text(leaderboard_latex.standalone("leaderboard"), encoding="utf-8")
    log = compiled(tmp_path, "document")
    assert "Missing character" not in log
