"""What no box of a method reads: the files of a data set, and the code that opens or draws it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from harness.method.fingerprint import run_before

_HARNESS = __name__.partition(".")[0]
_INSTALLED = ("site-packages", "dist-packages")


def modules_of(dataset: type, method: str = "") -> list[str]:
    """Files of the modules that make a data set; not what all data sets of the harness have in common.

    Args:
        dataset: its class.
        method: module of a method; what runs with its import in any case (``shared_by``) is left out.
    """
    return [
        file
        for name in sorted(_modules(dataset) - shared_by(dataset, method))
        if (file := getattr(sys.modules.get(name), "__file__", None))
    ]


def shared_by(dataset: type, method: str) -> frozenset[str]:
    """Modules of a data set without which the module ``method`` cannot be imported.

    Both are in one module, or the package around the method imports the data set. No box can hide them.
    """
    return frozenset(_modules(dataset) & run_before(method)) if method else frozenset()


def _modules(dataset: type) -> set[str]:
    shared = {base.__module__ for base in dataset.__mro__[1:] if _is_shared(base.__module__)}
    return {base.__module__ for base in dataset.__mro__} - shared


def beside(dataset: type, method: str) -> Iterator[str]:
    """What lies beside the modules of a data set that comes with a plugin and is no code: its data, perhaps.

    Not where the method is in the same package, and none of the harness: only the modules are hidden then.

    Args:
        dataset: its class.
        method: module of the method; it is not imported.
    """
    own = _folder_of_top(method)
    for file in modules_of(dataset):
        folder = os.path.realpath(os.path.dirname(file))
        packaged = Path(folder, "__init__.py").exists() and os.path.basename(folder) not in _INSTALLED
        together = any(_is_around(*pair) for pair in ((folder, own), (own, folder), (_OWN, folder)))
        if packaged and not together:
            yield from (entry.path for entry in os.scandir(folder) if not _is_code(Path(entry.path)))


def _is_code(path: Path) -> bool:
    if path.is_dir():
        return path.name == "__pycache__" or (path / "__init__.py").exists()
    return path.suffix in (".py", ".pyc", ".pyi", ".so", ".pyd")


_OWN = os.path.realpath(Path(__file__).parents[2])


def _is_around(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)


def _folder_of_top(module: str) -> str:
    """Where the package of a module lies, or the folder of a module that is in no package."""
    try:
        spec = find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.has_location else [])]
    return os.path.realpath(str(places[0])) if places else ""


def _is_shared(module: str) -> bool:
    """Whether others import a module, too: Python's own, and what the harness's data sets have in common."""
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top == _HARNESS
