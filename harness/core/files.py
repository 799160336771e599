"""Writing files so that a killed run leaves the old content or the new, never half of one."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import resource
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar

from harness.core.errors import CorruptFileError, DiskError, HarnessError

Content = TypeVar("Content")

_AGAIN = "delete it and run again"

STORE_MARKER = "store.json"
"""Name of the file by which a results store is recognised."""
DAMAGED = ".damaged"
"""Ends the name of a damaged file that was set aside."""

_REASONS = {
    errno.ENOSPC: ("no space left on the disk", "free space or choose another --store or HARNESS_CACHE"),
    errno.EDQUOT: ("disk quota exceeded", "free space or choose another --store or HARNESS_CACHE"),
    errno.EFBIG: ("file too large", "raise the limit (ulimit -f) or choose another --store or HARNESS_CACHE"),
    errno.EIO: ("input/output error", "check the disk or choose another --store or HARNESS_CACHE"),
    errno.EACCES: ("permission denied", "choose another --store or HARNESS_CACHE"),
    errno.EROFS: ("read-only file system", "choose another --store or HARNESS_CACHE"),
}
"""Why nothing can be written, and what to do."""


def cache_root() -> Path:
    """Folder of rebuildable files: ``$HARNESS_CACHE``, else the user's cache folder."""
    explicit = os.environ.get("HARNESS_CACHE")
    if explicit:
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "missing-modality-harness"


@contextmanager
def clear_disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into one line that names the path.

    Safetensors has an exception of its own, whose text holds the number of the system's error.
    """
    try:
        yield
    except Exception as error:
        number = _system_error(error)
        if number not in _REASONS:
            raise
        what, hint = _REASONS[number]
        raise DiskError(f"cannot write {path}: {what}", hint) from error


def has_room(folder: Path) -> bool:
    """Whether a MiB can be written into a folder."""
    try:
        with TemporaryFile(dir=folder) as stream:
            stream.write(bytes(1 << 20))
            stream.flush()
    except OSError:
        return False
    return True


def _system_error(error: Exception) -> int | None:
    """Number of the system's error behind an exception, or None."""
    if isinstance(error, OSError):
        return error.errno
    if type(error).__name__ == "SafetensorError":
        match = re.search(r"\b(?:code:|os error) (\d+)", str(error))
        return int(match[1]) if match else None
    return None


def private_folder(folder: Path) -> Path:
    """``folder``, made with whatever is missing above it, for the user alone (mode 0700).

    Raises:
        HarnessError: a file or a link that leads nowhere is in the way, or the name is too long.
        DiskError: nothing can be written there.
    """
    with clear_disk_errors(folder):
        _make_missing(folder)
        state = folder.stat()
        if state.st_mode & 0o077 and state.st_uid == os.getuid():
            folder.chmod(0o700)
    return folder


def _make_missing(folder: Path) -> None:
    """Make a folder and those above it, each for the user alone; ``mkdir`` would open up all but the last."""
    try:
        for each in [*reversed(folder.parents), folder]:
            if not each.exists():
                each.mkdir(mode=0o700, exist_ok=True)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file is in its place")
    except OSError as error:
        ways = {errno.EEXIST: "a link that leads nowhere is in its place"}
        expected = (errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT)
        if error.errno not in expected:
            raise
        why = ways.get(error.errno) or str(error.strerror).lower()
        shown = str(folder) if len(str(folder)) <= 100 else f"{str(folder)[:100]}.."
        raise HarnessError(f"the folder {shown} cannot be made: {why}", "choose another place") from error


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` on a temporary neighbour of ``path``, flush it to disk, then rename it into place.

    Raises:
        HarnessError: a folder is in the file's place.
        DiskError: nothing can be written there.
    """
    with clear_disk_errors(path):
        _make_missing(path.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            with suppress(OSError):
                temporary.unlink()
            if isinstance(error, IsADirectoryError) and path.is_dir():
                raise HarnessError(
                    f"{path} cannot be written: a folder is in its place", "remove it and run again"
                ) from error
            raise


def write_json(path: Path, value: Any) -> None:
    """Atomically write ``value`` as indented JSON."""
    text = json.dumps(value, indent=1, ensure_ascii=False, sort_keys=False) + "\n"
    write_atomic(path, lambda stream: stream.write(text.encode()))


def open_own(path: Path) -> BufferedReader:
    """A file of the store or the cache, opened for reading: never a pipe or a device, which may not end.

    Raises:
        CorruptFileError: something else is in its place, or a link that leads nowhere.
        FileNotFoundError: nothing is there.
        HarnessError: the user may not read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except PermissionError as error:
        raise HarnessError(f"{path}: permission denied", "whose file is it?") from error
    except NotADirectoryError as error:
        raise HarnessError(
            f"{path}: a file is in the place of a folder above", "choose another place"
        ) from error
    except OSError as error:
        if not path.is_symlink() and error.errno != errno.ENXIO:
            raise
        raise CorruptFileError(f"{path}: a socket or a link that leads nowhere", _AGAIN) from error
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return open(descriptor, "rb")
    os.close(descriptor)
    what = "a folder" if stat.S_ISDIR(kind) else "a device or a pipe"
    raise CorruptFileError(f"{path}: {what} is in its place", _AGAIN)


def _content(path: Path) -> bytes:
    """All bytes of a file of the store or the cache."""
    with open_own(path) as stream:
        return stream.read()


def read_json(path: Path) -> Any:
    """Read JSON, or raise ``CorruptFileError`` that names the file."""
    try:
        return json.loads(_content(path).decode())
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"{path}: not valid JSON: {error}", _AGAIN) from error


_CONTENT = "content"
"""Under this key a seal has the checksum of the file beside it."""

_CHECKSUM, _AFTER = b'"sha256": "', b'"\n}\n'
_LAST = re.compile(rb'[^"]*"\s*\}\s*')
"""What follows where a checksum is the last key, whatever blanks an editor has added."""


def write_checked_json(path: Path, values: Mapping[str, Any], names: int = 0) -> None:
    """Atomically write an object as indented JSON whose last key, ``sha256``, is the checksum of the rest.

    Args:
        names: how many names at the end of its path say whose it is, and are recorded as ``place``.
    """
    place = {"place": _place(path, names)} if names else {}
    content = {**values, **place, "sha256": ""}
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # the name of a file need not be UTF-8
        text = json.dumps(content, indent=1).encode()
    head, _, tail = (text + b"\n").rpartition(_CHECKSUM)
    digest = hashlib.sha256(head + tail).hexdigest().encode()
    write_atomic(path, lambda stream: stream.write(head + _CHECKSUM + digest + tail))


def read_checked_json(path: Path, names: int = 0) -> dict[str, Any]:
    """An object that ``write_checked_json`` wrote, without its checksum.

    Args:
        names: with how many names of its path it was written.

    Raises:
        CorruptFileError: any byte is another than was written, its checksum is gone, it was written in
            another place, or it is no object.
    """
    checksum = checksum_of(path)
    values = read_json(path)
    if not isinstance(values, dict):
        raise CorruptFileError(f"{path}: not a JSON object", _AGAIN)
    if not checksum:
        raise CorruptFileError(f"{path}: its checksum is gone", _AGAIN)
    values.pop("sha256")
    _check_place(path, values.pop("place", None), names)
    return values


def checksum_of(path: Path) -> str:
    """The checksum with which a JSON file ends; empty for one that was written without.

    Raises:
        CorruptFileError: the checksum is there and does not fit, or no file is in the file's place.
    """
    head, key, rest = _content(path).rpartition(_CHECKSUM)
    if not key or not _LAST.fullmatch(rest):
        return ""
    digest = rest.removesuffix(_AFTER)
    if hashlib.sha256(head + _AFTER).hexdigest().encode() != digest:
        raise _mismatch(path)
    return digest.decode()


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes as hex."""
    with open_own(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(path: Path, names: int = 0, facts: Mapping[str, Any] | None = None) -> None:
    """Record the checksum of a finished file beside it, in a file that has a checksum of its own.

    Args:
        names: how many names at the end of its path say whose it is, and are recorded, too.
        facts: what else is recorded.
    """
    clear_place(_seal_of(path))
    write_checked_json(_seal_of(path), {**(facts or {}), _CONTENT: digest_of(path)}, names)


def sealed_facts(path: Path, names: int = 0) -> dict[str, Any]:
    """What ``seal`` recorded, and the file's checksum as ``content``; empty where it is gone or damaged.

    Args:
        names: with how many names of its path it was sealed.
    """
    try:
        return read_checked_json(_seal_of(path), names)
    except (CorruptFileError, OSError):
        return {}


def _seal_of(path: Path) -> Path:
    return path.with_name(path.name + ".sha256.json")


def _place(path: Path, names: int) -> str:
    return "/".join(path.parts[-names:])


def unseal(path: Path) -> None:
    """Make ``path`` count as unfinished again."""
    clear_place(_seal_of(path))
    _seal_of(path).unlink(missing_ok=True)


def is_sealed(path: Path) -> bool:
    """Whether ``path`` was finished (its content is not checked)."""
    return path.exists() and _seal_of(path).exists()


def verify(path: Path, names: int = 0) -> None:
    """Raise ``CorruptFileError`` unless ``path`` holds exactly what was sealed, in the place where it was.

    Args:
        names: with how many names of its path it was sealed.
    """
    try:
        seal = read_checked_json(_seal_of(path), names)
        fits = digest_of(path) == seal.get(_CONTENT)
    except (FileNotFoundError, IsADirectoryError) as error:
        lost = "it is gone" if isinstance(error, FileNotFoundError) else "a folder is in its place"
        raise CorruptFileError(f"{error.filename}: {lost}", "run again") from error
    if not fits:
        raise _mismatch(path)


def _check_place(path: Path, place: object, names: int) -> None:
    if names and place != _place(path, names):
        where = f"as {place[:300]}" if isinstance(place, str) else "without its place"
        raise CorruptFileError(f"{path}: it was written {where}", _AGAIN)


def _mismatch(path: Path) -> CorruptFileError:
    return CorruptFileError(f"{path}: checksum mismatch, the file was damaged", _AGAIN)


def set_aside(path: Path, reason: str, target: Path | None = None) -> None:
    """Rename a damaged file or folder to ``NAME.damaged``, without its seal, and say so on standard error.

    An older one of this name is replaced. What is gone already is no error.

    Args:
        target: its new name, where it is another one.
    """
    target = target or path.with_name(path.name + DAMAGED)
    with clear_disk_errors(path):
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        with suppress(FileNotFoundError):
            if path.is_dir():
                target.unlink(missing_ok=True)
            os.replace(path, target)
        seal = _seal_of(path)
        if seal.is_dir():
            shutil.rmtree(seal)
        seal.unlink(missing_ok=True)
    logging.getLogger(__name__).warning("%s: damaged, set aside as %s: %s", path, target.name, reason)


def clear_place(path: Path) -> None:
    """Set aside what is in the place of a file: a folder, a pipe, a device, a link that leads to none."""
    if os.path.lexists(path) and not path.is_file():
        set_aside(path, "a folder is in its place" if path.is_dir() else "no file")


def clear_folder_place(path: Path) -> None:
    """Set aside what is in the place of a folder: a file, a pipe, a device, a link that leads to none."""
    if os.path.lexists(path) and not path.is_dir():
        set_aside(path, "no folder")


def unless_damaged(path: Path, read: Callable[[], Content]) -> Content | None:
    """What ``read`` returns; None where it raises ``CorruptFileError``: ``path`` is set aside then.

    For files and folders whose content can be made again.
    """
    try:
        return read()
    except CorruptFileError as error:
        set_aside(path, error.message)
        return None


def peak_gib() -> float:
    """Peak memory of this process in GiB; getrusage would count what its parent held when it was forked."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**20
