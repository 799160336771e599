"""What a box may read and write: interpreter, packages, a method's own code and weights, its own folders."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.core.children import child_environment
from harness.method.box import shared_memory
from harness.method.box.kernel import READ, READ_DIR, TRUNCATE, WRITE, WRITE_FILE

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/proc", "/sys", "/run/nvidia")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "dri", "kfd")
_DATA_OF_PACKAGES = (("torchxrayvision", "data"),)
"""Folders of packages that hold a data set: no box reads them."""
_PASSED_ON = (
    "PATH",
    "LANG",
    "LANGUAGE",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONSAFEPATH",
    "TZ",
    "SystemRoot",
)
_PASSED_ON_STARTS = ("LC_", "OMP_", "MKL_", "OPENBLAS_", "NUMBA_", "CUDA_", "NVIDIA_", "HIP_", "TORCH_")
_WEIGHTS = ("WEIGHTS", "MODEL")
"""How names of the harness' environment variables end that hold a folder of weights."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Files of a box; everything else is refused.

    Attributes:
        read: files and folders that it may read.
        hidden: those inside them that it may not.
        write: folders that it may write, too.
        listed: folders that modules are looked for in: names in them can be read, unless a hidden folder
            lies there.
        opened: folders that it may read though they lie in hidden ones.
        named: files and folders that settings name.
    """

    read: tuple[str, ...]
    hidden: tuple[str, ...]
    write: tuple[str, ...]
    listed: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()
    named: tuple[str, ...] = ()

    def rights(self) -> list[tuple[str, int]]:
        """(Path, Landlock rights); a folder around a hidden file can be listed, its other content read."""
        hidden = frozenset(map(os.path.realpath, self.hidden))
        rights = [right for each in self.read for right in _without(each, hidden)]
        folders = frozenset(filter(os.path.isdir, hidden))
        around = [path for path in map(os.path.realpath, self.listed) if not _holds(path, folders)]
        rights += [(path, READ_DIR) for path in around]
        rights += [(path, READ) for path in self.opened]
        return [*rights, *devices(), *((path, WRITE) for path in self.write)]

    def hides(self, path: str) -> bool:
        """Whether a file, links followed, is hidden."""
        return any(
            path == hidden or path.startswith(hidden + os.sep)
            for hidden in map(os.path.realpath, self.hidden)
        )


def devices() -> list[tuple[str, int]]:
    """Devices that hold no data, with their rights: graphics processors, random numbers, shared memory."""
    nvidia = _of_nvidia()
    written = [(name, WRITE) for name in (*(f"/dev/{name}" for name in _DEVICES), *nvidia)]
    # NVIDIA's driver names the threads that it starts, and gives up where it cannot (error 304). The box
    # itself looks this path up, so that these are its own threads.
    threads = [("/proc/self/task", WRITE_FILE | TRUNCATE)] if nvidia else []
    return [*written, *threads, (str(shared_memory.PLACE), shared_memory.RIGHTS)]


def _of_nvidia() -> list[str]:
    return list(map(str, Path("/dev").glob("nvidia*")))


@dataclass(frozen=True, slots=True)
class Own:
    """A method's own code.

    Attributes:
        module: of its class; it is not imported.
        files: modules and tables that its code names.
    """

    module: str
    files: tuple[str, ...] = ()

    def paths(self) -> list[str]:
        """Its package; of a single file that is not installed the folder around it."""
        sources = _sources(self.module.partition(".")[0])
        installed = ("site-packages", "dist-packages")
        around = [os.path.dirname(path) for path in sources if os.path.isfile(path)]
        return [*sources, *self.files, *(path for path in around if os.path.basename(path) not in installed)]


def rules_for(
    own: Own,
    settings: Mapping[str, Any],
    hidden: Iterable[str],
    write: Iterable[str],
    opened: Iterable[str] = (),
) -> Rules:
    """What the box of a method may read and write.

    Args:
        own: the method's code.
        settings: of the method; those that name a file or folder can be read.
        hidden: files and folders that hold the data, and modules that make it.
        write: its own folders.
        opened: folders that it may read though they are hidden.
    """
    named = named_in(settings)
    read = (*_SYSTEM, *_interpreter(), *_packages(), *own.paths(), *_weights(), *map(os.path.abspath, named))
    secret = [path for each in hidden for path in _with_compiled(each)]
    secret += [str(Path(folder, name)) for top, name in _DATA_OF_PACKAGES for folder in _sources(top)]
    listed = [path or os.getcwd() for path in sys.path if os.path.isdir(path or os.getcwd())]
    return Rules(
        tuple(dict.fromkeys(read)),
        tuple(dict.fromkeys(secret)),
        tuple(write),
        tuple(listed),
        tuple(opened),
        named,
    )


def named_in(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Files and folders that settings name."""
    return tuple(each for each in _leaves(settings) if isinstance(each, str) and os.path.exists(each))


def environment(folder: Path, salt: int) -> dict[str, str]:
    """The environment of a box: neither keys nor names of the user, no downloads.

    Args:
        folder: its home, and where its temporary files are.
        salt: of Python's hashes of texts.
    """
    own = child_environment()
    weights = {name: value for name, value in own.items() if _names_weights(name)}
    kept = {
        name: value for name, value in own.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_STARTS)
    }
    caches = {"HF_HUB_CACHE": str(_hub_cache()), "TORCH_HOME": str(_torch_home())}
    return {
        **kept,
        **weights,
        **caches,
        **dict.fromkeys(("HOME", "TMPDIR", "HF_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"), str(folder)),
        "HF_HUB_OFFLINE": "1",
        "PYTHONHASHSEED": str(salt),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _leaves(each)
    else:
        yield value


def _interpreter() -> Iterator[str]:
    """The interpreter, its library and what is installed for it; not what else its prefix may hold."""
    for path in ("stdlib", "platstdlib", "purelib", "platlib", "include", "scripts"):
        yield sysconfig.get_path(path)
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}:
        yield from (f"{prefix}/{name}" for name in ("bin", "lib", "pyvenv.cfg"))


def _packages() -> Iterator[str]:
    """Modules of the other places that this interpreter imports from, such as a clone's."""
    for entry in dict.fromkeys(path or os.getcwd() for path in sys.path):
        if not os.path.isdir(entry) or Path(entry).name in ("site-packages", "dist-packages"):
            yield entry
            continue
        for each in os.scandir(entry):
            if each.name.endswith((".py", ".so")) or os.path.exists(Path(each.path, "__init__.py")):
                yield each.path
    for name in ("harness", "methods"):
        yield from _sources(name)


def _sources(top: str) -> list[str]:
    """Folder or file of a top-level module, which is not imported; empty where there is none."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    return list(spec.submodule_search_locations or ()) or ([spec.origin] if spec.has_location else [])  # type: ignore[list-item]


def _weights() -> Iterator[str]:
    """Folders of pretrained weights: those that the user names, and the caches of their libraries."""
    yield from (value for name, value in os.environ.items() if _names_weights(name))
    yield from (str(_hub_cache()), f"{_torch_home()}/hub")


def _names_weights(name: str) -> bool:
    return name.startswith("HARNESS_") and name.endswith(_WEIGHTS)


def _hub_cache() -> Path:
    home = os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser()
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub"))


def _torch_home() -> Path:
    return Path(os.environ.get("TORCH_HOME") or Path("~/.cache/torch").expanduser())


def _with_compiled(path: str) -> Iterator[str]:
    """A file, and what Python compiled it to."""
    yield path
    if path.endswith(".py"):
        folder, name = os.path.split(path)
        yield from map(str, Path(folder, "__pycache__").glob(f"{name[:-3]}.*.pyc"))


def _holds(folder: str, hidden: frozenset[str]) -> bool:
    return any(each == folder or each.startswith(folder + os.sep) for each in hidden)


def _without(path: str, hidden: frozenset[str]) -> Iterator[tuple[str, int]]:
    real = os.path.realpath(path)
    if any(real == each or real.startswith(each + os.sep) for each in hidden) or not os.path.exists(real):
        return
    if not _holds(real, hidden):
        yield real, READ
        return
    yield real, READ_DIR
    with os.scandir(real) as entries:
        children = [entry.path for entry in entries if not entry.is_symlink()]
    for child in children:
        yield from _without(child, hidden)
