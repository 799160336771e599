"""What code of a plugin may not leave changed in a process that computes numbers of others."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType

from harness.core.errors import PluginError
from harness.core.signals import signals_kept

_LIBRARY = (
    "abc bisect builtins collections copy csv decimal functools hashlib heapq itertools json math operator "
    "re statistics string"
)
_ROOTS = frozenset(("harness", "methods", "numpy", *_LIBRARY.split()))
"""Packages whose functions every number depends on."""
_WRAPPERS = (staticmethod, classmethod, property)
_LATER = ("__pydantic", "_abc")
"""How names begin that libraries give a class when they first use it."""


@dataclass(slots=True)
class _Known:
    """A function or class, where it stands: ``space`` is the live namespace of its owner."""

    owner: ModuleType | type
    space: Mapping[str, object]
    name: str
    value: object


@dataclass(slots=True)
class _Space:
    """The names of a module or class. New ones may hide builtins, or functions of a class's bases."""

    owner: ModuleType | type
    space: Mapping[str, object]
    names: frozenset[str]


_known: list[_Known] = []
_spaces: list[_Space] = []
_homes: dict[str, ModuleType] = {}
_modules: set[str] = set()
"""Names of the modules whose functions are known: to look at each function anew takes longest."""


@contextmanager
def untouched(what: str) -> Iterator[None]:
    """The working folder, the limit of recursion, handlers of signals and all functions are what they were.

    Args:
        what: begins the message, e.g. ``metric mine``.

    Raises:
        PluginError: a function was replaced, or hidden by a new one; all is as it was.
    """
    folder, depth = os.getcwd(), sys.getrecursionlimit()
    for home in [home for home in sys.modules if home not in _modules]:
        _modules.add(home)
        _learn(home)
    for home in [home for home, module in _homes.items() if sys.modules.get(home) is not module]:
        del _homes[home]  # not by this plugin
    for each in _replaced():
        each.value = each.space.get(each.name)  # not by this plugin
    for space, _ in _grown():
        space.names = frozenset(space.space)
    try:
        with signals_kept():
            yield
    finally:
        sys.setrecursionlimit(depth)
        replaced = [*_modules_put_back(), *map(_put_back, _replaced()), *_removed()]  # before any is needed
        with suppress(OSError):
            os.chdir(folder)
    if replaced:
        more = f" and {len(replaced) - 1} more" if len(replaced) > 1 else ""
        raise PluginError(f"{what} replaced {replaced[0]}{more}, which numbers of others depend on")


def _replaced() -> list[_Known]:
    return [each for each in _known if each.space.get(each.name) is not each.value]


def _grown() -> Iterator[tuple[_Space, set[str]]]:
    """Namespaces with names that are new, and these."""
    for space in _spaces:
        if len(space.space) != len(space.names):
            yield space, space.space.keys() - space.names


def _removed() -> Iterator[str]:
    """Remove new names that hide what others call, and name them."""
    for space, names in _grown():
        in_module = isinstance(space.owner, ModuleType)
        for name in sorted(names):
            hides = hasattr(builtins, name) if in_module else _hides(space, name)
            if hides and not name.startswith(_LATER):
                delattr(space.owner, name)
                yield f"{_home(space.owner)}.{name}"
        space.names = frozenset(space.space)


def _hides(space: _Space, name: str) -> bool:
    """Whether a new name of a class is a function, or stands before one of its bases.

    What Python itself adds when a class is first copied or looked at (``__slotnames__``) is neither.
    """
    bases = space.owner.__mro__[1:] if isinstance(space.owner, type) else ()
    return _is_function(space.space[name]) or any(_is_function(vars(base).get(name)) for base in bases)


def _modules_put_back() -> Iterator[str]:
    """Put modules back that another one, or None, stands for, and name them."""
    for home, module in _homes.items():
        if sys.modules.get(home) is not module:
            sys.modules[home] = module
            yield home


def _is_function(value: object) -> bool:
    return callable(value) or isinstance(value, _WRAPPERS)


def _learn(home: str) -> None:
    """Take in functions and classes of a module, and functions of classes but NumPy's."""
    root, module = home.partition(".")[0], sys.modules.get(home)
    if root not in _ROOTS or not isinstance(module, ModuleType):
        return
    _homes[home] = module
    _spaces.append(_Space(module, vars(module), frozenset(vars(module))))
    for name, value in list(vars(module).items()):
        if callable(value):
            _known.append(_Known(module, vars(module), name, value))
        if isinstance(value, type) and root != "numpy" and value.__module__ == home:
            _spaces.append(_Space(value, vars(value), frozenset(vars(value))))
            for key, own in list(vars(value).items()):
                if _is_function(own):
                    _known.append(_Known(value, vars(value), key, own))


def _put_back(function: _Known) -> str:
    setattr(function.owner, function.name, function.value)
    return f"{_home(function.owner)}.{function.name}"


def _home(owner: ModuleType | type) -> str:
    return owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
