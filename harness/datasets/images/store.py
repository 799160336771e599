"""Decoded images of one size in one growing file, mapped into memory by every process that reads them.

A store is a folder, readable by the user alone::

    pixels.bin      rows of size * size * channels bytes, one after the other
    index.bin       an entry per row: key of its source, CRC-32 of its pixels, CRC-32 of the entry
    lock            held by the process that appends

Pixels are on disk before their entry is written, and readers look at entries alone: what a killed process or
a full disk left half-written lies behind the last entry, is never read, and the next append replaces it.

Damage heals: a row whose pixels or entry are not what was written, or whose pixels were cut off, counts as
absent, a warning names the file, and the image is decoded once more. When a process opens a store it checks
the size of ``pixels.bin`` and every entry; pixels it checks when it first reads them, for all of them may be
hundreds of gigabytes. A row that is appended for a source that has one already replaces it.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from harness.core import files
from harness.core.locks import file_lock

_ENTRY = np.dtype([("key", "V16"), ("pixels", "<u4"), ("entry", "<u4")])
_SEALED = _ENTRY.itemsize - 4
"""Bytes of an entry that its own checksum covers, after the number of its row."""
_VIEWS = ("_rows", "_sums", "_checked", "_map", "_file", "_warned")
"""The part of a store that one process has read."""


def key_of(digest: str) -> bytes:
    """16 bytes that stand for the digest of an image's source."""
    return blake2b(digest.encode(), digest_size=16).digest()


class ImageStore:
    """Rows of pixels by the digest of what they were decoded from. Processes may read and append at once.

    Attributes:
        folder: where the store lies, made when something is first appended.
        shape: of an image, (size, size, channels).
    """

    _rows: dict[bytes, int]
    _sums: NDArray[np.uint32]
    _checked: NDArray[np.bool_]
    _map: NDArray[np.uint8]
    _file: tuple[int, int] | None
    _warned: set[str]

    def __init__(self, folder: Path, size: int, channels: int) -> None:
        files.clear_folder_place(folder)
        self.folder, self.shape = folder, (size, size, channels)
        self._data, self._index = folder / "pixels.bin", folder / "index.bin"
        for path in (self._data, self._index):
            files.clear_place(path)  # of a pipe, whose writer would wait for a reader
            if path.is_symlink():  # it would be written to what it leads to
                files.set_aside(path, "a link is in its place")
        self._row_bytes = size * size * channels
        self._warned = set()
        self._forget(None)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in _VIEWS}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        self.__dict__.update(state)
        self._warned = set()
        self._forget(None)

    def __contains__(self, digest: str) -> bool:
        key = key_of(digest)
        if key not in self._rows:
            self._refresh()
        return key in self._rows

    def absent(self, digests: Iterable[str]) -> set[str]:
        """Those of the digests that have no row yet."""
        self._refresh()
        return {digest for digest in digests if key_of(digest) not in self._rows}

    def read(self, digest: str) -> NDArray[np.uint8] | None:
        """A read-only view of the pixels (size, size, channels), or None where there is no undamaged row."""
        key = key_of(digest)
        if key not in self._rows:
            self._refresh()
        while (row := self._rows.get(key)) is not None:
            pixels = self._mapped(row)
            if pixels is not None and (self._checked[row] or zlib.crc32(pixels.data) == self._sums[row]):
                self._checked[row] = True
                return pixels
            del self._rows[key]
            self._refresh()  # another process may have replaced the row
            if key not in self._rows:
                self._warn(self._data, f"row {row} is not what was written")
        return None

    def append(self, rows: Mapping[str, NDArray[np.uint8]]) -> None:
        """Keep images by digest; one that another process kept in the meantime stays as it is.

        Raises:
            DiskError: nothing can be written; the store is as it was.
        """
        files.private_folder(self.folder)
        with files.clear_disk_errors(self.folder), self._only_writer():
            self._refresh()
            new = {digest: pixels for digest, pixels in rows.items() if key_of(digest) not in self._rows}
            if new:
                self._write(new, first=len(self._sums))
        self._refresh()

    def _only_writer(self) -> FileLock:
        return file_lock(self.folder / "lock", poll_seconds=0.005)

    def _write(self, new: Mapping[str, NDArray[np.uint8]], first: int) -> None:
        """Pixels, then their entries, from row ``first`` on."""
        entries, contents = np.zeros(len(new), dtype=_ENTRY), []
        for number, (digest, pixels) in enumerate(new.items()):
            if pixels.shape != self.shape or pixels.dtype != np.uint8:
                raise ValueError(f"pixels {pixels.dtype} {pixels.shape}, expected uint8 {self.shape}")
            contents.append(pixels.tobytes())
            entries[number] = (key_of(digest), zlib.crc32(contents[-1]), 0)
        entries["entry"] = _seals(entries, first)
        try:
            _put(self._data, b"".join(contents), first * self._row_bytes)
        except OSError:
            with suppress(OSError):  # a full disk gets its space back
                os.truncate(self._data, first * self._row_bytes)
            raise
        _put(self._index, entries.tobytes(), first * _ENTRY.itemsize)

    def _refresh(self) -> None:
        """Take in the entries that were appended since the last look."""
        size, file = _size_and_file(self._index)
        if size < len(self._sums) * _ENTRY.itemsize or file != self._file:
            self._forget(file)  # the folder was deleted while this process had it open
        rows = len(self._sums)
        if size == rows * _ENTRY.itemsize:
            return
        with open(self._index, "rb") as stream:
            stream.seek(rows * _ENTRY.itemsize)
            data = stream.read()
        entries = np.frombuffer(data, dtype=_ENTRY, count=len(data) // _ENTRY.itemsize)
        good = entries["entry"] == _seals(entries, rows)
        if not good.all():
            self._warn(self._index, f"entry {rows + int(np.argmin(good))} is not what was written")
        count = (
            len(good) - int(np.argmax(good[::-1])) if good.any() else 0
        )  # the next append replaces the rest
        size, _ = _size_and_file(self._data)  # pixels are there before their entries
        if size < (rows + count) * self._row_bytes:
            self._warn(self._data, f"{size} bytes where {rows + count} rows were written")
            count = max(0, size // self._row_bytes - rows)
        for row, key in enumerate(entries["key"][:count], rows):
            if good[row - rows]:
                self._rows[key.tobytes()] = row
        self._sums = np.concatenate([self._sums, entries["pixels"][:count]])
        self._checked = np.concatenate([self._checked, np.zeros(count, dtype=bool)])

    def _mapped(self, row: int) -> NDArray[np.uint8] | None:
        """A view of one row; the file is mapped anew where it has grown since. None where it was cut off."""
        if row >= len(self._map):
            rows = min(len(self._sums), _size_and_file(self._data)[0] // self._row_bytes)
            if row >= rows:
                return None
            mapped = np.memmap(self._data, dtype=np.uint8, mode="r", shape=(rows, *self.shape))
            self._map = np.asarray(mapped)
        return self._map[row]

    def _warn(self, path: Path, what: str) -> None:
        """Say once that something is damaged."""
        if what not in self._warned:
            self._warned.add(what)
            logging.getLogger(__name__).warning("%s: damaged: %s; it is made anew", path, what)

    def _forget(self, file: tuple[int, int] | None) -> None:
        """Begin anew with an index; its device and number say whether it is still the same file."""
        self._file = file
        self._rows = {}
        self._sums = np.zeros(0, dtype=np.uint32)
        self._checked = np.zeros(0, dtype=bool)
        self._map = np.zeros((0, *self.shape), dtype=np.uint8)


def _seals(entries: NDArray[np.void], first: int) -> NDArray[np.uint32]:
    """Checksums of entries; the row's number is part of them, so that none can stand in another's place."""
    data = entries.tobytes()
    sums = [
        zlib.crc32(data[at : at + _SEALED], first + number)
        for number, at in enumerate(range(0, len(data), _ENTRY.itemsize))
    ]
    return np.array(sums, dtype=np.uint32)


def _put(path: Path, data: bytes, start: int) -> None:
    """Write at an offset and flush to disk; what an append that was cut short left behind it goes first."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(descriptor, start)
        done, rest = 0, memoryview(data)
        while done < len(data):
            done += os.pwrite(descriptor, rest[done:], start + done)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size_and_file(path: Path) -> tuple[int, tuple[int, int] | None]:
    """Bytes of a file, with its device and number; (0, None) where there is none."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return 0, None
    return state.st_size, (state.st_dev, state.st_ino)
