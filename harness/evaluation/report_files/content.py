"""The bytes of a file, and the characters that they stand for."""

from __future__ import annotations

import errno
import zlib
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.user_files import MOST_REPORT_BYTES, gunzipped, read_user_file

_BINARY = {
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "save the sheet as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel or Word file", "save the sheet as CSV"),
    b"%PDF": ("a PDF file", "write the reports as JSON or CSV"),
    b"\x93NUMPY": ("a NumPy array", "write the reports as JSON or CSV"),
    b"\x89HDF": ("an HDF5 file", "write the reports as JSON or CSV"),
    b"SQLite format 3": ("an SQLite database", "write the reports as JSON or CSV"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "decompress it; gzip alone is read as it is"),
    b"BZh": ("compressed with bzip2", "decompress it; gzip alone is read as it is"),
    b"\xfd7zXZ": ("compressed with xz", "decompress it; gzip alone is read as it is"),
    **{
        bytes([0x80, protocol]): ("a Python pickle", "write the reports as JSON or CSV")
        for protocol in range(2, 6)
    },
}
"""How files begin that hold no text, what they are, and what to do."""

_ENCODINGS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
"""Byte order marks of encodings other than UTF-8; the longer ones first."""


def read_bytes(path: Path) -> bytes:
    """The content of a file, decompressed where it is gzip.

    Raises:
        HarnessError: it cannot be read, or its gzip data are damaged.
    """
    try:
        data = read_user_file(path, MOST_REPORT_BYTES)
    except OSError as error:
        reason = error.strerror or str(error)
        raise HarnessError(f"{path}: {reason[:1].lower()}{reason[1:]}") from error
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gunzipped(path, data)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise HarnessError(f"{path}: decompressed {error.strerror}") from error
        raise HarnessError(f"{path}: damaged gzip data", "write the file again") from error
    except (EOFError, zlib.error) as error:
        raise HarnessError(f"{path}: damaged gzip data", "write the file again") from error


def decoded(path: Path, data: bytes) -> str:
    """``data`` as text: UTF-8, or UTF-16 and UTF-32 with a byte order mark.

    Raises:
        HarnessError: the data are no text, have another encoding, or hold a NUL character.
    """
    for start, (what, advice) in _BINARY.items():
        if data.startswith(start):
            raise HarnessError(f"{path}: looks like {what}", advice)
    encoding = next((name for mark, name in _ENCODINGS if data.startswith(mark)), "utf-8-sig")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        if encoding != "utf-8-sig":
            raise HarnessError(f"{path}: damaged {encoding.upper()}", "save the file as UTF-8") from error
        raise HarnessError(
            f"{path}: line {line} is not UTF-8",
            "save the file as UTF-8; of Latin-1 or Windows text: iconv -f WINDOWS-1252 -t UTF-8",
        ) from error
    text = text.lstrip("\ufeff")
    if "\0" in text:
        if text.count("\0") > 0.3 * len(text):
            raise HarnessError(
                f"{path}: looks like UTF-16 without a byte order mark", "save the file as UTF-8"
            )
        line = text.count("\n", 0, text.index("\0")) + 1
        raise HarnessError(f"{path}: line {line} contains a NUL byte", "remove it")
    return text
