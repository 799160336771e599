"""The fingerprint of a method's source: a trained method and its predictions stand as long as it does.

It covers the module of the method and, from there on, every module that is imported by one that it covers, as
the source says: ``import`` and ``from .. import`` anywhere in a file, also inside functions, and
``import_module`` of a name that stands there. Tables and texts beside the modules of a package
(``methods/kedr/priors.yaml``) and in its folders of data count, too, and every other file or folder whose
path, seen from the module's folder, stands in the source as a string. It leaves out

- Python's standard library and what is installed in ``site-packages``, whose versions a manifest holds,
  except ``methods`` and the packages that register methods, datasets or metrics;
- ``harness``, for which ``PROTOCOL`` in ``harness.evaluation.entries`` stands.

Imports by a computed name and files of a computed path are not seen. Of a class without a
module file, as in a notebook, only the functions of the class count.

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
from collections.abc import Callable, Iterator
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType
from typing import Any

from harness.core import registry
from harness.core.content import content_digest, file_digest

_HARNESS = __name__.partition(".")[0]
_SHARED = "methods"
"""The package of the built-in methods, whose shared parts plugins import."""
_METRICS = f"{_HARNESS}.metrics"
_CONTRACT = {f"{_METRICS}.{name}" for name in ("base", "direct", "several")}
"""What all metrics share and no statistics come from."""
_DATA = {".csv", ".json", ".toml", ".tsv", ".txt", ".yaml", ".yml"}
"""How the names of a package's tables and texts end."""
_COMPILED = {".py", ".pyc", ".pyo"}
_FILE_NAME = re.compile(r"[^\0\n*?]{1,200}")
"""Strings of a source that may name a file."""
_VARIABLE = re.compile(r"HARNESS_[A-Z0-9_]*(?:WEIGHTS|MODEL)")
"""Strings of a source that name a place of weights."""
_IN_FULL, _MANY = 64 << 20, 1_000
"""Bytes of a file up to which its content is held here; files up to which a folder counts by content."""
_CALLS = {"import_module", "__import__", "files", "get_data", "open_text", "open_binary", "read_text"}
"""Functions whose first argument may name a module or a package of data."""


@cache
def code_fingerprint(method_class: type) -> str:
    """Twelve hexadecimal digits that change with the source that a method runs.

    No module is imported for it. Names and contents of modules count, their place on the disk does not.
    """
    parts = _parts_of_method(method_class)
    return _digest({name: hashlib.sha256(content).hexdigest() for name, (content, _) in parts.items()})


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
    return _digest({name: _meaning(content) for name, (content, _) in parts.items()})


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

    None of this distribution's methods: their weights are settings, or their digests are.
    """
    if registry.is_ours(method_class):
        return ()
    parts = _parts_of_method(method_class).values()
    sources = [content for content, path in parts if path is None or path.suffix == ".py"]
    return tuple(sorted({text for each in sources for text in _strings(each) if _VARIABLE.fullmatch(text)}))


def files_of(method_class: type) -> dict[str, Path]:
    """Name -> path of the files that the fingerprint covers; ``MODULE`` or ``PACKAGE/FILE``."""
    return {name: path for name, (_, path) in _parts_of_method(method_class).items() if path is not None}


def run_before(module: str) -> frozenset[str]:
    """A module, the packages around it, and what these import: all of it runs when the module is imported."""
    top = module.partition(".")[0]
    modules = {module}
    pending = {*_with_packages(module)} - modules
    while pending:
        name = pending.pop()
        source = None if name in modules or name.partition(".")[0] != top else _source(name)
        if source is not None:
            modules.add(name)
            pending.update(_imported(source, name))
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
        source = _source(name)
        if source is None:
            source = _own_source(own, name)
        if source is None:  # no such module: what a ``from`` names is a class or a function of the module
            continue
        parts[name] = source, _file(name)
        # What the harness's own modules read lies beside them.
        named = [] if name.startswith(_HARNESS) else list(_named(source, name))
        for place, each in (*_data(name), *named):
            if place not in parts:
                parts[place] = (_listed(each), None) if each.is_dir() else (_content(each), each)
        pending.update(_imported(source, name))
    return parts


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
    specs = (_spec_of(finder, name, folders) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


def _spec_of(finder: Any, name: str, folders: Any) -> ModuleSpec | None:
    try:
        spec: ModuleSpec | None = finder.find_spec(name, folders)
    except KeyError:  # Python asks an imported parent where a package without ``__init__.py`` is
        spec = ModuleSpec(name, None, is_package=True)
        own = [Path(folder) / name.rpartition(".")[2] for folder in folders]
        spec.submodule_search_locations = [str(folder) for folder in own if folder.is_dir()]
    return spec


def _file(name: str) -> Path | None:
    """The file of a module; None where it has none, or where there is no such module."""
    spec = _spec(name)
    if spec is None:
        file = getattr(sys.modules.get(name), "__file__", None)
    else:
        file = spec.origin if spec.has_location else None
    return Path(file) if file and Path(file).is_file() else None


def _source(name: str) -> bytes | None:
    """Content of a module's file; empty for a package without ``__init__.py``, None without such a module."""
    if file := _file(name):
        return file.read_bytes()
    spec = _spec(name)
    archive = getattr(getattr(spec, "loader", None), "archive", None)  # as a zip file's loader has it
    if spec is not None and spec.origin and archive:
        return bytes(spec.loader.get_data(spec.origin))  # type: ignore[union-attr]
    return None if spec is None else b""


def _content(path: Path) -> bytes:
    """Content of a file; of a long one its digest."""
    return path.read_bytes() if path.stat().st_size <= _IN_FULL else file_digest(path).encode()


def _listed(folder: Path) -> bytes:
    """Files of a folder and of those in it, with their digests; of very many, sizes and times."""
    files = sorted(each for each in folder.rglob("*") if each.suffix not in _COMPILED and each.is_file())
    if len(files) <= _MANY:
        facts = [file_digest(each) for each in files]
    else:
        facts = [f"{state.st_size} {state.st_mtime_ns}" for state in (each.stat() for each in files)]
    names = [each.relative_to(folder).as_posix() for each in files]
    return repr(list(zip(names, facts, strict=True))).encode()


def _named(source: bytes, name: str) -> Iterator[tuple[str, Path]]:
    """Files and folders below a module's folder that the module names: name and path. Code is no data."""
    file = _file(name)
    spec = _spec(name)
    if file is None or file.suffix != ".py":
        return
    package = (spec.parent if spec is not None else None) or name
    top = file.parent.resolve()
    for text in _strings(source):
        if not _FILE_NAME.fullmatch(text):
            continue
        try:
            path = (top / text).resolve()
        except UnicodeEncodeError:  # half of a pair of surrogates: no file has such a name
            continue
        if path != top and path.is_relative_to(top) and path.suffix not in _COMPILED:
            own = name.partition(".")[0] == _SHARED and (path / "__init__.py").exists()  # imported, or not
            if path.is_file() or (path.is_dir() and not own):
                yield f"{package}/{path.relative_to(top).as_posix()}", path


def _strings(source: bytes) -> Iterator[str]:
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _tree(source: bytes) -> ast.Module:
    """The source as Python reads it; empty where it is not Python, e.g. of a compiled module."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


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
                yield f"{name}/{path.relative_to(top).as_posix()}", path


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


@cache
def _imported(source: bytes, name: str) -> frozenset[str]:
    """Modules that a module imports, with the packages around it and around them.

    Some are none: ``from a import b`` gives ``a`` and ``a.b``, whatever ``b`` is.
    """
    spec = _spec(name)
    package = (spec.parent if spec is not None else None) or ""
    return frozenset((*_with_packages(name), *_imported_by(source, package)))


def _imported_by(source: bytes, package: str) -> Iterator[str]:
    """What the statements and calls of a module of a package import."""
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_packages(alias.name)
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            origin = resolve_name(relative, package) if package or not node.level else ""
            if origin:
                yield from _with_packages(origin)
                yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            yield from _imported_by_call(node, package)


def _imported_by_call(node: ast.Call, package: str) -> Iterator[str]:
    """What ``import_module("a.b")``, ``resources.files("a.b")`` and so on import."""
    function = getattr(node.func, "attr", getattr(node.func, "id", ""))
    text = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
    if function not in _CALLS or not isinstance(text, str) or not text.strip("."):
        return
    if package or not text.startswith("."):
        yield from _with_packages(resolve_name(text, package))


def _with_packages(name: str) -> Iterator[str]:
    """``a.b.c``, ``a.b`` and ``a``: importing a module runs the packages around it."""
    while name:
        yield name
        name = name.rpartition(".")[0]
