"""Writing files so that a killed run leaves the old content or the new, never half of one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from harness.core.errors import CorruptFileError, DiskError


def cache_root() -> Path:
    """Folder of rebuildable files: ``$HARNESS_CACHE``, else the user's cache folder."""
    explicit = os.environ.get("HARNESS_CACHE")
    if explicit:
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "missing-modality-harness"


@contextmanager
def clear_disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into one line that names the path."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: (
                "no space left on the disk",
                "free space or choose another --store or HARNESS_CACHE",
            ),
            errno.EDQUOT: ("disk quota exceeded", "free space or choose another --store or HARNESS_CACHE"),
            errno.EACCES: ("permission denied", "choose another --store or HARNESS_CACHE"),
            errno.EROFS: ("read-only file system", "choose another --store or HARNESS_CACHE"),
        }
        if error.errno not in reasons:
            raise
        what, hint = reasons[error.errno]
        raise DiskError(f"cannot write {path}: {what}", hint) from error


def private_folder(folder: Path) -> Path:
    """``folder``, made with whatever is missing above it, for the user alone (mode 0700)."""
    with clear_disk_errors(folder):
        _make_missing(folder)
        state = folder.stat()
        if state.st_mode & 0o077 and state.st_uid == os.getuid():
            folder.chmod(0o700)
    return folder


def _make_missing(folder: Path) -> None:
    """Make a folder and those above it, each for the user alone; ``mkdir`` would open up all but the last."""
    for each in [*reversed(folder.parents), folder]:
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` on a temporary neighbour of ``path``, flush it to disk, then rename it into place."""
    with clear_disk_errors(path):
        _make_missing(path.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def write_json(path: Path, value: Any) -> None:
    """Atomically write ``value`` as indented JSON."""
    text = json.dumps(value, indent=1, ensure_ascii=False, sort_keys=False) + "\n"
    write_atomic(path, lambda stream: stream.write(text.encode()))


def read_json(path: Path) -> Any:
    """Read JSON, or raise ``CorruptFileError`` that names the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path}: not valid JSON: {error}", "delete it and run again") from error


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes as hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(path: Path) -> None:
    """Record the checksum of a finished file beside it."""
    write_json(path.with_name(path.name + ".sha256.json"), {"sha256": digest_of(path)})


def unseal(path: Path) -> None:
    """Make ``path`` count as unfinished again."""
    path.with_name(path.name + ".sha256.json").unlink(missing_ok=True)


def is_sealed(path: Path) -> bool:
    """Whether ``path`` was finished (its content is not checked)."""
    return path.exists() and path.with_name(path.name + ".sha256.json").exists()


def verify(path: Path) -> None:
    """Raise ``CorruptFileError`` unless ``path`` holds exactly what was sealed."""
    expected = read_json(path.with_name(path.name + ".sha256.json")).get("sha256")
    if digest_of(path) != expected:
        raise CorruptFileError(f"{path}: checksum mismatch, the file was damaged", "delete it and run again")


def peak_gib() -> float:
    """Peak memory of this process in GiB; getrusage would count what its parent held when it was forked."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**20
