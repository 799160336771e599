"""The shape of the code: functions fit a screen, take few arguments, and modules are short.

Import layers are not here: ``lint-imports`` checks them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_ARGUMENTS = 6
MOST_LINES = 60
MOST_MODULE_LINES = 400
MOST_ENTRIES = 18
"""Files and folders of ``harness/``."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Path]:
    return sorted(path for folder in ("harness", "methods") for path in (ROOT / folder).rglob("*.py"))


def functions() -> Iterator[tuple[Path, Function]]:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield path, node


def arguments(function: Function) -> int:
    """Named arguments without ``self`` and ``cls``."""
    positional = [*function.args.posonlyargs, *function.args.args]
    bound = bool(positional) and positional[0].arg in ("self", "cls")
    return len(positional) - bound + len(function.args.kwonlyargs)


def is_option(path: Path) -> bool:
    """Arguments of commands are the options of the command line."""
    return "cli" in path.relative_to(ROOT).parts


def test_functions_take_few_arguments() -> None:
    crowded = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}: {arguments(function)} arguments"
        for path, function in functions()
        if arguments(function) > MOST_ARGUMENTS and not is_option(path)
    ]
    assert not crowded, "put what travels together into one frozen dataclass:\n" + "\n".join(crowded)


def test_functions_fit_a_screen() -> None:
    lengths = [
        (path, function, (function.end_lineno or 0) - function.lineno + 1) for path, function in functions()
    ]
    long = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}: {lines} lines"
        for path, function, lines in lengths
        if lines > MOST_LINES
    ]
    assert not long, "\n" + "\n".join(long)


def test_modules_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    long = [f"{path.relative_to(ROOT)}: {n} lines" for path, n in lengths.items() if n > MOST_MODULE_LINES]
    assert not long, "\n" + "\n".join(long)


def test_harness_has_few_entries() -> None:
    entries = [path.name for path in (ROOT / "harness").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)
