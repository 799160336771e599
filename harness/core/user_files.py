"""Files that users name: of a limited size, and never a device or a pipe that gives for ever."""

from __future__ import annotations

import errno
import gzip
import os
import stat
from io import BytesIO
from pathlib import Path

MOST_BYTES = 2**28
"""256 MiB: more than the reports of the largest public collection."""


def read_user_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a file or of a pipe.

    Raises:
        OSError: it cannot be read, is a device, or holds more than ``most`` bytes; ``strerror`` says which.
    """
    # A pipe that nothing writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb") as stream:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if (stat.S_ISCHR(kind) or stat.S_ISBLK(kind)) and os.path.realpath(path) != os.devnull:
            raise OSError(errno.EINVAL, "a device, no file", str(path))
        os.set_blocking(descriptor, True)
        content = stream.read(most + 1)
    if len(content) > most:
        raise too_large(path, most)
    return content


def gunzipped(path: Path, data: bytes, most: int = MOST_BYTES) -> bytes:
    """What gzip data hold.

    Raises:
        OSError: more than ``most`` bytes, or as ``gzip`` raises it.
        EOFError, zlib.error: the data are damaged.
    """
    with gzip.GzipFile(fileobj=BytesIO(data)) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise too_large(path, most)
    return content


def too_large(path: Path, most: int) -> OSError:
    """The error of a file above the limit."""
    return OSError(errno.EFBIG, f"more than {most >> 20} MiB", str(path))
