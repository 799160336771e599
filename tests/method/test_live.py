"""A class of a notebook counts as it is in memory: with the constants and helpers that it uses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.method.fingerprint import code_fingerprint, remember_in_memory

ROOT = Path(__file__).resolve().parents[2]
CELL = """
import functools
import weakref
import numpy as np
from dataclasses import dataclass
from harness.core.types import Prediction, Task
from harness.method import Method, MethodCard, MethodConfig

WORD = "none"
TABLE = {"a": [1, 2], "b": {"x", "y", "z"}}
WEIGHTS = np.arange(4.0)
UNUSED = 1

@dataclass
class Options:
    strength: float = 0.5

OPTIONS = Options()

class Config(MethodConfig):
    width: int = 3

def helper():
    return inner() + WORD

def inner():
    return "a"

@functools.cache
def cached():
    return 1

def outer(word):
    def chosen():
        return word
    return chosen

CHOSEN = outer("b")

class Model:
    def __init__(self, word): self.word = word
    def generate(self): return self.word

GENERATE = Model("e").generate
FIRST = {"a": 1, "b": 2}
NAMED = "f"

class Word(str): pass

LOUD = Word("g")
LOUD.mark = "!"
helper.note = "h"
REFERRED = Model("i")
REFERENCE = weakref.ref(REFERRED)
VIEW = memoryview(bytearray(b"j"))

class Mine(Method[Config]):
    '''Says something.'''

    card = MethodCard(
        name="mine", title="mine", paper="", licence="", tasks=frozenset({Task.REPORT}),
        reads=frozenset({"frontal", "lateral", "context"}), learned=False,
    )
    Config = Config
    sentence = "left"

    @property
    def text(self):
        return self.sentence

    @functools.cached_property
    def kept(self):
        return 5

    @staticmethod
    def scaled(values):
        return values * 2

    def fit(self, train, val, run): self.n = len(TABLE["a"])
    def predict(self, inputs):
        numbers = cached(), OPTIONS.strength, WEIGHTS, GENERATE(), next(iter(FIRST.values()))
        numbers += globals()["NAMED"], LOUD.mark, helper.note, REFERENCE().word, bytes(VIEW)
        return [Prediction(helper() + CHOSEN() + str(numbers)) for _ in inputs.ids]
    def save(self, directory): pass
    def load(self, directory): pass
"""
CHANGES = {
    "a constant": ('WORD = "none"', 'WORD = "large"'),
    "a table": ('"a": [1, 2]', '"a": [1, 3]'),
    "an array": ("np.arange(4.0)", "np.arange(4.0) + 1"),
    "an object": ("OPTIONS = Options()", "OPTIONS = Options(0.7)"),
    "a default of a setting": ("width: int = 3", "width: int = 4"),
    "a helper": ("inner() + WORD", "WORD + inner()"),
    "a helper of a helper": ('return "a"', 'return "c"'),
    "behind a cache": ("return 1", "return 2"),
    "in a closure": ('outer("b")', 'outer("d")'),
    "an attribute": ('sentence = "left"', 'sentence = "right"'),
    "a property": ("return self.sentence", "return self.sentence[1:]"),
    "a cached property": ("return 5", "return 6"),
    "a static function": ("values * 2", "values * 3"),
    "a method": ("len(TABLE", "2 * len(TABLE"),
    "the object of a method": ('Model("e")', 'Model("k")'),
    "the order of a table": ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
    "a name in a string": ('NAMED = "f"', 'NAMED = "l"'),
    "an attribute of a text": ('mark = "!"', 'mark = "?"'),
    "an attribute of a function": ('note = "h"', 'note = "m"'),
    "behind a weak reference": ('Model("i")', 'Model("n")'),
    "behind a view": ('bytearray(b"j")', 'bytearray(b"o")'),
    "the card": ("learned=False", "learned=True"),
}
SAME = {
    "an unused constant": ("UNUSED = 1", "UNUSED = 2"),
    "a docstring": ("Says something.", "Says something else."),
    "a comment": ("def inner():", "def inner():  # once"),
}


def run(source: str) -> dict[str, Any]:
    """The names that a cell defines; its module has no file."""
    sys.modules["cell"] = ModuleType("cell")
    exec(source, vars(sys.modules["cell"]))
    return vars(sys.modules["cell"])


def fingerprint(source: str) -> str:
    mine = run(source)["Mine"]
    remember_in_memory(mine)
    return code_fingerprint(mine)


@pytest.fixture(autouse=True)
def _no_cell() -> Iterator[None]:
    yield
    sys.modules.pop("cell", None)


@pytest.mark.parametrize("name", CHANGES)
def test_what_it_uses_counts(name: str) -> None:
    before, after = CHANGES[name]
    assert before in CELL
    assert fingerprint(CELL.replace(before, after)) != fingerprint(CELL)


@pytest.mark.parametrize("name", SAME)
def test_what_it_does_not_use_does_not_count(name: str) -> None:
    before, after = SAME[name]
    assert before in CELL
    assert fingerprint(CELL.replace(before, after)) == fingerprint(CELL)


def test_it_is_the_same_in_every_process() -> None:
    code = "from tests.method.test_live import CELL, fingerprint; print(fingerprint(CELL))"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == fingerprint(CELL)


def test_cycles_end_and_too_deep_values_are_never_the_same() -> None:
    cycle = CELL + "\nTABLE['own'] = TABLE\n"
    assert fingerprint(cycle) == fingerprint(cycle) != fingerprint(CELL)
    deep = CELL + "\nfor _ in range(5000): TABLE = {'a': [TABLE]}\n"
    assert fingerprint(deep) != fingerprint(deep)


def test_a_module_that_it_imports_counts_as_it_is_in_memory() -> None:
    helper = ModuleType("own_helper")
    exec("import numpy\nSIDE = 'left'\ndef text():\n    return SIDE", vars(helper))
    sys.modules["own_helper"] = helper
    try:
        cell = CELL.replace('WORD = "none"', "import own_helper").replace(
            "inner() + WORD", "own_helper.text()"
        )
        before = fingerprint(cell)
        assert fingerprint(cell) == before
        vars(helper)["SIDE"] = "right"
        assert fingerprint(cell) != before
    finally:
        del sys.modules["own_helper"]


def test_a_change_while_it_works_does_not_count_until_it_is_given_again() -> None:
    space = run(CELL)
    remember_in_memory(space["Mine"])
    first = code_fingerprint(space["Mine"])
    space["TABLE"]["a"].append(3)
    assert code_fingerprint(space["Mine"]) == first
    remember_in_memory(space["Mine"])
    assert code_fingerprint(space["Mine"]) != first
