"""What code of a plugin may not leave changed in a process that computes numbers of others."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

from harness.core.errors import PluginError
from harness.core.process_state import process_kept
from harness.core.signals import signals_kept

_LIBRARY = (
    "abc bisect builtins collections copy csv decimal functools hashlib heapq itertools json math operator "
    "os pathlib posixpath re shutil statistics string"
)
_ROOTS = frozenset(("harness", "methods", "numpy", *_LIBRARY.split()))
"""Packages whose functions every number depends on."""
_OURS = ("harness", "methods")
"""Packages of which all constants and attributes of classes are looked at, too, and what these hold."""
_WAYS = ("path", "meta_path", "path_hooks")
"""Lists of ``sys`` that decide how modules are imported."""
_WRAPPERS = (staticmethod, classmethod, property)
_FIELDS = "__dataclass_fields__"
_LATER = ("__pydantic", "_abc")
"""How names begin that libraries give a class when they first use it."""


@dataclass(slots=True)
class _Known:
    """A function, class or constant, where it stands: ``space`` is the live namespace of its owner."""

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


@dataclass(slots=True)
class _Holder:
    """A table, or an object with fields, that a constant holds: what was in it, one object for the other."""

    home: str
    value: Any
    inside: dict[Any, Any] | list[Any] | set[Any]

    def changed(self) -> bool:
        now = _inside(self.value)
        if isinstance(now, set) or len(now) != len(self.inside):
            return now != self.inside
        if isinstance(now, dict):
            before: Any = self.inside
            return any(key not in before or before[key] is not value for key, value in now.items())
        return any(one is not other for one, other in zip(now, self.inside, strict=True))

    def put_back(self) -> None:
        if isinstance(self.value, list):
            self.value[:] = self.inside
        elif isinstance(self.value, dict | set):
            self.value.clear()
            self.value.update(self.inside)
        else:
            for name, value in self.inside.items():  # type: ignore[union-attr]
                object.__setattr__(self.value, name, value)


_known: list[_Known] = []
_Meaning = tuple[CodeType, tuple[Any, ...] | None, dict[str, Any] | None]
_meanings: dict[FunctionType, _Meaning] = {}
"""Functions with what they run, and the values of arguments that are left out."""
_holders: dict[int, _Holder] = {}
"""By ``id``: the holder keeps the object alive."""
_spaces: list[_Space] = []
_homes: dict[str, ModuleType] = {}
_modules: set[str] = set()
"""Names of the modules whose functions are known: to look at each function anew takes longest."""


@contextmanager
def untouched(what: str) -> Iterator[None]:
    """Functions, constants, the working folder, imports, limits and handlers of signals stay as they are.

    Args:
        what: begins the message, e.g. ``metric mine``.

    Raises:
        PluginError: a function or constant was replaced, changed, or hidden by a new one; all is as it was.
    """
    folder, depth = os.getcwd(), sys.getrecursionlimit()
    for home in [home for home in sys.modules if home not in _modules]:
        _modules.add(home)
        _learn(home)
    for home in [home for home, module in _homes.items() if sys.modules.get(home) is not module]:
        del _homes[home]  # not by this plugin
    for each in _replaced():
        each.value = each.space.get(each.name)  # not by this plugin
    for holder in _changed():
        holder.inside = _inside(holder.value)
    _meanings.update((function, _meaning(function)) for function in _rewritten())
    for space, _ in _grown():
        space.names = frozenset(space.space)
    try:
        with signals_kept(), process_kept(), _imports_kept():
            yield
    finally:
        sys.setrecursionlimit(depth)
        replaced = [*_modules_put_back(), *map(_put_back, _replaced()), *_removed()]  # before any is needed
        replaced += [_filled_back(holder) for holder in _changed()]
        replaced += [_rewritten_back(function) for function in _rewritten()]
        with suppress(OSError):
            os.chdir(folder)
    if replaced:
        more = f" and {len(replaced) - 1} more" if len(replaced) > 1 else ""
        raise PluginError(f"{what} replaced {replaced[0]}{more}, which numbers of others depend on")


@contextmanager
def _imports_kept() -> Iterator[None]:
    """Modules can be imported as before; what was added for this stays."""
    modules = dict(sys.modules)
    ways = {name: (getattr(sys, name), list(getattr(sys, name))) for name in _WAYS}
    try:
        yield
    finally:
        for name, module in modules.items():
            sys.modules.setdefault(name, module)
        for name, (way, before) in ways.items():
            now = getattr(sys, name, None)
            own = list(now) if isinstance(now, list) else []
            way[:] = own if all(each in own for each in before) else [*before, *_but(own, before)]
            setattr(sys, name, way)


def _but(values: list[Any], others: list[Any]) -> list[Any]:
    return [each for each in values if each not in others]


def _replaced() -> list[_Known]:
    return [each for each in _known if each.space.get(each.name) is not each.value]


def _changed() -> list[_Holder]:
    return [holder for holder in _holders.values() if holder.changed()]


def _grown() -> Iterator[tuple[_Space, set[str]]]:
    """Namespaces with names that are new, and these."""
    for space in _spaces:
        if len(space.space) != len(space.names):
            yield space, space.space.keys() - space.names


def _meaning(function: FunctionType) -> _Meaning:
    by_name = function.__kwdefaults__
    return function.__code__, function.__defaults__, None if by_name is None else by_name.copy()


def _rewritten() -> list[FunctionType]:
    return [
        function
        for function, (code, defaults, by_name) in _meanings.items()
        if function.__code__ is not code
        or function.__defaults__ is not defaults
        or (function.__kwdefaults__ is not by_name and not _same(function.__kwdefaults__, by_name))
    ]


def _same(now: dict[str, Any] | None, before: dict[str, Any] | None) -> bool:
    """Whether the values are the same objects: an array equals none."""
    if now is None or before is None:
        return now is before
    return now.keys() == before.keys() and all(now[name] is value for name, value in before.items())


def _rewritten_back(function: FunctionType) -> str:
    function.__code__, function.__defaults__, function.__kwdefaults__ = _meanings[function]
    _meanings[function] = _meaning(function)
    return f"{function.__module__}.{function.__qualname__}"


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
    """Whether a new name of a class is a function, or decides what its objects have, or hides a base's name.

    What Python itself adds when a class is first copied or looked at (``__slotnames__``) does none of these.
    """
    value, bases = space.space[name], space.owner.__mro__[1:] if isinstance(space.owner, type) else ()
    if _is_function(value) or hasattr(type(value), "__get__"):
        return True
    hidden = [vars(base)[name] for base in bases if name in vars(base)]
    return any(_is_function(each) for each in hidden) or (bool(hidden) and not name.startswith("__"))


def _modules_put_back() -> Iterator[str]:
    """Put modules back that another one, or None, stands for, and name them."""
    for home, module in _homes.items():
        if sys.modules.get(home) is not module:
            sys.modules[home] = module
            yield home


def _is_function(value: object) -> bool:
    return callable(value) or isinstance(value, _WRAPPERS)


def _learn(home: str) -> None:
    """Take in what a module has that numbers rest on: of NumPy no attributes of classes."""
    root, module = home.partition(".")[0], sys.modules.get(home)
    if root not in _ROOTS or not isinstance(module, ModuleType):
        return
    _homes[home] = module
    _spaces.append(_Space(module, vars(module), frozenset(vars(module))))
    for name, value in list(vars(module).items()):
        if callable(value) or _is_constant(root, name, value):
            _keep(root, _Known(module, vars(module), name, value))
        if isinstance(value, type) and root != "numpy" and value.__module__ == home:
            _spaces.append(_Space(value, vars(value), frozenset(vars(value))))
            for key, own in list(vars(value).items()):
                if _is_function(own) or key == _FIELDS or not key.startswith(("__", *_LATER)):
                    _keep(root, _Known(value, vars(value), key, own))


def _is_constant(root: str, name: str, value: object) -> bool:
    """Ours are in capitals; NumPy's have public names and cannot change in place; of the others all are."""
    if root == "numpy":
        return not name.startswith("_") and isinstance(value, int | float | str | bytes | tuple | frozenset)
    return name.isupper() if root in _OURS else not name.startswith("__")


def _keep(root: str, place: _Known) -> None:
    _known.append(place)
    function = getattr(place.value, "__func__", place.value)
    if isinstance(function, FunctionType):
        _meanings[function] = _meaning(function)
    if root in _OURS and not callable(place.value):
        _hold(f"{_home(place.owner)}.{place.name}", place.value)


def _hold(home: str, value: object) -> None:
    """Remember what a constant holds, and what this holds."""
    if isinstance(value, tuple | frozenset):
        for each in value:
            _hold(home, each)
    elif id(value) not in _holders and (type(value) in (dict, list, set) or _has_fields(value)):
        inside = _inside(value)
        _holders[id(value)] = _Holder(home, value, inside)
        for each in inside.values() if isinstance(inside, dict) else inside:
            _hold(home, each)


def _has_fields(value: object) -> bool:
    return is_dataclass(value) and type(value).__module__.partition(".")[0] in _OURS and not callable(value)


def _inside(value: Any) -> dict[Any, Any] | list[Any] | set[Any]:
    if isinstance(value, dict | list | set):
        return value.copy()
    names = [each.name for each in fields(value)]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _filled_back(holder: _Holder) -> str:
    holder.put_back()
    return holder.home


def _put_back(function: _Known) -> str:
    setattr(function.owner, function.name, function.value)
    return f"{_home(function.owner)}.{function.name}"


def _home(owner: ModuleType | type) -> str:
    return owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
