"""Whether the pages of an LMDB file fit together, read without mapping it.

LMDB trusts its file: a size or a page number that is not what was written leads it behind the end of the
file, and the system ends the process (SIGBUS). Layout: LMDB 0.9, ``mdb.c``, on a little-endian machine of 64
bits.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

_META = struct.Struct("<16xI20xI36xQ40xQQQ")
"""The first bytes of each of the two pages that describe a file: magic number, size of a page, root of the
tree of free pages, root of the main tree, last page, number of the transaction that wrote it."""
_MAGIC = 0xBEEFC0DE
_HEADER = struct.Struct("<Q2xHHH")
"""Number of the page, flags, and the ends of the two parts that grow towards each other."""
_VALUE = struct.Struct("<Q2xHI")
"""The same of a value with pages of its own, and how many these are."""
_NODE = struct.Struct("<HHHH")
"""Size of the value in two halves, or the number of a page in three with the flags; size of the key."""
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_KINDS = 0x7F
_ELSEWHERE = 1
"""Flag of a node whose value has pages of its own."""
_NO_PAGE = 2**64 - 1
_TRIES = 5


class _Damage(Exception):
    """What is wrong."""


def damage(file: Path) -> str | None:
    """Why a file cannot be mapped, or None; a file that is absent or empty can be.

    Every page of both trees is looked at, and the first page of every large value; no value is read. Another
    process may be writing: pages are read again where it has finished something meanwhile.
    """
    if not file.exists() or not file.stat().st_size:
        return None
    reason: str | None = None
    seen: int | None = None
    for _ in range(_TRIES):
        before, seen = seen, None
        try:
            with open(file, "rb", buffering=0) as stream:
                pages = _Pages.of(stream.fileno())
                seen = pages.transaction
                pages.check()
                return None
        except _Damage as error:
            reason = str(error)
        except OSError as error:
            return f"it cannot be read ({type(error).__name__})"
        if seen == before:
            break
    return reason


@dataclass(frozen=True, slots=True)
class _Pages:
    """An open file, and what the newer of its two descriptions says."""

    descriptor: int
    size: int
    roots: tuple[int, int]
    last: int
    transaction: int

    @classmethod
    def of(cls, descriptor: int) -> _Pages:
        """Read both descriptions."""
        first = cls._described(descriptor, 0)
        size = first[1]
        if size < 512 or size > 1 << 16 or size & (size - 1):
            raise _Damage(f"pages of {size} bytes")
        newer = max(first, cls._described(descriptor, size), key=lambda meta: meta[5])
        _, _, free, main, last, transaction = newer
        if newer[1] != size:
            raise _Damage(f"pages of {size} and of {newer[1]} bytes")
        length = os.fstat(descriptor).st_size
        if length < (last + 1) * size:
            raise _Damage(f"{length} bytes where {last + 1} pages of {size} were written")
        return cls(descriptor, size, (free, main), last, transaction)

    @staticmethod
    def _described(descriptor: int, place: int) -> tuple[int, ...]:
        data = os.pread(descriptor, _META.size, place)
        if len(data) < _META.size:
            raise _Damage(f"{place + len(data)} bytes, fewer than two pages")
        meta = _META.unpack(data)
        if meta[0] != _MAGIC:
            raise _Damage("it is no LMDB file")
        return meta

    def check(self) -> None:
        """Follow both trees; what the tree of free pages names can be written to."""
        taken: set[int] = set()
        for root in self.roots:
            pending = [] if root == _NO_PAGE else [root]
            while pending:
                number = pending.pop()
                if number in taken:
                    raise _Damage(f"page {number} is in two places")
                taken.add(number)
                pending += self._children(number, names_pages=root == self.roots[0])

    def _children(self, number: int, names_pages: bool) -> list[int]:
        """The pages below a page of a tree, whose values may be lists of pages."""
        page = self._read(number, self.size)
        own, flags, lower, upper = _HEADER.unpack_from(page)
        kind = flags & _KINDS
        if (
            own != number
            or kind not in (_BRANCH, _LEAF)
            or not 16 <= lower <= upper <= self.size
            or lower % 2
        ):
            raise _Damage(f"page {number} is no page of a tree")
        children = []
        for place in struct.unpack_from(f"<{(lower - 16) // 2}H", page, 16):
            if not upper <= place <= self.size - _NODE.size:
                raise _Damage(f"page {number} has an entry outside of it")
            low, high, last, key = _NODE.unpack_from(page, place)
            end = place + _NODE.size + key
            if kind == _BRANCH:
                children.append(low | high << 16 | last << 32)
                length = 0
            else:
                length = 8 if last & _ELSEWHERE else low | high << 16
            if end + length > self.size:
                raise _Damage(f"page {number} has an entry that ends outside of it")
            value = page[end : end + length]
            if kind == _LEAF and last & _ELSEWHERE:
                value = self._value(struct.unpack("<Q", value)[0], low | high << 16, names_pages)
            if kind == _LEAF and names_pages:
                self._check_list(number, value)
        return children

    def _check_list(self, number: int, value: bytes) -> None:
        """A list of pages: their number and the numbers of pages of the file."""
        (count,) = struct.unpack_from("<Q", value) if len(value) >= 8 else (_NO_PAGE,)
        if 8 + 8 * count > len(value):
            raise _Damage(f"page {number} has a list of pages that is cut short")
        listed = struct.unpack_from(f"<{count}Q", value, 8)
        if count and not 2 <= min(listed) <= max(listed) <= self.last:
            raise _Damage(f"page {number} lists pages that are not there")

    def _value(self, first: int, length: int, read: bool) -> bytes:
        """A value with pages of its own, where it is read; it lies on so many, and these are in the file."""
        own, flags, pages = _VALUE.unpack(self._read(first, _VALUE.size))
        if own != first or flags & _KINDS != _OVERFLOW or not 0 < pages <= self.last + 1 - first:
            raise _Damage(f"page {first} begins no value")
        if 16 + length > pages * self.size:
            raise _Damage(f"the value on page {first} is longer than its {pages} pages")
        return os.pread(self.descriptor, length, first * self.size + _VALUE.size) if read else b""

    def _read(self, number: int, size: int) -> bytes:
        """The beginning of a page."""
        if not 2 <= number <= self.last:
            raise _Damage(f"page {number} of {self.last + 1}")
        data = os.pread(self.descriptor, size, number * self.size)
        if len(data) < size:
            raise _Damage(f"page {number} is cut short")
        return data
