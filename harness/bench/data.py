"""What images of files cost: filling the image store, and epochs from it against decoding every time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader

from harness.bench.rows import Row, measured
from harness.core.errors import HarnessError
from harness.core.hardware import cores
from harness.core.types import DatasetInfo, Inputs, Study, Task
from harness.datasets.images.filling import fill
from harness.datasets.images.pixels import ImageFile, LazyImages, PixelCache
from harness.datasets.images.store import ImageStore
from harness.method.batching import collate

SUFFIXES = ("jpg", "png")
_VIEW, _SIZE, _BATCH = "frontal", 224, 64
_SECONDS = 1.0
"""Least time that epochs from the store are repeated for: one is over too soon to be timed."""
FEWEST, SMALLEST, LARGEST = 2, 32, 4096


class _Decoded(Mapping[str, NDArray[np.uint8]]):
    """The peer: the file is opened, decoded and resized by Pillow at every access to its image."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, view: str) -> NDArray[np.uint8]:
        with Image.open(self.path) as image:
            small = image.convert("L").resize((_SIZE, _SIZE), Image.Resampling.BICUBIC)
        return np.asarray(small, dtype=np.uint8)[:, :, None]

    def __contains__(self, view: object) -> bool:
        return view == _VIEW  # the default would decode the image to find out

    def __iter__(self) -> Iterator[str]:
        return iter((_VIEW,))

    def __len__(self) -> int:
        return 1


def check(images: int, size: int) -> None:
    """Find what is wrong with the flags before anything is measured.

    Raises:
        HarnessError: a number out of range.
    """
    if images < FEWEST or not SMALLEST <= size <= LARGEST:
        raise HarnessError(
            f"--images {images} --size {size}: out of range",
            f"at least {FEWEST} images of {SMALLEST} to {LARGEST} px",
        )


def data_benchmark(suffix: str, images: int = 128, size: int = 1024) -> list[Row]:
    """Rates of filling and of loading at 224 px, each beside Pillow in this run.

    Args:
        suffix: format of the files, one of ``SUFFIXES``.
        images: how many of them are generated into a temporary folder.
        size: their height and width in pixels.
    """
    info = DatasetInfo("bench", frozenset({Task.REPORT}), (_VIEW,), has_context=False, image_size=_SIZE)
    with TemporaryDirectory() as folder:
        sources = _files(Path(folder), suffix, images, size)
        cache = PixelCache("bench", _SIZE, 1)
        cache.store = ImageStore(Path(folder) / "store", _SIZE, 1)
        started = time.perf_counter()
        for _ in fill(cache.store, sources):
            pass
        building = images / (time.perf_counter() - started)
        one_by_one = _alone(sources)
        ours = [_study(source, LazyImages({_VIEW: source}, cache)) for source in sources]
        theirs = [_study(source, _Decoded(source.path)) for source in sources]
        _check(ours, theirs, info)
        loading, decoding = _loading(ours, info), _decoding(theirs, info)
    kind = f"{images} {suffix.upper()} files of {size} px, {_SIZE} px wanted"
    return [
        measured(
            "data",
            f"filling the store: {kind}",
            building,
            unit="images/s",
            peer=one_by_one,
            of="Pillow in one process, nothing kept",
        ),
        measured(
            "data",
            f"epoch 2 as float tensors, batches of {_BATCH}: {kind}",
            loading,
            unit="images/s",
            peer=decoding,
            of=f"Pillow at every access in {cores()} worker processes; ours is one process",
        ),
    ]


def _files(folder: Path, suffix: str, images: int, size: int) -> list[ImageFile]:
    """Grey files as smooth and as grainy as radiographs, no two alike."""
    rng = np.random.default_rng(0)
    grain = 3.0 * rng.standard_normal((size, size), dtype=np.float32)
    sources = []
    for number in range(images):
        coarse = Image.fromarray(rng.integers(20, 236, (24, 24), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)
        grainy = smooth + np.roll(grain, 37 * number)
        path = folder / f"{number}.{suffix}"
        Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8)).save(path, quality=95)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        sources.append(ImageFile(path, f"file {number}", digest))
    return sources


def _study(source: ImageFile, images: Mapping[str, NDArray[np.uint8]]) -> Study:
    return Study(source.where, source.where, "train", images)


def _alone(sources: Sequence[ImageFile]) -> float:
    """Images per second that one process decodes and resizes."""
    started = time.perf_counter()
    for source in sources:
        _Decoded(source.path)[_VIEW]
    return len(sources) / (time.perf_counter() - started)


def _check(ours: Sequence[Study], theirs: Sequence[Study], info: DatasetInfo) -> None:
    """A ratio between two things that differ means nothing."""
    for mine, other in zip(ours[:_BATCH], theirs[:_BATCH], strict=True):
        if not torch.equal(collate([mine], info).images[_VIEW], collate([other], info).images[_VIEW]):
            raise AssertionError(f"{mine.id}: the two loaders give other pixels")


def _loading(studies: Sequence[Study], info: DatasetInfo) -> float:
    """Images per second from the store, in the process that trains, from the second epoch on."""
    loader = _loader(studies, info)
    _exhaust(loader)
    epochs, started = 0, time.perf_counter()
    while time.perf_counter() - started < _SECONDS:
        _exhaust(loader)
        epochs += 1
    return epochs * len(studies) / (time.perf_counter() - started)


def _decoding(studies: Sequence[Study], info: DatasetInfo) -> float:
    """Images per second with Pillow in worker processes, in the second epoch: they run by then."""
    loader = _loader(studies, info, num_workers=cores(), persistent_workers=True)
    _exhaust(loader)
    started = time.perf_counter()
    _exhaust(loader)
    return len(studies) / (time.perf_counter() - started)


def _loader(studies: Sequence[Study], info: DatasetInfo, **options: Any) -> DataLoader[Inputs]:
    collating = partial(collate, info=info)
    return DataLoader(studies, _BATCH, shuffle=True, collate_fn=collating, **options)  # type: ignore[arg-type]


def _exhaust(loader: DataLoader[Inputs]) -> None:
    for _ in loader:
        pass
