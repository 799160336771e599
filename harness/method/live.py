"""What a class does, as it stands in memory: in a notebook its functions and what they use are in no file.

Of a class that is given to a Python function, its source does not say everything: a cell defines a constant
or a helper anew, a script takes a value from its command line. So what the class and its functions refer to
counts by value: functions by what they do, constants, arrays and tables by content. What another package
defines counts by its name.
"""

from __future__ import annotations

import builtins
import hashlib
import pickle
import secrets
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cached_property, partial, partialmethod
from pathlib import PurePath
from types import CodeType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

import numpy as np

_PLAIN = {type(None), bool, int, float, complex, str, bytes}
_SHOWN = (PurePath, Enum)
"""Types whose objects are what ``repr`` shows; of the first, no subclass."""
_BUILTINS = dict(vars(builtins))
_SKIPPED = ("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__")
"""Attributes of a class that say nothing of what it does."""
_OF_LIBRARIES = ("__pydantic", "_abc_", "__abstract", "__static", "__firstlineno", "__orig", "__parameters")
"""How the names of attributes begin that Python and libraries add."""

Instructions = Callable[[CodeType], list[Any]]

_meanings: dict[type, str] = {}


def remember(given: type, is_own: Callable[[str], bool], instructions: Instructions) -> None:
    """Note what a class means now: it may change its own tables while it works.

    Args:
        given: the class.
        is_own: whether a module is the user's.
        instructions: what compiled code does.
    """
    try:
        meaning = repr(_Reader(is_own, instructions).of(given))
    except RecursionError:
        meaning = secrets.token_hex()  # nothing that is stored may be taken for it
    _meanings[given] = hashlib.sha256(meaning.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def meaning_in_memory(given: type) -> str:
    """What ``remember`` noted; empty for a class that was not given to this process."""
    return _meanings.get(given, "")


class _Reader:
    """Turns values into nested lists of texts; each object once, so that cycles end."""

    def __init__(self, is_own: Callable[[str], bool], instructions: Instructions) -> None:
        self.is_own, self.instructions = is_own, instructions
        self.numbers: dict[int, int] = {}
        self.kept: list[object] = []

    def of(self, value: Any) -> Any:
        """What a value is, whatever process it lives in."""
        if type(value) in _PLAIN or isinstance(value, _SHOWN):
            return f"{type(value).__name__} {value!r}"
        if id(value) in self.numbers:
            return f"#{self.numbers[id(value)]}"
        self.numbers[id(value)] = len(self.numbers)
        self.kept.append(value)  # its number must not become another one's
        return [_name(type(value)), *self._content(value), *self._attributes(value)]

    def _attributes(self, value: Any) -> Iterator[Any]:
        """What an object of a subclass, or a function, has beside its content."""
        if not isinstance(value, type | ModuleType):
            with suppress(Exception):
                if own := vars(value):
                    yield self.of(own)

    def _content(self, value: Any) -> Iterable[Any]:
        if isinstance(value, staticmethod | classmethod):
            return [self.of(value.__func__)]
        if isinstance(value, MethodType):
            return [self.of(value.__func__), self.of(value.__self__)]
        if isinstance(value, property):
            return map(self.of, (value.fget, value.fset, value.fdel))
        if isinstance(value, cached_property):
            return [self.of(value.func)]
        if isinstance(value, partial | partialmethod):
            return map(self.of, (value.func, value.args, value.keywords))
        if isinstance(value, ModuleType):
            return [value.__name__, *(self._of_module(value) if self.is_own(value.__name__) else ())]
        if isinstance(value, type):
            return [_name(value), *self._of_class(value)]
        if isinstance(value, FunctionType):
            return [_name(value), *(self._of_function(value) if self.is_own(value.__module__) else ())]
        if callable(getattr(value, "__wrapped__", None)):
            return [self.of(value.__wrapped__)]
        return self._of_data(value)

    def _of_module(self, value: ModuleType) -> Iterator[Any]:
        for name, each in sorted(vars(value).items()):
            if not name.startswith("__"):
                yield [name, self.of(each)]

    def _of_class(self, value: type) -> Iterator[Any]:
        for base in value.__mro__:
            if self.is_own(base.__module__):
                for name, each in sorted(vars(base).items()):
                    if name not in _SKIPPED and not name.startswith(_OF_LIBRARIES):
                        yield [name, self.of(each)]
        for name, each in getattr(value, "model_fields", {}).items():
            yield [name, repr(each.annotation), self.of(each.default)]

    def _of_function(self, value: FunctionType) -> Iterator[Any]:
        yield self.instructions(value.__code__)
        yield self.of(value.__defaults__)
        yield self.of(value.__kwdefaults__)
        for cell in value.__closure__ or ():
            try:
                yield self.of(cell.cell_contents)
            except ValueError:  # not filled yet
                yield "empty"
        for name in sorted(_names(value.__code__)):
            if name in value.__globals__:
                yield [name, self.of(value.__globals__[name])]
            elif vars(builtins).get(name) is not _BUILTINS.get(name):
                yield [name, self.of(vars(builtins)[name])]

    def _of_data(self, value: Any) -> Iterable[Any]:
        if isinstance(value, str | int | float | complex | bytes | bytearray | memoryview):
            return [bytes(value) if isinstance(value, bytearray | memoryview) else value.__repr__()]
        if isinstance(value, list | tuple):
            return map(self.of, value)
        if isinstance(value, weakref.ref):
            return [self.of(value())]
        if isinstance(value, ContextVar):
            return [self.of(value.get(None))]
        if isinstance(value, GeneratorType):
            return [self.instructions(value.gi_code), self.of(getattr(value.gi_frame, "f_locals", None))]
        if isinstance(value, set | frozenset):
            return sorted(map(repr, map(self.of, value)))
        if isinstance(value, Mapping):
            return ([self.of(key), self.of(each)] for key, each in value.items())  # its order counts
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            return [value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
        if is_dataclass(value):
            return [[each.name, self.of(getattr(value, each.name, None))] for each in fields(value)]
        if hasattr(value, "model_dump"):
            return [self.of(value.model_dump())]
        if self.is_own(type(value).__module__) and hasattr(value, "__dict__"):
            return [self.of(type(value))]
        try:
            return [hashlib.sha256(pickle.dumps(value, protocol=4)).hexdigest()]
        except Exception:  # of what cannot be written, its type is all that can be compared
            return []


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"


def _names(code: CodeType) -> set[str]:
    """Names that a function and those inside it use, as such or in a string: ``globals()["TABLE"]``."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
        elif isinstance(constant, str) and constant.isidentifier():
            names.add(constant)
    return names
