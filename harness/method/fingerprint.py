"""The fingerprint of a method's source: a trained method and its predictions stand as long as it does.

It covers the module of the method and, from there on, every module that is imported by one that it covers, as
the source says: ``import`` and ``from .. import`` anywhere in a file, also inside functions. Tables and texts
beside the modules of a package (``methods/kedr/priors.yaml``) and in its folders of data count, too. Of a
method in a single file only the file counts: make it a package where it reads a table. It leaves out

- Python's standard library and what is installed in ``site-packages``, whose versions a manifest holds,
  except ``methods`` and the packages that register methods, datasets or metrics;
- ``harness``, for which ``PROTOCOL`` in ``harness.evaluation.entries`` stands.

Imports by a computed name (``importlib.import_module``) are not seen. Of a class without a
module file, as in a notebook, only the functions of the class count.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType
from typing import Any

from harness.core import registry

_HARNESS = __name__.partition(".")[0]
_SHARED = "methods"
"""The package of the built-in methods, whose shared parts plugins import."""
_DATA = {".csv", ".json", ".toml", ".tsv", ".txt", ".yaml", ".yml"}
"""How the names of a package's tables and texts end."""


@cache
def code_fingerprint(method_class: type) -> str:
    """Twelve hexadecimal digits that change with the source that a method runs.

    No module is imported for it. Names and contents of modules count, their place on the disk does not.
    """
    packages = {method_class.__module__.partition(".")[0], _SHARED, *registry.packages()}
    contents: dict[str, bytes] = {}
    pending = {base.__module__ for base in method_class.__mro__}
    while pending:
        name = pending.pop()
        if name in contents or not _is_covered(name, packages):
            continue
        source = _source(name)
        if source is None:
            source = _own_source(method_class, name)
        if source is None:  # no such module: what a ``from`` names is a class or a function of the module
            continue
        contents[name] = source
        contents |= {f"{name}/{place}": file.read_bytes() for place, file in _data(name)}
        pending.update(_imported(source, name))
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()[:12]


def _is_covered(name: str, packages: set[str]) -> bool:
    top = name.partition(".")[0]
    if top == _HARNESS or top in sys.stdlib_module_names:
        return False
    return top in packages or not _is_installed(top)


@cache
def _is_installed(top: str) -> bool:
    """Whether a top-level module lies in ``site-packages`` or with Python itself, or nowhere."""
    spec = _spec(top)
    if spec is None:
        return top not in sys.modules
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.has_location else ())]
    folders = [Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "purelib", "platlib")]
    return not places or any(
        "site-packages" in path.parts
        or "dist-packages" in path.parts
        or any(path.is_relative_to(folder) for folder in folders)
        for path in (Path(str(place)).resolve() for place in places)
    )


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is, without importing it or its packages; None where there is no such module."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return getattr(loaded, "__spec__", None)
    parent = name.rpartition(".")[0]
    folders = None
    if parent:
        package = _spec(parent)
        if package is None or package.submodule_search_locations is None:
            return None
        folders = package.submodule_search_locations
    specs = (finder.find_spec(name, folders) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


def _source(name: str) -> bytes | None:
    """Content of a module's file; empty for a package without ``__init__.py``, None without such a module."""
    spec = _spec(name)
    if spec is None:
        file = getattr(sys.modules.get(name), "__file__", None)
        return Path(file).read_bytes() if file else None
    file = spec.origin if spec.has_location else None
    return Path(file).read_bytes() if file and Path(file).is_file() else b""


def _data(name: str) -> Iterator[tuple[str, Path]]:
    """Tables and texts in the folder of a package, and in those of its folders that are no packages."""
    spec = _spec(name)
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        return
    top = Path(spec.origin).parent
    folders = [top]
    while folders:
        for path in folders.pop().iterdir():
            if path.is_dir() and not path.is_symlink() and not (path / "__init__.py").exists():
                folders.append(path)
            elif path.suffix in _DATA and path.is_file():
                yield path.relative_to(top).as_posix(), path


def _own_source(method_class: type, name: str) -> bytes | None:
    """The code of a class's functions where their module has no file, as in a notebook."""
    if name != method_class.__module__:
        return None
    functions = [value for value in vars(method_class).values() if inspect.isfunction(value)]
    return repr([_instructions(function.__code__) for function in functions]).encode()


def _instructions(code: CodeType) -> list[Any]:
    """What a function does, from its compiled form: the same in every process with one version of Python."""
    constants = [
        _instructions(constant)
        if isinstance(constant, CodeType)
        else sorted(map(repr, constant))
        if isinstance(constant, frozenset)
        else constant
        for constant in code.co_consts
    ]
    return [code.co_name, code.co_code, code.co_names, constants]


def _imported(source: bytes, name: str) -> Iterator[str]:
    """Modules that a module imports, with the packages around it and around them.

    Some are none: ``from a import b`` gives ``a`` and ``a.b``, whatever ``b`` is.
    """
    yield from _with_packages(name)
    spec = _spec(name)
    package = (spec.parent if spec is not None else None) or ""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # not Python, e.g. a compiled module
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_packages(alias.name)
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            origin = resolve_name(relative, package) if package or not node.level else ""
            if origin:
                yield from _with_packages(origin)
                yield from (f"{origin}.{alias.name}" for alias in node.names)


def _with_packages(name: str) -> Iterator[str]:
    """``a.b.c``, ``a.b`` and ``a``: importing a module runs the packages around it."""
    while name:
        yield name
        name = name.rpartition(".")[0]
