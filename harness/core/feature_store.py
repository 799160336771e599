"""Features of images from frozen networks, kept on disk by content and shared by all processes and runs.

Six methods that look through the same frozen network at the same images, in several modality states and
in the shuffled-image control, would compute the same features dozens of times. A record's key is a digest of
network and pixels, so a changed image or other weights find nothing, and nothing has to be cleared.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

from harness.core.errors import HarnessError
from harness.core.files import cache_root, clear_folder_place, clear_place, private_folder, set_aside
from harness.core.lmdb_pages import damage
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
    are computed. One whose pages do not fit together is set aside and begun anew, for LMDB would read behind
    the end of the file, which ends the process. What the records hold is checked when they are read: to read
    all of them takes seconds.
    """

    def __init__(self, name: str, limit: int = LIMIT) -> None:
        folder = cache_root() / "features" / name
        self._name = name.encode()
        self._environment: lmdb.Environment | None = None
        self._error: type[Exception] = OSError
        self._full = bool(absent("lmdb"))
        self._file, self._warned = folder / "data.mdb", False
        if self._full:
            return
        import lmdb

        self._error = lmdb.Error
        try:
            clear_folder_place(folder)
            private_folder(folder)
            for file in ("data.mdb", "lock.mdb"):  # LMDB would wait for a pipe for ever
                clear_place(folder / file)
            if (reason := damage(folder / "data.mdb")) is not None:
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
                return [self._whole(key, transaction.get(key)) for key in keys]
        except self._error:
            return [None] * len(keys)

    def _whole(self, key: bytes, record: bytes | None) -> bytes | None:
        value = self._checked(key, record)
        if record is not None and value is None and not self._warned:
            # Earlier versions left key and store out of the checksum; their records are computed anew, too.
            self._warned = zlib.crc32(record[4:]).to_bytes(4, "little") != record[:4]
            if self._warned:
                logging.getLogger(__name__).warning("%s: damaged records are computed anew", self._file)
        return value

    def _checked(self, key: bytes, record: bytes | None) -> bytes | None:
        return None if record is None or self._sum(key, record[4:]) != record[:4] else record[4:]

    def _sum(self, key: bytes, value: bytes) -> bytes:
        """Checksum of a record: none is believed under the key of another one, or in another store."""
        return zlib.crc32(value, zlib.crc32(key, zlib.crc32(self._name))).to_bytes(4, "little")

    def write(self, records: Mapping[bytes, bytes]) -> None:
        """Keep records; a key that is there already stays as it is."""
        if self._environment is None or self._full:
            return
        try:
            with self._environment.begin(write=True) as transaction:
                for key, value in records.items():
                    stored = transaction.get(key)
                    whole = self._checked(key, stored) is not None
                    transaction.put(key, self._sum(key, value) + value, overwrite=not whole)
        except (OSError, self._error):
            self._full = True


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
