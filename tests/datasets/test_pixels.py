"""Pixels of a dataset of files: changes are noticed, sizes kept apart, a run decodes what it needs first."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.core import files
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.datasets.derm7pt import Derm7pt
from harness.datasets.images import pixels
from harness.datasets.images.pixels import Digests, LazyImages, PixelCache, sampled_digest
from harness.evaluation.benchmark import open_benchmark, prepare_images
from harness.evaluation.run import run_serially
from harness.store.store import Store
from tests.helpers import trees
from tests.helpers.images import jpeg, source_of
from tests.helpers.toys import Quiet


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Loud(Quiet):
    """Remembers what a run said of itself."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def phase(self, label: str, phase: str) -> Callable[[float, str], None]:
        self.said.append((label, phase))
        return lambda fraction, status: self.said.append((label, status))

    def done(self, label: str, summary: str) -> None:
        self.said.append((label, summary))


def config(root: Path, store: Path, *methods: str) -> RunSettings:
    return RunSettings.of(
        methods=methods,
        dataset="derm7pt",
        root=root,
        metrics=("diagnosis",),
        store=store,
        set={"derm7pt": {"image_size": 32}},
    )


def test_images_of_an_earlier_decoder_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    values[3, 3] = 65535
    Image.fromarray(values).save(tmp_path / "a.png")
    source = source_of(tmp_path / "a.png")
    monkeypatch.setattr(pixels, "KEPT_VERSION", 2)
    black = PixelCache("mine", 64, 1)
    black.store.append({source.digest: np.zeros((64, 64, 1), np.uint8)})
    monkeypatch.undo()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    assert black.store.folder.parent == PixelCache("mine", 64, 1).store.folder.parent
    assert PixelCache("mine", 64, 1).read(source).mean() == pytest.approx(127.5, abs=1)


def test_sizes_and_channels_do_not_mix(tmp_path: Path) -> None:
    source = source_of(jpeg(tmp_path / "a.jpg"))
    caches = [PixelCache("mine", size, channels) for size in (32, 48) for channels in (1, 3)]
    for each in caches:
        shape = (each.size, each.size, each.channels)
        assert each.read(source).shape == each.read(source).shape == shape
        assert np.array_equal(each.read(source), pixels.decoded(source, each.size, each.channels))
    assert len({each.store.folder for each in caches}) == 4


def test_a_changed_file_is_decoded_anew(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "a.jpg", 1)
    cache = PixelCache("mine", 32, 3)
    before = cache.read(source_of(path))
    jpeg(path, 2)
    after = cache.read(source_of(path))
    assert not np.array_equal(before, after)
    assert np.array_equal(after, pixels.decoded(source_of(path), 32, 3))


def test_a_file_that_changes_under_an_open_dataset_is_not_kept(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "a.jpg", 1)
    source, cache = source_of(path), PixelCache("mine", 32, 3)
    jpeg(path, 2)
    with pytest.raises(HarnessError, match=r"line 2: .*a\.jpg has changed since the dataset was opened"):
        cache.read(source)
    assert source.digest not in cache.store


def test_digests_are_computed_again_only_of_what_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [jpeg(tmp_path / f"{n}.jpg", n) for n in range(3)]
    first = Digests("mine")
    digests_of_files = [first.of(path) for path in paths]
    first.keep()
    jpeg(paths[1], 99)
    os.utime(paths[1], ns=(1, 1))
    computed: list[Path] = []
    original = files.digest_of
    monkeypatch.setattr(files, "digest_of", lambda path: computed.append(path) or original(path))
    again = Digests("mine")
    same = [again.of(path) == digest for path, digest in zip(paths, digests_of_files, strict=True)]
    assert same == [True, False, True]
    assert computed == [paths[1]]


def test_a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_another(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "a.jpg")
    first = Digests("mine")
    digest, before = first.of(path), path.stat()
    first.keep()
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Digests("mine").of(path) != digest


def test_files_of_one_moment_that_change_places_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folders that are renamed leave sizes and times of the files in them as they were."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / "x.png").write_bytes(bytes([number]) * 9)
    real = Path.stat

    def at_one_moment(path: Path, **how: Any) -> os.stat_result:
        state = real(path, **how)
        return os.stat_result((*state[:7], 7, 7, 7), {"st_mtime_ns": 7, "st_ctime_ns": 7})

    monkeypatch.setattr(Path, "stat", at_one_moment)
    first = Digests("mine")
    digest = first.of(folders[0] / "x.png")
    folders[0].rename(tmp_path / "c")
    folders[1].rename(folders[0])
    assert first.of(folders[0] / "x.png") != digest


@pytest.mark.parametrize("damage", ["cut short", "a flipped digit", "empty", "a folder"])
def test_damaged_digests_are_set_aside_and_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = jpeg(tmp_path / "a.jpg")
    first = Digests("mine")
    digest = first.of(path)
    first.keep()
    file = files.cache_root() / "mine" / "digests.json"
    text = file.read_text()
    flipped = text.replace(digest, digest[:-1] + ("0" if digest[-1] != "0" else "1"))
    content = {"cut short": text[: len(text) // 2], "a flipped digit": flipped}
    file.unlink()
    file.mkdir() if damage == "a folder" else file.write_text(content.get(damage, ""))
    assert Digests("mine").of(path) == digest
    assert f"{file}: damaged, set aside as digests.json.damaged" in caplog.text
    caplog.clear()
    assert Digests("mine").of(path) == digest
    assert not caplog.text


@pytest.mark.parametrize("size", [100, 300_000])
def test_a_sampled_digest_is_of_size_and_content_and_not_of_place_and_time(tmp_path: Path, size: int) -> None:
    content = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    path, copy = tmp_path / "a.jpg", tmp_path / "copy.jpg"
    content.tofile(path)
    content.tofile(copy)
    os.utime(copy, ns=(1, 1))
    digest = sampled_digest(path)
    assert sampled_digest(copy) == digest
    for place in (0, size // 2, size - 1):
        changed = content.copy()
        changed[place] ^= 1
        changed.tofile(copy)
        assert sampled_digest(copy) != digest
    np.append(content, 0).tofile(copy)
    assert sampled_digest(copy) != digest


def test_digests_survive_a_run_that_is_killed_midway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "_KEEP_EVERY", -1.0)
    path = jpeg(tmp_path / "a.jpg")
    Digests("mine").of(path)
    monkeypatch.setattr(files, "digest_of", lambda path: pytest.fail("computed again"))
    Digests("mine").of(path)


def test_a_run_decodes_what_its_methods_read_before_it_starts(tmp_path: Path) -> None:
    root = trees.derm7pt(tmp_path / "release_v0")
    blind, seeing, again = Loud(), Loud(), Loud()
    run_serially(config(root, tmp_path / "store", "template"), blind)
    assert "images" not in dict(blind.said)
    benchmark = open_benchmark(config(root, tmp_path / "store", "retrieval"))
    prepare_images(benchmark, seeing)
    assert seeing.said[:2] == [("images", "decode once"), ("images", "23 of 23")]
    assert "23 decoded and kept in" in seeing.said[-1][1]
    prepare_images(benchmark, again)
    assert again.said == []


def test_only_views_that_are_read_are_decoded(tmp_path: Path) -> None:
    studies = Derm7pt.open(trees.derm7pt(tmp_path / "release_v0")).studies("test")
    ((_, sources),) = pixels.absent(studies, {"clinical"})
    assert [source.path.name for source in sources] == ["NEL010.JPG", "NEL011.JPG"]
    assert isinstance(studies[0].images, LazyImages)


def test_an_unreadable_image_stops_a_run_before_it_trains(tmp_path: Path) -> None:
    root = trees.derm7pt(tmp_path / "release_v0")
    (root / "images" / "NEL" / "NEL003.JPG").write_bytes(b"no image")
    with pytest.raises(HarnessError, match=r"line 4: .*NEL003\.JPG is not a readable image"):
        run_serially(config(root, tmp_path / "store", "retrieval"), Quiet())


def test_cache_and_store_are_the_user_s_alone(tmp_path: Path, cache: Path) -> None:
    root = trees.derm7pt(tmp_path / "release_v0")
    (tmp_path / "store").mkdir(mode=0o755)
    mask = os.umask(0)
    try:
        run_serially(config(root, tmp_path / "store", "retrieval"), Quiet())
        Store(tmp_path / "new" / "store")
    finally:
        os.umask(mask)
    kept = [cache, *(path for path in cache.rglob("*") if path.is_dir()), tmp_path / "store"]
    assert len(kept) > 3
    for folder in [*kept, tmp_path / "new" / "store"]:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
