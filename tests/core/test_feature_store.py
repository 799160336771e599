"""Features on disk: what is found equals what was computed, and a store that fails costs time only."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.core.feature_store import FeatureStore, store_of
from harness.core.lmdb_pages import damage
from harness.datasets.example import ExampleData
from harness.method.batching import collate
from harness.method.cost import sizes
from methods.baselines.method import EarlyFusion
from methods.common import lite0
from methods.common.lite0 import Lite0Stages, PooledLite0, Records


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.delenv("HARNESS_FEATURES", raising=False)
    return tmp_path


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pixels(count: int = 3, side: int = 64) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))


def test_records_are_kept_by_key_and_the_first_one_stays(cache: Path) -> None:
    store = FeatureStore("toy")
    store.write({b"one": b"1", b"two": b"22"})
    store.write({b"one": b"other"})
    assert store.read([b"two", b"none", b"one"]) == [b"22", None, b"1"]
    folder = cache / "features" / "toy"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in folder.iterdir())


def test_a_damaged_record_is_none_and_is_written_anew(caplog: pytest.LogCaptureFixture) -> None:
    store = FeatureStore("toy")
    store.write({b"key": b"value"})
    assert store._environment is not None
    with store._environment.begin(write=True) as transaction:
        transaction.put(b"key", b"\0\0\0\0valu")
    assert store.read([b"key", b"key"]) == [None, None]
    assert caplog.text.count("toy/data.mdb: damaged records are computed anew") == 1
    store.write({b"key": b"value"})
    assert store.read([b"key"]) == [b"value"]


def test_a_record_under_the_key_of_another_one_is_none(caplog: pytest.LogCaptureFixture) -> None:
    store = FeatureStore("toy")
    store.write({b"one": b"1", b"two": b"2"})
    assert store._environment is not None
    with store._environment.begin(write=True) as transaction:
        transaction.put(b"one", transaction.get(b"two"))
    assert store.read([b"one", b"two"]) == [None, b"2"]
    assert "damaged records are computed anew" in caplog.text
    other = FeatureStore("other")
    other.write({b"two": b"of another network"})
    assert other._environment is not None
    with other._environment.begin() as theirs, store._environment.begin(write=True) as transaction:
        transaction.put(b"two", theirs.get(b"two"))
    assert store.read([b"two"]) == [None]


def test_a_record_of_an_earlier_version_is_computed_anew_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = FeatureStore("toy")
    assert store._environment is not None
    with store._environment.begin(write=True) as transaction:
        transaction.put(b"key", zlib.crc32(b"value").to_bytes(4, "little") + b"value")
    assert store.read([b"key"]) == [None]
    assert not caplog.text
    store.write({b"key": b"value"})
    assert store.read([b"key"]) == [b"value"]


def test_a_full_store_keeps_what_it_has() -> None:
    store = FeatureStore("small", limit=1 << 17)
    for number in range(40):
        store.write({bytes([number]): bytes(10_000)})
    stored = store.read([bytes([number]) for number in range(40)])
    assert stored[0] == bytes(10_000)
    assert stored[-1] is None


def test_a_folder_that_cannot_be_made_is_no_store(cache: Path) -> None:
    (cache / "features").write_text("a file in the folder's place")
    store = FeatureStore("toy")
    store.write({b"key": b"value"})
    assert store.read([b"key"]) == [None]


def test_a_file_that_is_no_store_is_set_aside(cache: Path) -> None:
    folder = cache / "features" / "toy"
    folder.mkdir(parents=True)
    (folder / "data.mdb").write_bytes(b"nonsense" * 4096)
    store = FeatureStore("toy")
    store.write({b"key": b"value"})
    assert store.read([b"key"]) == [b"value"]
    assert (cache / "features" / "toy.damaged" / "data.mdb").exists()


_OPEN = (
    "import sys; from harness.core.feature_store import FeatureStore; store = FeatureStore('cut'); "
    "print(store.read([bytes([0, n]) for n in range(40)]).count(None)); store.write({b'new': b'1'}); "
    "print(store.read([b'new']))"
)


@pytest.mark.parametrize("place", ["features/toy", "features/toy/data.mdb", "features/toy/lock.mdb"])
def test_a_pipe_in_its_place_is_set_aside(cache: Path, place: str) -> None:
    path = cache / place
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    store = FeatureStore("toy")
    store.write({b"key": b"value"})
    assert store.read([b"key"]) == [b"value"]
    assert path.with_name(f"{path.name}.damaged").exists()


@pytest.mark.process
@pytest.mark.parametrize("share", [0.0001, 0.02, 0.5, 0.99])
def test_a_store_that_is_cut_short_is_made_anew(cache: Path, share: float) -> None:
    """Mapped, its absent pages would end the process by SIGBUS, at every run."""
    store = FeatureStore("cut")
    for number in range(3):
        store.write({bytes([number, row]): bytes([row]) * 5000 for row in range(40)})
    file = cache / "features" / "cut" / "data.mdb"
    os.truncate(file, int(file.stat().st_size * share))
    done = subprocess.run(
        [sys.executable, "-c", _OPEN],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["40", "[b'1']"]
    assert "cut: damaged, set aside as cut.damaged" in done.stderr


def test_a_whole_store_is_never_taken_for_a_damaged_one(cache: Path) -> None:
    file = cache / "features" / "whole" / "data.mdb"
    store = FeatureStore("whole")
    random = np.random.default_rng(0)
    for number in range(200):
        size = int(random.integers(1, 20_000))
        store.write({bytes([number % 7, row]): bytes(size) for row in range(5)})
        assert damage(file) is None


_FLIPS = """
import logging, os, random, shutil, sys
from pathlib import Path
from harness.core.feature_store import FeatureStore
cache, dice, records = Path(os.environ["HARNESS_CACHE"]), random.Random(0), {}
logging.disable()

def attempt(content, folder):
    (folder / "features" / "toy").mkdir(parents=True)
    (folder / "features" / "toy" / "data.mdb").write_bytes(content)
    os.environ["HARNESS_CACHE"] = str(folder)
    store = FeatureStore("toy")
    read = store.read(list(records))
    store.write({b"new": bytes(9000), **records})
    right = all(value in (None, true) for value, true in zip(read, records.values()))
    return right and (store._full or store.read([b"new", *records]) == [bytes(9000), *records.values()])

store = FeatureStore("toy")
for number in range(40):
    rows = {bytes([number % 30, row]): bytes([number, row]) * (40 if row % 2 else 3000) for row in range(6)}
    store.write(rows)
    records = rows | records
whole = (cache / "features" / "toy" / "data.mdb").read_bytes()
codes = set()
for number in range(200):
    content = bytearray(whole)
    page, place = dice.randrange(len(whole) // 4096), dice.randrange(64 if number % 2 else 4096)
    content[page * 4096 + place] ^= 1 << dice.randrange(8)
    process = os.fork()
    if not process:
        os._exit(not attempt(content, cache / str(number)))
    codes.add(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    shutil.rmtree(cache / str(number))
print(codes)
"""


@pytest.mark.process
def test_a_flipped_bit_anywhere_neither_ends_the_process_nor_is_believed() -> None:
    """LMDB trusts sizes and page numbers: behind the end of the file is a SIGBUS."""
    command = [sys.executable, "-c", _FLIPS]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.stdout == "{0}\n", done.stderr


def _write(number: int) -> None:
    FeatureStore("shared").write({bytes([number, row]): bytes([number]) * 100 for row in range(50)})


@pytest.mark.process
def test_processes_write_side_by_side() -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_write, range(4))
    keys = [bytes([number, row]) for number in range(4) for row in range(50)]
    assert FeatureStore("shared").read(keys) == [bytes([key[0]]) * 100 for key in keys]


def test_what_is_found_equals_what_was_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    stages, images = Lite0Stages((2, 5, 7), side=4), pixels()
    first = stages(images)
    monkeypatch.setattr(PooledLite0, "everything", lambda self, images: pytest.fail("computed again"))
    again = stages(images.flip(0))
    assert all(torch.equal(a, b.flip(0)) for a, b in zip(first, again, strict=True))


def test_maps_are_those_of_the_network_to_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    stages, pooled, images = Lite0Stages((2, 3, 5, 7), side=4), PooledLite0(), pixels(side=128)
    kept, kept_pooled = stages(images), pooled(images)
    monkeypatch.setenv("HARNESS_FEATURES", "0")
    for stored, expected in zip([*kept, kept_pooled], [*stages(images), pooled(images)], strict=True):
        assert stored.shape == expected.shape
        torch.testing.assert_close(stored, expected, atol=2e-3, rtol=2e-3)


def test_a_changed_pixel_finds_nothing() -> None:
    stages, images = Lite0Stages((5,)), pixels()
    before = stages(images)[0]
    changed = images.clone()
    changed[1, 0, 30:34, 30:34] = 1.0
    after = stages(changed)[0]
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


def test_features_do_not_depend_on_company() -> None:
    images = pixels(11)
    together = Lite0Stages((5,))(images)[0]
    lite0._records.cache_clear()
    other = FeatureStore("elsewhere")
    records = Records(other)
    alone = torch.cat([records.maps(image[None])[5] for image in images])
    torch.testing.assert_close(together, alone, atol=2e-3, rtol=2e-3)


def test_maps_that_records_cannot_give_are_computed() -> None:
    images = pixels(1)
    assert Records.hold(images, (5,), (4,))
    assert not Records.hold(images, (4,), (4,)), "a stage that is not recorded"
    assert not Records.hold(images, (2,), (16,)), "larger than the record"
    assert not Records.hold(pixels(1, 224), (5,), (4,)), "windows that 8 x 8 does not nest"
    assert Lite0Stages((2,))(images)[0].shape == (1, 24, 16, 16)


def test_the_first_use_draws_no_random_numbers() -> None:
    stages, images = Lite0Stages((5,)), pixels()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    stages(images)
    assert torch.equal(torch.rand(4), expected)


def test_arithmetic_is_counted_as_if_nothing_were_known(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = EarlyFusion.create(ExampleData.open().info, preset="tiny")
    train = ExampleData.open().studies("train")
    fitted.prepare(fitted.artifacts(train))
    first = sizes(fitted, train[0])["flops"]
    fitted.predict(collate([train[0]], fitted.info))
    assert first == sizes(fitted, train[0])["flops"]
    monkeypatch.setenv("HARNESS_FEATURES", "0")
    assert first == sizes(fitted, train[0])["flops"]
    assert first is not None
    assert first > 1e6


def test_the_switch_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_FEATURES", "0")
    assert store_of("lite0") is None
    monkeypatch.setenv("HARNESS_FEATURES", "1")
    assert store_of("lite0") is store_of("lite0")
