"""The English of names, docstrings, comments, help texts and pages: plain words, the field's terms.

A reader's first language need not be English. Each habit below was common in this repository, and each has a
plainer form. The check reads text only and imports nothing that it checks.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("harness", "methods")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs")

PARTICIPLES = {"found", "known", "said", "made"}
"""Names that tell how a value came about, not what it holds."""

_THINGS = (
    "byte|cell|class|column|curve|digit|entry|file|figure|folder|image|job|judgement|line|map|number|object|page|"
    "part|patient|problem|process|record|regression|report|row|run|seed|sentence|signature|split|step|study|"
    "table|task|text|value|vector|word"
)

HABITS: dict[str, str] = {
    rf"\b(?:one|an?|two|\d+) (?:\w+ )?(?:{_THINGS})s? an? (?!second|minute|time)\w+": (
        "'one row per study', not 'one row a study'"
    ),
    r"\bwho (?:asks?|came|comes?|computes?|gives?|goes|ha[sd]|have|holds?|imports?|is|leads?|loads?|makes?|"
    r"needs?|owns?|reads?|runs?|scores?|takes?|wants?|writes?)\b": (
        "'the process that', 'methods that': only people are 'who'"
    ),
    r"\b(?:whoever|nobody|somebody)\b": "'any process that', 'no process': name what acts",
    r"\b(?:is|are|was|were|be|been) told\b(?! apart)": "'gets', 'receives', 'is reported'",
    r"\b(?:crews?|the leader|leads the (?:group|others))\b": "'process group', 'rank 0'",
    r"\bpictures?\b": "'image'",
    r"\b(?:but for|for want of|at hand)\b": "'except', 'because .. is absent', 'available'",
    r"\b(?:comes? upon|lets? go of|hands? (?:over|out)|handed (?:over|out)|ow(?:e|es|ed))\b": (
        "a plain verb: 'meets', 'releases', 'passes', 'depends on'"
    ),
    r"\b(?:leave|leaves|inside|in|of) the house\b": "'leave the site', 'inside the institution'",
    r"\b(?:and the like|thereof|therein)\b": "'and so on', 'of it', 'in it'",
}
"""What is written -> what to write instead. A blank in a pattern also matches a line break."""


class Hit(NamedTuple):
    """Something to write in another way."""

    path: Path
    line: int
    text: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.text!r}; write {self.instead}"


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders or CODE for path in (ROOT / folder).rglob("*.py"))


def pages() -> list[Path]:
    roots = [ROOT / page for page in PAGES]
    return sorted(page for root in roots for page in (root.rglob("*.md") if root.is_dir() else [root]))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of every variable that is set and every parameter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.lineno, node.name


def prose_of_code(path: Path) -> Iterator[tuple[int, str]]:
    """(first line, text) of docstrings, of help texts and descriptions, and of comments."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            texts: list[ast.AST] = [node.value]
        elif isinstance(node, ast.Call):
            texts = [key.value for key in node.keywords if key.arg in ("help", "description")]
        else:
            continue
        for part in (part for text in texts for part in ast.walk(text)):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.lineno, part.value
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def prose_of_page(path: Path) -> Iterator[tuple[int, str]]:
    """The page without its blocks and words of code; lines stay where they are."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.M | re.S)
    yield 1, re.sub(r"`[^`\n]*`", "CODE", text)


def habits_in(path: Path) -> Iterator[Hit]:
    prose = prose_of_page(path) if path.suffix == ".md" else prose_of_code(path)
    for first, text in prose:
        for pattern, instead in HABITS.items():
            for match in re.finditer(pattern.replace(" ", r"\s+"), text, flags=re.I):
                line = first + text.count("\n", 0, match.start())
                yield Hit(path, line, " ".join(match[0].split()), instead)


def test_variables_are_named_by_what_they_hold() -> None:
    hits = [
        Hit(path, line, name, "what the value holds")
        for path in sources()
        for line, name in names(parsed(path))
        if name in PARTICIPLES
    ]
    assert not hits, "\n" + "\n".join(map(str, hits))


def test_plain_english() -> None:
    prose = {*sources(*CODE, "tests"), *pages()} - {Path(__file__)}  # this file quotes the habits
    hits = [hit for path in sorted(prose) for hit in habits_in(path)]
    assert not hits, "\n" + "\n".join(map(str, hits))


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("one row a study", 1),
        ("one row per study", 0),
        ("one pair at a time", 0),
        ("2,000 reports a second", 0),
        ("who has run out\nrepeats", 1),
        ("a radiologist, whose reports", 0),
        ("mapped by whoever\nreads it", 1),
        ("what may leave\nthe house", 1),
    ],
)
def test_the_habits_themselves(tmp_path: Path, text: str, hits: int) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert len(list(habits_in(page))) == hits


_PATH = re.compile(r"\b(?:harness|methods|tests|docs|leaderboards|reports)/[\w./-]*\w\.(?:py|md|yaml|json)\b")
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
_HOLDER = re.compile(r"`(\w+)(?:\.(\w+))?` in `([\w/]+\.py)`")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [ROOT / path for path in _PATH.findall(text)]
    linked = [page.parent / target for target in _LINK.findall(text)]
    assert not [str(path) for path in named + linked if not path.exists()]


def members(path: Path, name: str) -> set[str]:
    """Methods, properties and annotated fields of a class."""
    (body,) = (n.body for n in parsed(path).body if isinstance(n, ast.ClassDef) and n.name == name)
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    return functions | {
        n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    }


def test_the_glossary_names_what_is_there() -> None:
    holders = _HOLDER.findall((ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))
    assert len(holders) > 20
    for name, member, path in holders:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(?:class |def )?{name}\b", source, flags=re.M), f"{name} is not in {path}"
        assert not member or member in members(ROOT / path, name), f"{name}.{member} is not in {path}"
