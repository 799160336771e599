"""Pages say what is so: numbers that a command prints, and commands that a reader can run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from harness.cli.app import app
from harness.method.size import describe
from tests.system.test_english import CODE, pages, sources

ROOT = Path(__file__).parents[2]
_ROW = re.compile(
    r"^\| `(\w+)` \| ([\w ]+) \| ([\d.]+) M \|[^|]*\| ([\d.]+) M \| ([\d.]+) G (FLOPs|multiply-adds)"
)


def sizes() -> Iterator[tuple[str, ...]]:
    """Rows of the table of sizes: method, preset, parameters, trainable ones, FLOPs, and their unit."""
    for line in (ROOT / "docs/results/gpu.md").read_text(encoding="utf-8").splitlines():
        if match := _ROW.match(line):
            method, presets, *rest = match.groups()
            for preset in presets.split(" and "):
                yield method, preset, *rest


@pytest.mark.parametrize("row", list(sizes()), ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_table_of_sizes_is_what_describe_counts(row: tuple[str, ...]) -> None:
    method, preset, parameters, trainable, flops, unit = row
    facts: dict[str, Any] = describe(method, preset)
    assert f"{facts['parameters'] / 1e6:.1f}" == parameters
    assert f"{facts['trainable_parameters'] / 1e6:.1f}" == trainable
    assert f"{facts['flops'] / (2e9 if unit == 'multiply-adds' else 1e9):.1f}" == flops


def test_the_table_of_sizes_has_every_learned_method() -> None:
    assert len({row[0] for row in sizes()}) == 7


def test_the_flops_of_a_method_are_said_by_describe_alone() -> None:
    """A deviation names parts of the count, never a total beside the one that describe prints."""
    (deviation,) = [text for text in describe("dia", "paper")["deviations"] if text.startswith("FLOPs")]
    assert "67." not in deviation


def test_ratios_against_peers_stand_on_the_page_that_bench_writes() -> None:
    bench = (ROOT / "docs/results/bench.md").read_text(encoding="utf-8")
    (ratio,) = re.findall(r"^\| compare, .* s \| ([\d,]+) \|", bench, flags=re.M)
    others = [page for page in pages() if page.name not in ("bench.md", "CHANGELOG.md")]
    for page in others:
        text = page.read_text(encoding="utf-8")
        assert ratio not in text, page
        assert not re.search(r"10,000 trials, 590 pairs", text), page


def test_no_text_installs_a_package_that_is_not_published() -> None:
    """As a command; messages name an extra of the package that is installed, which pip then completes."""
    command = re.compile(r"^[ $]*pip install '?missing-modality-harness", flags=re.M)
    texts = [*sources(*CODE), *pages()]
    assert not [path for path in texts if command.search(path.read_text(encoding="utf-8"))]


def test_no_page_holds_a_command_with_a_place_to_fill_in_for_the_repository() -> None:
    hits = [path for path in pages() if re.search(r"git clone [A-Z]", path.read_text(encoding="utf-8"))]
    assert not hits


def commands() -> Iterator[tuple[Path, str]]:
    """(page, command) of every line in a block of code that starts the program; continued lines are one."""
    for page in pages():
        for block in re.findall(
            r"^ *```[a-z]*\n(.*?)^ *```", page.read_text(encoding="utf-8"), flags=re.M | re.S
        ):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.removeprefix("$ ").strip()
                if words.startswith("harness ") and page.name != "CHANGELOG.md":
                    yield page, words.partition(" #")[0].partition(";")[0]


def test_commands_on_pages_have_the_options_that_they_are_given() -> None:
    checked = 0
    for page, line in commands():
        command: Any = get_command(app)
        for word in line.split()[1:]:
            options = {option for each in command.params for option in each.opts + each.secondary_opts}
            if word.isupper():  # stands for a word of the reader's
                break
            if hasattr(command, "commands") and not word.startswith("-"):
                assert word in command.commands, f"{page.name}: {line}"
                command = command.commands[word]
            elif re.match(r"--?[a-z]", word):
                assert word.partition("=")[0] in options, f"{page.name}: {line}: {word}"
        checked += 1
    assert checked > 80


def test_the_tables_of_the_readme_are_those_of_the_committed_leaderboard() -> None:
    """Each row has some of the columns of one committed row, in order."""
    committed = (ROOT / "leaderboards" / "iu-phantom.md").read_text(encoding="utf-8").splitlines()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tables = text[text.index("### Reports") : text.index("`iu-phantom` pairs")]
    rows = [line for line in tables.splitlines() if line.startswith("| ") and "| full |" not in line]
    assert len(rows) > 10
    for row in rows:
        parts = [re.escape(cell.strip()) for cell in row.strip("|").split("|")]
        pattern = r"^\| " + r" \|(?:.*\|)? ".join(parts) + r" \|"
        assert any(re.match(pattern, line) for line in committed), row
