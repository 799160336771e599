"""The fingerprint of a method's source: a trained method and its predictions stand as long as it does.

It covers the module of the method and, from there on, every module that is imported by one that it covers, as
the source says: ``import`` and ``from .. import`` anywhere in a file, also inside functions, and
``import_module`` of a name that stands there or that a string may be. Data count, too: tables and texts
beside the modules of a package (``methods/kedr/priors.yaml``) and in its folders of data, of packages of
others all files there, and every other file or folder whose path, seen from the module's folder, stands in
the source as a string. Where a module of such a package chooses code as it runs (an import of a computed
name, ``exec``, ``sys.path``), all files of its package count. It leaves out

- Python's standard library and what is installed in ``site-packages``, whose versions a manifest holds,
  except ``methods`` and the packages that register methods, datasets or metrics;
- ``harness``, for which ``PROTOCOL`` in ``harness.evaluation.entries`` stands.

What a source does not say, such as a module that a setting chooses, is recorded as the code runs
(``harness.method.used``). A class that is given to a Python function, as in a notebook, counts as it is in
memory, too (``harness.method.live``).

Metrics have a fingerprint, too, of what their modules do: comments, docstrings and layout do not count. It
goes into the names of stored statistics.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import re
import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

from harness.core import registry
from harness.core.content import content_digest
from harness.method.live import meaning_in_memory, remember
from harness.method.sources import (
    chooses_code,
    content_of,
    data_elsewhere,
    data_of,
    file_of,
    imported,
    source_of,
    spec_of,
    strings,
    whole_package,
    with_packages,
)

_HARNESS = __name__.partition(".")[0]
_SHARED = "methods"
"""The package of the built-in methods, whose shared parts plugins import."""
_METRICS = f"{_HARNESS}.metrics"
_CONTRACT = {f"{_METRICS}.{name}" for name in ("base", "direct", "several")}
"""What all metrics share and no statistics come from."""
_VARIABLE = re.compile(r"HARNESS_[A-Z0-9_]*(?:WEIGHTS|MODEL)")
"""Strings of a source that name a place of weights."""


def code_fingerprint(method_class: type) -> str:
    """Twelve hexadecimal digits that change with the source that a method runs.

    No module is imported for it. Names and contents of modules count, their place on the disk does not. A
    class that was given to this process counts as it is in memory, too.
    """
    return _fingerprint(method_class, meaning_in_memory(method_class))


@cache
def _fingerprint(method_class: type, meaning: str) -> str:
    parts = _parts_of_method(method_class)
    digests = {name: hashlib.sha256(content).hexdigest() for name, (content, _) in parts.items()}
    return _digest(digests | ({"in memory": meaning} if meaning else {}))


def remember_in_memory(method_class: type) -> None:
    """Note what a class does that is given to this process now."""
    packages = {method_class.__module__.partition(".")[0], *registry.packages()}
    remember(method_class, lambda module: _is_covered(str(module), packages), _instructions)


@cache
def metric_fingerprint(metric_class: type) -> str:
    """Twelve hexadecimal digits that change with what a metric and the metrics' modules behind it do.

    The contract of metrics (``harness.metrics.base``) and the rest of ``harness`` do not count, as for
    methods. Tables and texts beside the modules do.
    """
    packages = {metric_class.__module__.partition(".")[0], *registry.packages()}

    def is_covered(name: str) -> bool:
        return is_of_metrics(name) or _is_covered(name, packages)

    parts = _parts(metric_class, is_covered)
    digests = {name: hashlib.sha256(content).hexdigest() for name, (content, _) in parts.items()}
    modules = {name: _meaning(content) for name, (content, _) in parts.items() if "/" not in name}
    return _digest(digests | modules)


def is_of_metrics(name: str) -> bool:
    """Whether a module of the harness computes metrics; the contract of all metrics does not."""
    return name.startswith(f"{_METRICS}.") and name not in _CONTRACT


def _digest(digests: dict[str, str]) -> str:
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()[:12]


@cache
def _meaning(source: bytes) -> str:
    """Digest of what a module does; of its bytes where it is no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return hashlib.sha256(source).hexdigest()
    for node in ast.walk(tree):
        if isinstance(node, (ast.stmt, ast.expr)):  # several lines may have an instruction more than one
            node.lineno = node.end_lineno = node.col_offset = node.end_col_offset = 1
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body[0] = ast.Pass(lineno=1, end_lineno=1, col_offset=1, end_col_offset=1)
                if len(node.body) > 1:
                    del node.body[0]
    code = compile(tree, "", "exec", dont_inherit=True)
    return hashlib.sha256(repr(_instructions(code)).encode()).hexdigest()


def weights_in_environment(method_class: type) -> dict[str, dict[str, str]]:
    """``{"variables": {name: digest}}`` of places of weights that a plugin's source names; else empty."""
    names = [name for name in _variables_of(method_class) if os.environ.get(name)]
    return {"variables": {name: content_digest(os.environ[name]) for name in names}} if names else {}


@cache
def _variables_of(method_class: type) -> tuple[str, ...]:
    """Environment variables of weights (``HARNESS_.._WEIGHTS``) that the source of a plugin names.

    None of this distribution's: their weights are settings or parts of signatures, or their digests are.
    """
    if registry.is_ours(method_class):
        return ()
    parts = _parts_of_method(method_class).values()
    sources = [content for content, path in parts if path is None or path.suffix == ".py"]
    return tuple(sorted({text for each in sources for text in strings(each) if _VARIABLE.fullmatch(text)}))


def files_of(method_class: type) -> dict[str, Path]:
    """Name -> path of the files that the fingerprint covers; ``MODULE`` or ``PACKAGE/FILE``."""
    return {name: path for name, (_, path) in _parts_of_method(method_class).items() if path is not None}


def run_before(module: str) -> frozenset[str]:
    """A module, the packages around it, and what these import: all of it runs when the module is imported."""
    top = module.partition(".")[0]
    modules = {module}
    pending = {*with_packages(module)} - modules
    while pending:
        name = pending.pop()
        source = None if name in modules or name.partition(".")[0] != top else source_of(name)
        if source is not None:
            modules.add(name)
            pending.update(imported(source, name))
    return frozenset(modules)


def _parts_of_method(method_class: type) -> dict[str, tuple[bytes, Path | None]]:
    packages = {method_class.__module__.partition(".")[0], _SHARED, *registry.packages()}
    return _parts(method_class, lambda name: _is_covered(name, packages))


def _parts(own: type, is_covered: Callable[[str], bool]) -> dict[str, tuple[bytes, Path | None]]:
    """Name -> content, and the file that has it, of a class's modules and all that they import or name."""
    parts: dict[str, tuple[bytes, Path | None]] = {}
    pending = {base.__module__ for base in own.__mro__}
    while pending:
        name = pending.pop()
        if name in parts or not is_covered(name):
            continue
        source = source_of(name)
        if source is None:
            source = _own_source(own, name)
        if source is None:  # no such module: what a ``from`` names is a class or a function of the module
            continue
        parts[name] = source, file_of(name)
        for place, each in data_of(name, source).items():
            if place not in parts:
                parts[place] = content_of(each), each if each.is_file() else None
        pending.update(imported(source, name))
        top = name.partition(".")[0]
        if top not in (_HARNESS, _SHARED):
            for place, each in data_elsewhere(name, source).items():
                parts.setdefault(place, (content_of(each), None))  # a box gets no right to read it
            if f"{top}/**" not in parts and chooses_code(source):
                parts[f"{top}/**"] = whole_package(top), None
    return parts


def _is_covered(name: str, packages: set[str]) -> bool:
    top = name.partition(".")[0]
    if top == _HARNESS or top in sys.stdlib_module_names:
        return False
    return top in packages or not _is_installed(top)


@cache
def _is_installed(top: str) -> bool:
    """Whether a top-level module lies in ``site-packages`` or with Python itself, or nowhere."""
    spec = spec_of(top)
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
