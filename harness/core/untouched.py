"""What code of a plugin may not leave changed in a process that computes numbers of others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType

from harness.core.errors import PluginError

_ROOTS = ("harness", "methods", "numpy")
"""Packages whose functions every number depends on."""
_WRAPPERS = (staticmethod, classmethod, property)


@dataclass(slots=True)
class _Known:
    """A function or class, where it stands: ``space`` is the live namespace of its owner."""

    owner: ModuleType | type
    space: Mapping[str, object]
    name: str
    value: object


_known: list[_Known] = []
_modules: set[str] = set()
"""Names of the modules whose functions are known: to look at each function anew takes longest."""


@contextmanager
def untouched(what: str) -> Iterator[None]:
    """The working folder and all functions are afterwards what they were before.

    Args:
        what: begins the message, e.g. ``metric mine``.

    Raises:
        PluginError: a function was replaced; it is back in its place.
    """
    folder = os.getcwd()
    for home in [home for home in sys.modules if home not in _modules]:
        _modules.add(home)
        _known.extend(_functions(home))
    for each in _replaced():
        each.value = each.space.get(each.name)  # not by this plugin
    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(folder)
        replaced = [_put_back(each) for each in _replaced()]
    if replaced:
        more = f" and {len(replaced) - 1} more" if len(replaced) > 1 else ""
        raise PluginError(f"{what} replaced {replaced[0]}{more}, which numbers of others depend on")


def _replaced() -> list[_Known]:
    return [each for each in _known if each.space.get(each.name) is not each.value]


def _functions(home: str) -> Iterator[_Known]:
    """Functions and classes of a module, and the functions of our own classes."""
    root, module = home.partition(".")[0], sys.modules.get(home)
    if root not in _ROOTS or not isinstance(module, ModuleType):
        return
    for name, value in list(vars(module).items()):
        if callable(value):
            yield _Known(module, vars(module), name, value)
        if isinstance(value, type) and root != "numpy" and value.__module__ == home:
            for key, own in list(vars(value).items()):
                if callable(own) or isinstance(own, _WRAPPERS):
                    yield _Known(value, vars(value), key, own)


def _put_back(function: _Known) -> str:
    owner = function.owner
    setattr(owner, function.name, function.value)
    home = owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
    return f"{home}.{function.name}"
