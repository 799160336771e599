"""Pixels of image files: decoded and resized once, kept in a store on disk, read lazily or all at once."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import files
from harness.core.errors import HarnessError
from harness.core.types import Study
from harness.datasets.images import decode
from harness.datasets.images.convert import eight_bits, resized
from harness.datasets.images.decode import KEPT_VERSION, Decoder
from harness.datasets.images.store import ImageStore

DEFAULT_IMAGE_SIZE = 224
SMALLEST_IMAGE, LARGEST_IMAGE = 32, 1024

WHOLE_BYTES, SAMPLE_BYTES = 1 << 16, 1 << 12
"""A sampled digest reads files up to the first size whole, and three samples of the second of others."""

_KEEP_EVERY = 60.0
"""Seconds between two writes of the digests while more are being computed."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """Where the pixels of one view come from.

    Attributes:
        path: the file.
        where: the row that names it, for messages, e.g. ``meta/meta.csv, line 17``.
        digest: hex name of the content; equal pixels have equal digests. The file's SHA-256 unless ``decode``
            is given.
        decode: the file to an image, where the file is more than an image; picklable.
    """

    path: Path
    where: str
    digest: str
    decode: Decoder | None = None


class PixelCache:
    """Decoded and resized images of a dataset, each made when it is first read.

    Attributes:
        store: where they are kept, one for each size, number of channels and version of the decoder.
    """

    def __init__(self, dataset: str, size: int, channels: int) -> None:
        self.size, self.channels = size, channels
        folder = files.cache_root() / dataset / f"pixels-{KEPT_VERSION}-{size}px-{channels}"
        self.store = ImageStore(folder, size, channels)

    def read(self, source: ImageFile) -> NDArray[np.uint8]:
        """Pixels (size, size, channels), read-only; the aspect ratio is not kept.

        Raises:
            HarnessError: the file is no readable image, or has changed; names it and its row.
        """
        pixels = self.store.read(source.digest)
        if pixels is None:
            pixels = decoded(source, self.size, self.channels)
            self.store.append({source.digest: pixels})
            pixels.flags.writeable = False  # as it is when read from the store
        return pixels


def decoded(source: ImageFile, size: int, channels: int) -> NDArray[np.uint8]:
    """Pixels (size, size, channels) from the file itself.

    Raises:
        HarnessError: the file is no readable image, or not the one that its digest names.
    """
    try:
        if source.decode is not None:
            image = eight_bits(source.decode(source.path))
        else:
            data = decode.read_bytes(source.path)
            if hashlib.sha256(data).hexdigest() != source.digest:
                raise HarnessError(
                    f"{source.where}: {source.path} has changed since the dataset was opened", "run again"
                )
            image, _ = decode.decoded(data, source.path.suffix)
        return resized(image, size, channels)
    except HarnessError:
        raise
    except Exception as error:
        raise decode.unreadable(source.path, error, source.where) from error


class LazyImages(Mapping[str, NDArray[np.uint8]]):
    """View name -> pixels (H, W, C), read at access; which views there are is known without reading."""

    def __init__(self, sources: Mapping[str, ImageFile], cache: PixelCache) -> None:
        self.sources, self.cache = sources, cache

    def __getitem__(self, view: str) -> NDArray[np.uint8]:
        return self.cache.read(self.sources[view])

    def __contains__(self, view: object) -> bool:
        return view in self.sources

    def __iter__(self) -> Iterator[str]:
        return iter(self.sources)

    def __len__(self) -> int:
        return len(self.sources)


def absent(studies: Iterable[Study], views: Collection[str]) -> list[tuple[PixelCache, list[ImageFile]]]:
    """Images of studies that no store has yet, each once, by their cache.

    Args:
        views: image modalities that will be read.
    """
    caches: dict[int, tuple[PixelCache, dict[str, ImageFile]]] = {}
    for study in studies:
        if isinstance(study.images, LazyImages):
            _, sources = caches.setdefault(id(study.images.cache), (study.images.cache, {}))
            for view, source in study.images.sources.items():
                if view in views:
                    sources.setdefault(source.digest, source)
    by_cache = []
    for cache, sources in caches.values():
        missing = cache.store.absent(sources)
        if missing:
            by_cache.append((cache, [source for digest, source in sources.items() if digest in missing]))
    return by_cache


class Digests:
    """SHA-256 of files' contents, computed again only where size, a time of change or the place are others.

    A copy may keep the modification time of its source; the time of the last change in the file system
    cannot be set, but may be equal for files of one moment. Another file has another number (inode).

    Args:
        dataset: whose digests these are.
        sampled: digest a large file by its size and samples (see ``sampled_digest``).
    """

    def __init__(self, dataset: str, *, sampled: bool = False) -> None:
        folder = files.private_folder(files.cache_root() / dataset)
        self._path = folder / ("samples.json" if sampled else "digests.json")
        self._digest = sampled_digest if sampled else files.digest_of
        self._known = files.unless_damaged(self._path, self._stored) or {}
        self._changed, self._kept = False, time.monotonic()

    def of(self, path: Path) -> str:
        """Hex digest of a file."""
        stat = path.stat()
        key = str(path.absolute())
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        if self._known.get(key, [])[:-1] != state:
            self._known[key] = [*state, self._digest(path)]
            self._changed = True
            if time.monotonic() - self._kept > _KEEP_EVERY:
                self.keep()
        return str(self._known[key][-1])

    def _stored(self) -> dict[str, list[Any]]:
        return files.read_checked_json(self._path, names=2) if self._path.exists() else {}

    def keep(self) -> None:
        """Write what was computed; happens now and then by itself, so that a killed run loses little."""
        if self._changed:
            files.write_checked_json(self._path, self._known, names=2)
            self._changed, self._kept = False, time.monotonic()


def sampled_digest(path: Path) -> str:
    """SHA-256 of a file's size and content as hex; of a large file, of its size and three samples.

    The samples are at the start, in the middle and at the end. A copy on another disk has the same digest.
    """
    with open(path, "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        digest = hashlib.sha256(f"{size}\0".encode())
        if size <= WHOLE_BYTES:
            digest.update(stream.read())
            return digest.hexdigest()
        for start in (0, (size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES):
            stream.seek(start)
            digest.update(stream.read(SAMPLE_BYTES))
    return digest.hexdigest()
