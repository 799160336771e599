"""Where the modules of a plugin and their data lie, as the source says; nothing is imported for it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from harness.core.content import file_digest, files_below
from harness.core.files import STORE_MARKER

_HARNESS, _SHARED = "harness", "methods"
_OURS = (_HARNESS, _SHARED)
_DATA = {".csv", ".json", ".toml", ".tsv", ".txt", ".yaml", ".yml"}
"""How the names of a package's tables and texts end."""
_COMPILED = {".py", ".pyc", ".pyo"}
_FILE_NAME = re.compile(r"[^\0\n*?]{1,200}")
"""Strings of a source that may name a file."""
_JOINS = {"Path", "PurePath", "glob", "join", "joinpath", "listdir", "open", "rglob", "scandir", "walk"}
"""Functions that take parts of paths."""
_IMPORTS = {"import_module", "__import__"}
_RUNS = {"run_path", "run_module", "spec_from_file_location", "iter_modules", "walk_packages"}
"""Functions that run or list code which a source need not name."""
_MODULE = re.compile(r"[A-Za-z_]\w{0,60}(?:\.[A-Za-z_]\w{0,60}){0,5}")
_IN_FULL = 64 << 20
"""Bytes of a file up to which its content is held here."""
_MANY, _MUCH = 1_000, 1 << 30
"""Files and bytes up to which a folder counts by content."""
_CALLS = {"import_module", "__import__", "files", "get_data", "open_text", "open_binary", "read_text"}
"""Functions whose first argument may name a module or a package of data."""


def spec_of(name: str) -> ModuleSpec | None:
    """Where a module is, without importing it or its packages; None where there is no such module."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return getattr(loaded, "__spec__", None)
    parent = name.rpartition(".")[0]
    folders = None
    if parent:
        package = spec_of(parent)
        if package is None or package.submodule_search_locations is None:
            return None
        folders = package.submodule_search_locations
    specs = (_spec_by(finder, name, folders) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


def _spec_by(finder: Any, name: str, folders: Any) -> ModuleSpec | None:
    try:
        spec: ModuleSpec | None = finder.find_spec(name, folders)
    except KeyError:  # Python asks an imported parent where a package without ``__init__.py`` is
        spec = ModuleSpec(name, None, is_package=True)
        own = [Path(folder) / name.rpartition(".")[2] for folder in folders]
        spec.submodule_search_locations = [str(folder) for folder in own if folder.is_dir()]
    return spec


def file_of(name: str) -> Path | None:
    """The file of a module; None where it has none, or where there is no such module."""
    spec = spec_of(name)
    if spec is None:
        file = getattr(sys.modules.get(name), "__file__", None)
    else:
        file = spec.origin if spec.has_location else None
    return Path(file) if file and Path(file).is_file() else None


def source_of(name: str) -> bytes | None:
    """Content of a module's file; empty for a package without ``__init__.py``, None without such a module."""
    if file := file_of(name):
        return file.read_bytes()
    spec = spec_of(name)
    archive = getattr(getattr(spec, "loader", None), "archive", None)  # as a zip file's loader has it
    if spec is not None and spec.origin and archive:
        return bytes(spec.loader.get_data(spec.origin))  # type: ignore[union-attr]
    return None if spec is None else b""


def content_of(path: Path) -> bytes:
    """Content of a file, of a long one its digest; of a folder names and digests of the files in it.

    Where a folder has very much in it, sizes and times stand in place of digests.
    """
    if path.is_file():
        return path.read_bytes() if path.stat().st_size <= _IN_FULL else file_digest(path).encode()
    files = {each: each.stat() for each in sorted(_files_in(path)) if _is_data(each)}
    if len(files) <= _MANY and sum(state.st_size for state in files.values()) <= _MUCH:
        facts = [file_digest(each) for each in files]
    else:
        facts = [f"{state.st_size} {state.st_mtime_ns}" for state in files.values()]
    names = [each.relative_to(path).as_posix() for each in files]
    return repr(list(zip(names, facts, strict=True))).encode()


def data_of(name: str, source: bytes) -> dict[str, Path]:
    """Files and folders of data of a module, by name.

    They are tables and texts beside the module of a package and what the module's strings name; of packages
    of others, all that lies beside it. What the harness's own modules read lies beside them.
    """
    spec, file, top = spec_of(name), file_of(name), name.partition(".")[0]
    places: dict[str, Path] = {}
    for number, folder in enumerate(_folders_of(spec)):
        if top not in _OURS:
            places[f"{name}/ {number}"] = folder
        for path in _files_in(folder):
            if path.suffix in _DATA and path.is_file():
                places[f"{name}/{path.relative_to(folder).as_posix()}"] = path
    if file is not None and file.suffix == ".py" and top != _HARNESS:
        package = (spec.parent if spec is not None else None) or name
        folder = file.parent.resolve()
        for path in _named(source, folder):
            if path.is_file() or top not in _OURS or not (path / "__init__.py").exists():
                places.setdefault(f"{package}/{path.relative_to(folder).as_posix()}", path)
    return places


def _folders_of(spec: ModuleSpec | None) -> list[Path]:
    """The folder of a package; of one without ``__init__.py`` it may be several."""
    if spec is None or not spec.submodule_search_locations:
        return []
    if spec.origin is not None:
        return [Path(spec.origin).parent]
    return [Path(folder) for folder in spec.submodule_search_locations if Path(folder).is_dir()]


def _named(source: bytes, folder: Path) -> Iterator[Path]:
    """Files below a folder that strings of a module name, and folders that stand in a path; no code."""
    of_paths = set(_of_paths(source))
    for text in strings(source):
        if _FILE_NAME.fullmatch(text):
            with suppress(UnicodeEncodeError):  # half of a pair of surrogates: no file has such a name
                path = (folder / text).resolve()
                below = path != folder and path.is_relative_to(folder) and path.suffix not in _COMPILED
                if below and (path.is_file() or (text in of_paths and _is_folder_of_data(path))):
                    yield path


def _is_folder_of_data(path: Path) -> bool:
    return path.is_dir() and not (path / STORE_MARKER).exists()


def _of_paths(source: bytes) -> Iterator[str]:
    """Texts that a source joins to paths, or gives to functions of paths and files."""
    for node in ast.walk(_tree(source)):
        parts: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = [node.left, node.right]
        elif isinstance(node, ast.Call) and _called(node) in _JOINS:
            parts = node.args
        for part in parts:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


def _called(node: ast.Call) -> str:
    """Last name of the function of a call."""
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def data_elsewhere(name: str, source: bytes) -> dict[str, Path]:
    """Files and folders that a plugin's module names outside its package, by name.

    They lie beside the package, or a path names them in full, from the user's folder or the working folder.
    """
    places: dict[str, Path] = {}
    top = name.partition(".")[0]
    home = None if top in _OURS else file_of(top)
    if home is None:
        return places
    if home.name == "__init__.py":
        around = home.parents[1].resolve()
        for path in _named(source, around):
            places[f"{top}/../{path.relative_to(around).as_posix()}"] = path
    whole = {text for text in strings(source) if text.startswith(("/", "~"))}
    for number, text in enumerate(sorted(whole.union(_of_paths(source)))):
        if not _FILE_NAME.fullmatch(text) or text.endswith(tuple(_COMPILED)):
            continue
        with suppress(UnicodeEncodeError, RuntimeError, OSError):  # no such user; too long a name
            path = Path.cwd() / Path(text).expanduser()
            if path.is_file():
                places[f"{name}/elsewhere {number}"] = path
            elif text in whole and path.is_dir():  # of which other strings may name files
                for below in (each for each in _named(source, path.resolve()) if each.is_file()):
                    places[f"{name}/elsewhere {number}/{below.relative_to(path.resolve())}"] = below
    return places


def chooses_code(source: bytes) -> bool:
    """Whether a module may run code that its source does not name, by computed imports or ``exec``."""
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Call):
            name, named = _called(node), bool(node.args) and isinstance(node.args[0], ast.Constant)
            builtin = isinstance(node.func, ast.Name) and name in ("exec", "eval")  # not that of a network
            if builtin or name in _RUNS or (name in _IMPORTS and not named):
                return True
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) == ("sys", "path"):
                return True
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".py"):
            return True
    return False


def whole_package(top: str) -> bytes:
    """All files of a package's folder with their digests, code as well; empty for a single module."""
    file = file_of(top)
    if file is None or file.name != "__init__.py":
        return b""
    inside = files_below(file.parent, lambda path: not path.name.startswith((".", "__pycache__")))
    digests = {
        path.relative_to(file.parent).as_posix(): file_digest(path)
        for path in inside
        if path.suffix not in (".pyc", ".pyo")
    }
    return repr(sorted(digests.items())).encode()


def _files_in(top: Path) -> Iterator[Path]:
    """Files of a folder and of those of its folders that are neither packages nor hidden."""
    return files_below(
        top, lambda path: not (path.name.startswith((".", "__")) or (path / "__init__.py").exists())
    )


def _is_data(path: Path) -> bool:
    return path.suffix not in _COMPILED and not path.name.startswith(".") and path.is_file()


def strings(source: bytes) -> Iterator[str]:
    """Texts that stand in a source."""
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _tree(source: bytes) -> ast.Module:
    """The source as Python reads it; empty where it is not Python, e.g. of a compiled module."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


@cache
def imported(source: bytes, name: str) -> frozenset[str]:
    """Modules that a module imports, with the packages around it and around them.

    Some are none: ``from a import b`` gives ``a`` and ``a.b``, whatever ``b`` is.
    """
    spec = spec_of(name)
    package = (spec.parent if spec is not None else None) or ""
    return frozenset((*with_packages(name), *_imported_by(source, package), *_modules_named(source, name)))


def _modules_named(source: bytes, name: str) -> Iterator[str]:
    """Modules beside a plugin's own whose names stand in it, as of a setting that names one."""
    top = name.partition(".")[0]
    file = None if top in _OURS else file_of(top)
    if file is not None:
        folder = file.parents[1] if file.name == "__init__.py" else file.parent
        for text in strings(source):
            first = text.partition(".")[0]
            if _MODULE.fullmatch(text) and first != top and (folder / f"{first}.py").is_file():
                yield from with_packages(text)


def _imported_by(source: bytes, package: str) -> Iterator[str]:
    """What the statements and calls of a module of a package import."""
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from with_packages(alias.name)
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            origin = resolve_name(relative, package) if package or not node.level else ""
            if origin:
                yield from with_packages(origin)
                yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            yield from _imported_by_call(node, package)


def _imported_by_call(node: ast.Call, package: str) -> Iterator[str]:
    """What ``import_module("a.b")``, ``resources.files("a.b")`` and so on import."""
    function = _called(node)
    text = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
    if function not in _CALLS or not isinstance(text, str) or not text.strip("."):
        return
    if package or not text.startswith("."):
        yield from with_packages(resolve_name(text, package))


def with_packages(name: str) -> Iterator[str]:
    """``a.b.c``, ``a.b`` and ``a``: importing a module runs the packages around it."""
    while name:
        yield name
        name = name.rpartition(".")[0]
