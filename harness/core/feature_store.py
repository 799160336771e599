"""Features of images from frozen networks, kept on disk by content and shared by all processes and runs.

Six methods that look through the same frozen network at the same images, in several modality states and
in the shuffled-image control, would compute the same features dozens of times. A record's key is a digest of
network and pixels, so a changed image or other weights find nothing, and nothing has to be cleared.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import HarnessError
from harness.core.files import cache_root, private_folder, set_aside
from harness.core.packages import absent

if TYPE_CHECKING:
    import lmdb

SWITCH = "HARNESS_FEATURES"
"""Environment variable; ``0`` turns the store off."""

LIMIT = 4 << 30
"""Bytes after which nothing more is kept."""


class FeatureStore:
    """Byte strings by key in a memory-mapped file below the cache folder, readable by the user alone.

    A cache and nothing else: where it is full or cannot be written, or where LMDB is not installed, features
    are computed. A damaged one is set aside and begun anew; a file that is cut short would end the process.
    """

    def __init__(self, name: str, limit: int = LIMIT) -> None:
        folder = cache_root() / "features" / name
        self._environment: lmdb.Environment | None = None
        self._error: type[Exception] = OSError
        self._full = bool(absent("lmdb"))
        if self._full:
            return
        import lmdb

        self._error = lmdb.Error
        try:
            private_folder(folder)
            if (reason := _damage(folder / "data.mdb")) is not None:
                set_aside(folder, reason)
                private_folder(folder)
            # A killed process loses its last writes and harms none; only the machine's crash could.
            self._environment = lmdb.open(str(folder), map_size=limit, mode=0o600, metasync=False)
        except (OSError, HarnessError, lmdb.Error):
            self._full = True

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The record of each key, None where there is none or its checksum is wrong."""
        if self._environment is None:
            return [None] * len(keys)
        try:
            with self._environment.begin() as transaction:
                return [_checked(transaction.get(key)) for key in keys]
        except self._error:
            return [None] * len(keys)

    def write(self, records: Mapping[bytes, bytes]) -> None:
        """Keep records; a key that is there already stays as it is."""
        if self._environment is None or self._full:
            return
        try:
            with self._environment.begin(write=True) as transaction:
                for key, value in records.items():
                    stored = transaction.get(key)
                    transaction.put(key, _sealed(value), overwrite=_checked(stored) is None)
        except (OSError, self._error):
            self._full = True


_META = struct.Struct("<16xI20xI92xQQ")
"""The first bytes of each of the two pages that describe an LMDB file: magic number, size of a page, last
page, number of the transaction that wrote it."""
_MAGIC = 0xBEEFC0DE


def _damage(file: Path) -> str | None:
    """Why an LMDB file cannot be mapped, or None: pages behind its end would be a SIGBUS."""
    if not file.exists():
        return None
    size = file.stat().st_size
    try:
        with open(file, "rb") as stream:
            first = _META.unpack(stream.read(_META.size))
            page_size = first[1]
            stream.seek(page_size)
            second = _META.unpack(stream.read(_META.size))
    except (OSError, struct.error) as error:
        return None if not size else f"it cannot be read ({type(error).__name__})"
    if {first[0], second[0]} != {_MAGIC}:
        return "it is no LMDB file"
    last_page = max(first, second, key=lambda meta: int(meta[3]))[2]
    if size < (last_page + 1) * page_size:
        return f"{size} bytes where {last_page + 1} pages of {page_size} were written"
    return None


_OFF: ContextVar[bool] = ContextVar("features are computed", default=False)


@contextmanager
def computed() -> Iterator[None]:
    """Compute features without the store, to measure how long it takes."""
    token = _OFF.set(True)
    try:
        yield
    finally:
        _OFF.reset(token)


def store_of(name: str) -> FeatureStore | None:
    """This process's store ``name``; None where the user has turned it off."""
    if os.environ.get(SWITCH) == "0" or _OFF.get():
        return None
    # An open LMDB environment must neither be opened twice nor cross a fork.
    return _open(name, str(cache_root()), os.getpid())


@cache
def _open(name: str, root: str, process: int) -> FeatureStore:
    return FeatureStore(name)


def _sealed(value: bytes) -> bytes:
    return zlib.crc32(value).to_bytes(4, "little") + value


def _checked(record: bytes | None) -> bytes | None:
    if record is None or zlib.crc32(record[4:]).to_bytes(4, "little") != record[:4]:
        return None
    return record[4:]
