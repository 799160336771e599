"""What stands in a file: its texts and its lists of numbers, whatever the file is packed in."""

from __future__ import annotations

import ast
import base64
import binascii
import bz2
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 1 << 29
"""Bytes of a file, and of what it unpacks to, that are looked at."""
_DEPTH = 4
"""Packings in one another that are opened."""
_RUN = 40
"""Letters in a row, from which bytes of a file that is no text are a text."""
_LEAST = 20
"""Numbers of a list that is looked at."""

_PACKED: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ", lzma.LZMADecompressor),
    (b"x\x01", zlib.decompressobj),
    (b"x\x9c", zlib.decompressobj),
    (b"x\xda", zlib.decompressobj),
)
"""How packed bytes begin, and what unpacks them piece by piece."""
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{120,}={0,2}")
_PRINTABLE = np.zeros(256, dtype=bool)
_PRINTABLE[[9, 10, 13, *range(32, 127)]] = True
_TYPES = {
    f"{kind}{8 * size}": f"<{letter}{size}"
    for kind, letter in (("I", "i"), ("U", "u"), ("F", "f"))
    for size in (1, 2, 4, 8)
    if kind != "F" or size > 1
}
"""Names of types in safetensors files, and NumPy's."""
_ERRORS = (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


@dataclass(slots=True)
class Contents:
    """Texts and lists of whole numbers of a file.

    Attributes:
        texts: of the file and of what is packed in it.
        numbers: of its tables and tensors, and of lists in JSON and Python.
    """

    texts: list[str] = field(default_factory=list)
    numbers: list[NDArray[np.int64]] = field(default_factory=list)
    budget: int = MOST

    @classmethod
    def of(cls, path: Path) -> Contents:
        """Those of a file; of a file that cannot be read none."""
        contents = cls()
        with suppress(OSError), open(path, "rb") as stream:
            contents.add(stream.read(MOST), path.suffix)
        return contents

    def add(self, data: bytes, suffix: str = "", depth: int = 0) -> None:
        """Add what stands in some bytes."""
        self.budget -= len(data)
        if depth > _DEPTH or self.budget < 0:
            return
        for magic, unpack in _PACKED:
            if data.startswith(magic) and self.budget:
                with suppress(*_ERRORS):
                    self.add(unpack().decompress(data, self.budget), "", depth + 1)
                    return
        if data.startswith(b"PK\x03\x04"):
            with suppress(*_ERRORS):
                self._add_members(data, depth)
                return
        if data.startswith(b"\x93NUMPY"):
            with suppress(*_ERRORS):
                self._add_array(np.load(io.BytesIO(data), allow_pickle=False))
                return
        if suffix == ".safetensors":
            with suppress(*_ERRORS):
                self._add_tensors(data)
        self._add_text(data, suffix, depth)

    def _add_members(self, data: bytes, depth: int) -> None:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                if member.file_size <= self.budget:
                    content = archive.read(member)
                    self.add(content, Path(member.filename).suffix, depth + 1)
                    if len(content) % 8 == 0:  # a tensor of torch's archives
                        self._add_array(np.frombuffer(content, "<i8"))

    def _add_tensors(self, data: bytes) -> None:
        """The tensors of a safetensors file, without the library: its header says where each begins."""
        size = int.from_bytes(data[:8], "little")
        for name, each in json.loads(data[8 : 8 + size]).items():
            if name != "__metadata__":
                start, stop = each["data_offsets"]
                content = data[8 + size + start : 8 + size + stop]
                if each["dtype"] == "BF16":
                    halves = np.frombuffer(content, "<u2").astype(np.uint32) << 16
                    self._add_array(halves.view(np.float32))
                elif each["dtype"] in _TYPES:
                    self._add_array(np.frombuffer(content, _TYPES[each["dtype"]]))

    def _add_array(self, array: NDArray[Any]) -> None:
        flat = array.ravel()
        if flat.dtype.kind in "US":
            self.texts.append("\n".join(map(str, flat.astype(str))))
        elif len(flat) >= _LEAST and flat.dtype.kind in "iuf" and _are_whole(flat) and np.ptp(flat):
            numbers = flat.astype(np.int64)
            self.numbers.append(numbers)
            if ((numbers == 0) | ((numbers >= 9) & (numbers < 0x110000))).all():
                self.texts.append("".join(map(chr, numbers[: MOST >> 6])))

    def _add_text(self, data: bytes, suffix: str, depth: int) -> None:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            for view in (data, data.replace(b"\0", b"")) if data.count(0) > len(data) // 3 else (data,):
                self.texts += _runs(view)
            return
        if text.count("\0") > len(text) // 3:
            text = text.replace("\0", "")
        self.texts.append(text)
        with suppress(ValueError, RecursionError):
            if suffix in (".json", ".jsonl", ".txt", "") and text[:1] in "[{":
                self._add_value(json.loads(text))
        with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            if suffix == ".py":
                self._add_constants(ast.parse(text), depth)
        if depth < _DEPTH:
            for match in _BASE64.finditer(text):
                with suppress(binascii.Error, ValueError):
                    packed = "".join(match[0].split()).rstrip("=")
                    self.add(base64.b64decode(packed[: len(packed) // 4 * 4]), "", depth + 1)

    def _add_constants(self, tree: ast.AST, depth: int) -> None:
        """Python's strings as they are when the code runs, packed ones, and lists of numbers."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                if isinstance(node.value, bytes):
                    self.add(node.value, "", depth + 1)
                elif len(node.value) >= _RUN:
                    self.add(node.value.encode("utf-8", "replace"), "", depth + 1)
            elif isinstance(node, ast.List | ast.Tuple) and len(node.elts) >= _LEAST:
                with suppress(ValueError):
                    self._add_value(ast.literal_eval(node))

    def _add_value(self, value: Any) -> None:
        """Lists of whole numbers in JSON: each by itself, and short ones of one list together."""
        if isinstance(value, dict):
            for each in value.values():
                self._add_value(each)
        elif isinstance(value, list | tuple):
            if value and all(isinstance(each, int) and abs(each) < 2**62 for each in value):
                if len(value) >= _LEAST:
                    self.numbers.append(np.array(value, dtype=np.int64))
            else:
                for each in value:
                    if isinstance(each, dict | list | tuple):
                        self._add_value(each)


def _are_whole(flat: NDArray[Any]) -> bool:
    if flat.dtype.kind in "iu":
        return bool(flat.dtype.itemsize < 8 or (np.abs(flat.astype(np.float64)) < 2**62).all())
    for part in (flat[:4096], flat):
        if not np.isfinite(part).all() or (part != np.floor(part)).any():
            return False
    return bool((np.abs(flat.astype(np.float64)) < 2**53).all())


def _runs(data: bytes) -> Iterator[str]:
    """Stretches of at least ``_RUN`` ASCII letters in other bytes."""
    size = 1 << 24
    for start in range(0, len(data), size):
        block = np.frombuffer(data[start : start + size], dtype=np.uint8)
        edges = np.flatnonzero(np.diff(_PRINTABLE[block], prepend=False, append=False))
        begins, ends = edges[::2], edges[1::2]
        for at in np.flatnonzero(ends - begins >= _RUN):
            yield block[begins[at] : ends[at]].tobytes().decode("ascii")
