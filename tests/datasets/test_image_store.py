"""The image store: what was appended is read back, whatever killed, filled or damaged it in between."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.core.errors import DiskError, HarnessError
from harness.datasets.images.filling import decode_into, fill
from harness.datasets.images.pixels import ImageFile
from harness.datasets.images.store import ImageStore
from tests.helpers.images import jpeg, slowly, source_of, truncated

pytestmark = pytest.mark.process

SIZE = 32


def rows(*numbers: int) -> dict[str, NDArray[np.uint8]]:
    """Images by digest, none like another."""
    return {
        f"digest {number}": np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        for number in numbers
    }


def same(store: ImageStore, expected: dict[str, NDArray[np.uint8]]) -> bool:
    return all(np.array_equal(store.read(digest), pixels) for digest, pixels in expected.items())


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store", SIZE, 3)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[ImageFile]:
    folder = tmp_path_factory.mktemp("images")
    return [source_of(jpeg(folder / f"{n}.jpg", n), f"list.csv, line {n + 2}") for n in range(160)]


def test_rows_are_read_back_by_this_and_by_another_reader(store: ImageStore) -> None:
    assert store.read("digest 1") is None
    store.append(rows(1, 2))
    store.append(rows(2, 3))
    assert "digest 3" in store
    assert store.absent(["digest 1", "digest 4"]) == {"digest 4"}
    for reader in (store, ImageStore(store.folder, SIZE, 3), pickle.loads(pickle.dumps(store))):
        assert same(reader, rows(1, 2, 3))
        assert not reader.read("digest 1").flags.writeable
    assert (store.folder / "pixels.bin").stat().st_size == 3 * SIZE * SIZE * 3


def test_a_reader_sees_what_others_append(store: ImageStore) -> None:
    store.append(rows(1))
    other = ImageStore(store.folder, SIZE, 3)
    first = other.read("digest 1")
    for number in range(2, 40):
        store.append(rows(number))
        assert same(other, rows(number))
    assert np.array_equal(first, rows(1)["digest 1"])


def test_folder_and_files_are_the_user_s_alone(store: ImageStore) -> None:
    store.append(rows(1))
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()} == {0o600}
    assert {path.name for path in store.folder.iterdir()} >= {"pixels.bin", "index.bin"}


def test_half_written_tails_are_never_read_and_are_replaced(store: ImageStore) -> None:
    store.append(rows(1, 2))
    whole = [(store.folder / name).read_bytes() for name in ("pixels.bin", "index.bin")]
    for pixels, entry in [
        (b"half a row", b""),
        (b"x" * 5000, b"half"),
        (b"", b"z" * 24),
        (b"y" * 9999, b"z" * 60),
    ]:
        (store.folder / "pixels.bin").write_bytes(whole[0] + pixels)
        (store.folder / "index.bin").write_bytes(whole[1] + entry)
        again = ImageStore(store.folder, SIZE, 3)
        assert again.absent(["digest 1", "digest 2", "digest 3"]) == {"digest 3"}
        again.append(rows(3))
        assert same(ImageStore(store.folder, SIZE, 3), rows(1, 2, 3))
        assert (store.folder / "pixels.bin").stat().st_size == 3 * SIZE * SIZE * 3


def healed(store: ImageStore, expected: dict[str, NDArray[np.uint8]]) -> int:
    """Read as a dataset does: what has no row is appended. Returns how many images that were."""
    absent = {digest: pixels for digest, pixels in expected.items() if store.read(digest) is None}
    store.append(absent)
    assert same(store, expected)
    assert same(ImageStore(store.folder, SIZE, 3), expected)
    return len(absent)


def flipped(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_damaged_row_is_named_and_made_anew(store: ImageStore, caplog: pytest.LogCaptureFixture) -> None:
    store.append(rows(1, 2, 3))
    flipped(store.folder / "pixels.bin", SIZE * SIZE * 3 + 100)
    first, second = (ImageStore(store.folder, SIZE, 3) for _ in range(2))
    assert second.read("digest 2") is None
    assert healed(first, rows(1, 2, 3)) == 1
    assert same(second, rows(1, 2, 3)), "a process that met the damage finds the new row"
    second.append(rows(2))
    assert len((store.folder / "index.bin").read_bytes()) == 4 * 24
    lines = {record.getMessage() for record in caplog.records}
    assert lines == {f"{store.folder}/pixels.bin: damaged: row 1 is not what was written; it is made anew"}


@pytest.mark.parametrize("name", ["pixels.bin", "index.bin"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_set_aside(store: ImageStore, name: str, make: Callable[[Path], None]) -> None:
    store.append(rows(1, 2))
    (store.folder / name).unlink()
    make(store.folder / name)
    again = ImageStore(store.folder, SIZE, 3)
    assert again.read("digest 1") is None
    again.append(rows(1, 2))
    assert same(ImageStore(store.folder, SIZE, 3), rows(1, 2))
    assert (store.folder / f"{name}.damaged").exists()


@pytest.mark.parametrize("name", ["pixels.bin", "index.bin"])
def test_nothing_is_written_over_a_link(store: ImageStore, tmp_path: Path, name: str) -> None:
    store.append(rows(1, 2))
    own = tmp_path / "own.txt"
    own.write_text("a file of the user")
    (store.folder / name).unlink()
    (store.folder / name).symlink_to(own)
    again = ImageStore(store.folder, SIZE, 3)
    again.append(rows(1, 2))
    assert same(ImageStore(store.folder, SIZE, 3), rows(1, 2))
    assert own.read_text() == "a file of the user"


def test_a_file_in_the_place_of_the_folder_is_set_aside(store: ImageStore) -> None:
    store.folder.parent.mkdir(parents=True, exist_ok=True)
    store.folder.write_text("x")
    again = ImageStore(store.folder, SIZE, 3)
    again.append(rows(1))
    assert same(again, rows(1))


@pytest.mark.parametrize("place", [*range(0, 72, 5), 24, 71])
def test_a_damaged_entry_of_the_index_is_named_and_its_image_made_anew(
    store: ImageStore, caplog: pytest.LogCaptureFixture, place: int
) -> None:
    store.append(rows(1, 2, 3))
    flipped(store.folder / "index.bin", place)
    assert healed(ImageStore(store.folder, SIZE, 3), rows(1, 2, 3)) == 1
    (line,) = {record.getMessage() for record in caplog.records}
    assert line.endswith(f"index.bin: damaged: entry {place // 24} is not what was written; it is made anew")


def test_entries_that_changed_places_are_not_believed(store: ImageStore) -> None:
    store.append(rows(1, 2, 3))
    index = store.folder / "index.bin"
    whole = index.read_bytes()
    index.write_bytes(whole[24:48] + whole[:24] + whole[48:])
    assert healed(ImageStore(store.folder, SIZE, 3), rows(1, 2, 3)) == 2


@pytest.mark.parametrize("size", [0, 1, SIZE * SIZE * 3, 2 * SIZE * SIZE * 3 + 7, None])
def test_pixels_that_were_cut_off_or_lost_are_named_and_made_anew(
    store: ImageStore, caplog: pytest.LogCaptureFixture, size: int | None
) -> None:
    store.append(rows(1, 2, 3))
    opened, path = ImageStore(store.folder, SIZE, 3), store.folder / "pixels.bin"
    assert opened.absent(rows(1, 2, 3)) == set()
    path.unlink() if size is None else os.truncate(path, size)
    whole = (size or 0) // (SIZE * SIZE * 3)
    assert healed(ImageStore(store.folder, SIZE, 3), rows(1, 2, 3)) == 3 - whole
    assert f"pixels.bin: damaged: {size or 0} bytes where 3 rows were written" in caplog.text
    assert same(opened, rows(1, 2, 3)), "an older reader follows"


def test_a_store_that_was_replaced_while_it_was_open_is_read_anew(store: ImageStore) -> None:
    store.append(rows(1, 2))
    assert same(store, rows(1, 2))
    store.folder.rename(store.folder.with_name("old"))
    other = ImageStore(store.folder, SIZE, 3)
    other.append(rows(2, 1, 3, 4))
    assert same(store, rows(3, 4))
    assert same(store, rows(1, 2))


def test_a_store_that_was_deleted_starts_anew(store: ImageStore) -> None:
    store.append(rows(1, 2))
    for path in list(store.folder.iterdir()):
        path.unlink()
    store.append(rows(2, 3))
    for reader in (store, ImageStore(store.folder, SIZE, 3)):
        assert reader.absent(["digest 1", "digest 2", "digest 3"]) == {"digest 1"}
        assert same(reader, rows(2, 3))


@pytest.mark.parametrize("allowed", [0, 100, 2 * SIZE * SIZE * 3, 2 * SIZE * SIZE * 3 + 10])
def test_a_full_disk_is_named_and_leaves_the_store_usable(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    store.append(rows(1))
    left = allowed
    write = os.pwrite

    def short(descriptor: int, data: memoryview, offset: int) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(descriptor, data[:left], offset)
        left -= done
        return done

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", short)
        with pytest.raises(DiskError, match=r"cannot write .*store: no space left on the disk"):
            store.append(rows(2, 3))
    for again in (store, ImageStore(store.folder, SIZE, 3)):
        assert same(again, rows(1))
        assert again.absent(["digest 2", "digest 3"]) == {"digest 2", "digest 3"}
    store.append(rows(2, 3))
    assert same(ImageStore(store.folder, SIZE, 3), rows(1, 2, 3))


def test_pixels_of_another_size_are_refused(store: ImageStore) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        store.append({"digest": np.zeros((SIZE, SIZE, 1), np.uint8)})


def test_filling_in_parallel_gives_the_pixels_of_filling_alone(
    store: ImageStore, tmp_path: Path, sources: list[ImageFile]
) -> None:
    alone = ImageStore(tmp_path / "alone", SIZE, 3)
    assert sum(fill(alone, sources, workers=1)) == len(sources)
    assert sum(fill(store, sources, workers=2)) == len(sources)
    for source in sources:
        assert np.array_equal(store.read(source.digest), alone.read(source.digest))
    assert (store.folder / "pixels.bin").stat().st_size == len(sources) * SIZE * SIZE * 3


def test_an_unreadable_file_ends_filling_and_is_named(
    store: ImageStore, tmp_path: Path, sources: list[ImageFile]
) -> None:
    broken = source_of(truncated(jpeg(tmp_path / "broken.jpg")), "list.csv, line 999")
    message = r"list\.csv, line 999: .*broken\.jpg is not a readable image: .*truncated"
    with pytest.raises(HarnessError, match=message):
        list(fill(store, [*sources[:80], broken, *sources[80:]], workers=2))
    with pytest.raises(HarnessError, match=message):
        decode_into(store, [sources[0], broken])
    assert store.read(sources[0].digest) is not None


def test_a_decoder_that_no_other_process_knows_is_run_here(
    store: ImageStore, sources: list[ImageFile]
) -> None:
    def grey(path: Path) -> Image.Image:
        return Image.new("L", (40, 40), 77)

    own = [ImageFile(source.path, source.where, f"own {source.digest}", grey) for source in sources]
    assert sum(fill(store, own, workers=2)) == len(sources)
    assert (store.read(own[5].digest) == 77).all()


def test_processes_that_die_are_replaced_by_this_one(
    store: ImageStore, sources: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert sum(fill(store, sources, workers=2)) == len(sources)
    assert store.absent([source.digest for source in sources]) == set()


_FILLER = """
import pickle, sys
from collections.abc import Callable
from pathlib import Path
from harness.datasets.images.filling import fill
from harness.datasets.images.store import ImageStore
sources = pickle.loads(Path(sys.argv[2]).read_bytes())
print(sum(fill(ImageStore(Path(sys.argv[1]), int(sys.argv[3]), 3), sources, workers=1)), flush=True)
"""


def filler(store: ImageStore, sources: list[ImageFile], folder: Path) -> subprocess.Popen[str]:
    """A process that fills the store, images in order."""
    jobs = folder / "jobs.pickle"
    jobs.write_bytes(pickle.dumps(sources))
    command = [sys.executable, "-c", _FILLER, str(store.folder), str(jobs), str(store.shape[0])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_killed_while_filling_and_resumed(tmp_path: Path, sources: list[ImageFile]) -> None:
    sources = [ImageFile(one.path, one.where, one.digest, slowly) for one in sources[:96]]
    whole, killed = ImageStore(tmp_path / "whole", SIZE, 3), ImageStore(tmp_path / "killed", SIZE, 3)
    list(fill(whole, sources, workers=1))
    process = filler(killed, sources, tmp_path)
    index = killed.folder / "index.bin"
    waited = time.monotonic()
    while time.monotonic() - waited < 60 and not (index.exists() and index.stat().st_size):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = len(sources) - len(killed.absent([source.digest for source in sources]))
    assert 0 < done < len(sources)
    missing = [source for source in sources if source.digest not in killed]
    assert sum(fill(killed, missing, workers=1)) == len(sources) - done
    for name in ("pixels.bin", "index.bin"):
        assert (killed.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_two_processes_fill_at_once(store: ImageStore, tmp_path: Path, sources: list[ImageFile]) -> None:
    processes = [filler(store, sources, tmp_path), filler(store, sources[::-1], tmp_path)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert outputs == [f"{len(sources)}\n"] * 2
    assert (store.folder / "pixels.bin").stat().st_size == len(sources) * SIZE * SIZE * 3
    alone = ImageStore(tmp_path / "alone", SIZE, 3)
    list(fill(alone, sources, workers=1))
    assert all(np.array_equal(store.read(one.digest), alone.read(one.digest)) for one in sources)
