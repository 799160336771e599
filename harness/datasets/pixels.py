"""Pixels of image files: decoded and resized once, kept on disk, read lazily."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness import files
from harness.errors import CorruptFileError, HarnessError

DEFAULT_IMAGE_SIZE = 224
SMALLEST_IMAGE, LARGEST_IMAGE = 32, 1024

DECODER_VERSION = 1
"""Bumped whenever decoding or resizing gives other pixels; part of cache paths and fingerprints."""

Decoder = Callable[[Path], Image.Image]


def open_image(path: Path) -> Image.Image:
    """The picture in an image file, as it is stored."""
    image = Image.open(path)
    image.load()
    return image


@dataclass(frozen=True, slots=True)
class ImageFile:
    """Where the pixels of one view come from.

    Attributes:
        path: the file.
        where: the row that names it, for messages, e.g. ``meta/meta.csv, line 17``.
        digest: hex name of the content; equal pixels have equal digests.
        decode: the file to a picture.
    """

    path: Path
    where: str
    digest: str
    decode: Decoder = open_image


class PixelCache:
    """Decoded and resized images on disk, one file each, readable by the user alone.

    A file is named by the digest of what it was decoded from and is checked by its CRC-32 when it is read.
    """

    def __init__(self, dataset: str, size: int, channels: int) -> None:
        self.dataset, self.size, self.channels = dataset, size, channels

    def read(self, source: ImageFile) -> NDArray[np.uint8]:
        """Pixels (size, size, channels); the aspect ratio is not kept.

        Raises:
            HarnessError: the file is no readable image; names it and its row.
            CorruptFileError: the cached file is not what was written.
        """
        folder = (self.dataset, f"pixels-{DECODER_VERSION}-{self.size}px-{self.channels}", source.digest[:2])
        path = files.cache_root().joinpath(*folder) / f"{source.digest}.npz"
        if path.exists():
            return self._stored(path)
        pixels = self._decode(source)
        private_folder(*folder)
        files.write_atomic(path, lambda stream: np.savez(stream, pixels=pixels))
        return pixels

    def _stored(self, path: Path) -> NDArray[np.uint8]:
        try:
            with np.load(path) as content:
                pixels: NDArray[np.uint8] = content["pixels"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise CorruptFileError(f"{path}: damaged: {error}", "delete it and run again") from error
        return pixels

    def _decode(self, source: ImageFile) -> NDArray[np.uint8]:
        try:
            colour = source.decode(source.path).convert("RGB" if self.channels == 3 else "L")
        except (OSError, ValueError, SyntaxError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise _unreadable(source, error) from error
        except Image.DecompressionBombError as error:
            raise _unreadable(source, error) from error
        resized = colour.resize((self.size, self.size), Image.Resampling.BICUBIC)
        return np.asarray(resized, dtype=np.uint8).reshape(self.size, self.size, self.channels)


class LazyImages(Mapping[str, NDArray[np.uint8]]):
    """View name -> pixels (H, W, C), read at access; which views there are is known without reading."""

    def __init__(self, sources: Mapping[str, ImageFile], cache: PixelCache) -> None:
        self._sources, self._cache = sources, cache

    def __getitem__(self, view: str) -> NDArray[np.uint8]:
        return self._cache.read(self._sources[view])

    def __contains__(self, view: object) -> bool:
        return view in self._sources

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


class Digests:
    """SHA-256 of files' contents, computed again only where size or modification time have changed."""

    def __init__(self, dataset: str) -> None:
        self._path = private_folder(dataset) / "digests.json"
        self._known: dict[str, list[Any]] = files.read_json(self._path) if self._path.exists() else {}
        self._changed = False

    def of(self, path: Path) -> str:
        """Hex digest of a file."""
        stat = path.stat()
        key, state = str(path.absolute()), [stat.st_size, stat.st_mtime_ns]
        if self._known.get(key, [])[:2] != state:
            self._known[key] = [*state, files.digest_of(path)]
            self._changed = True
        return str(self._known[key][2])

    def keep(self) -> None:
        """Write what was computed."""
        if self._changed:
            files.write_json(self._path, self._known)


def private_folder(*parts: str) -> Path:
    """A folder below the cache that the user alone can read."""
    folder = files.cache_root()
    with files.clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for part in parts:
            folder = folder / part
            if not folder.exists():
                folder.mkdir(exist_ok=True, mode=0o700)
    return folder


def _unreadable(source: ImageFile, error: Exception) -> HarnessError:
    return HarnessError(f"{source.where}: {source.path} is not a readable image: {error}")
