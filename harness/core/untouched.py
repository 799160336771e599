"""What code of a plugin may not leave changed in a process that computes numbers of others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

from harness.core.errors import PluginError

_ROOTS = ("harness", "methods", "numpy")
"""Packages whose functions every number depends on."""
_WRAPPERS = (staticmethod, classmethod, property)


@contextmanager
def untouched(what: str) -> Iterator[None]:
    """The working folder and all functions are afterwards what they were before.

    Args:
        what: begins the message, e.g. ``metric mine``.

    Raises:
        PluginError: a function was replaced; it is back in its place.
    """
    before, folder = list(_functions()), os.getcwd()
    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(folder)
        replaced = [
            _put_back(owner, name, value) for owner, name, value in before if _differs(owner, name, value)
        ]
    if replaced:
        more = f" and {len(replaced) - 1} more" if len(replaced) > 1 else ""
        raise PluginError(f"{what} replaced {replaced[0]}{more}, which numbers of others depend on")


def _functions() -> Iterator[tuple[ModuleType | type, str, object]]:
    """Owner, name and value of the functions and classes of modules, and of the functions of our classes."""
    for home, module in list(sys.modules.items()):
        root = home.partition(".")[0]
        if root not in _ROOTS or not isinstance(module, ModuleType):
            continue
        for name, value in list(vars(module).items()):
            if callable(value):
                yield module, name, value
            if isinstance(value, type) and root != "numpy" and value.__module__ == home:
                for key, own in list(vars(value).items()):
                    if callable(own) or isinstance(own, _WRAPPERS):
                        yield value, key, own


def _differs(owner: Any, name: str, value: object) -> bool:
    return vars(owner).get(name) is not value


def _put_back(owner: Any, name: str, value: object) -> str:
    setattr(owner, name, value)
    home = owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
    return f"{home}.{name}"
