"""Opening ``iu-phantom``: counts, fields, laziness, and a cache that is whole or refused."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.core import files, registry
from harness.core.errors import HarnessError
from harness.core.types import Task
from harness.datasets.iu_phantom import IUPhantom
from harness.datasets.phantom import draw
from harness.datasets.phantom.patient import Patient

pytestmark = pytest.mark.process

SIZE = 32


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def _quick_images(patients: Sequence[Patient], size: int) -> Iterator[NDArray[np.uint8]]:
    """Stand-ins for 2,955 renderings, each a function of the study: drawing has its own tests."""
    for patient in patients:
        rng = np.random.default_rng(list(patient.study_id.encode()))
        yield rng.integers(0, 256, (2, size, size), dtype=np.uint8)


@pytest.fixture
def dataset(cache: Path, monkeypatch: pytest.MonkeyPatch) -> IUPhantom:
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    monkeypatch.setattr(draw, "render_many", _quick_images)
    return IUPhantom.open(image_size=SIZE)


def _pixel_file(cache: Path) -> Path:
    (path,) = (cache / "iu-phantom").glob(f"phantoms-*-{SIZE}px.npy")
    return path


def test_splits_and_studies(dataset: IUPhantom) -> None:
    assert registry.load("datasets", "iu-phantom") is IUPhantom
    assert [len(dataset.studies(split)) for split in ("train", "val", "test")] == [2069, 296, 590]
    info = dataset.info
    assert info.modalities == ("frontal", "lateral", "context")
    assert info.tasks == set(Task)
    assert info.may_show_images
    assert info.image_size == SIZE
    study = dataset.studies("train")[0]
    assert study.patient_id == study.id.partition("_")[0]
    assert study.labels is not None
    assert study.labels.shape == (len(info.label_names),) == (14,)
    assert set(study.attributes) == {"age", "sex", "view_position"}
    for view in info.image_modalities:
        image = study.images[view]
        assert image.shape == (SIZE, SIZE, 1)
        assert image.dtype == np.uint8
        assert not image.flags.owndata
        assert not image.flags.writeable
    ids = [s.id for split in ("train", "val", "test") for s in dataset.studies(split)]
    assert len(set(ids)) == len(ids)
    assert all(s.report for s in dataset.studies("test"))


def test_naturally_missing_context_stays_missing(dataset: IUPhantom) -> None:
    absent = [sum(s.context is None for s in dataset.studies(split)) for split in ("train", "val", "test")]
    assert absent == [139, 21, 51]
    assert all("context" not in s.modalities for s in dataset.studies("test") if s.context is None)


def test_unknown_split_and_size_are_user_errors(dataset: IUPhantom) -> None:
    with pytest.raises(HarnessError, match="did you mean test"):
        dataset.studies("tset")
    with pytest.raises(HarnessError, match="image_size 7"):
        IUPhantom.open(image_size=7)


def test_cache_is_private_and_warm_opening_imports_neither_torch_nor_compiler(
    dataset: IUPhantom, cache: Path
) -> None:
    assert stat.S_IMODE((cache / "iu-phantom").stat().st_mode) == 0o700
    program = (
        "import sys; from harness.datasets.iu_phantom import IUPhantom;"
        f"d = IUPhantom.open(image_size={SIZE}); d.studies('test')[0].images['lateral'].sum();"
        "print([name for name in ('torch', 'torchxrayvision', 'numba', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("harm", ["flip", "truncate"])
def test_a_damaged_cache_is_made_again(dataset: IUPhantom, cache: Path, harm: str) -> None:
    path = _pixel_file(cache)
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[len(broken) // 2] ^= 255
    path.unlink()  # a new file: the old one is mapped by ``dataset``
    path.write_bytes(bytes(broken) if harm == "flip" else whole[:-4096])
    again = IUPhantom.open(image_size=SIZE)
    assert again.info.fingerprint == dataset.info.fingerprint
    assert path.read_bytes() == whole
    assert path.with_name(f"{path.name}.damaged").exists()


def test_a_damaged_report_cache_is_made_again(dataset: IUPhantom, cache: Path) -> None:
    (path,) = (cache / "iu-phantom").glob("reports-*-[0-9].json")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    again = IUPhantom.open(image_size=SIZE)
    assert again.info.fingerprint == dataset.info.fingerprint
    assert path.read_bytes() == whole
    assert path.with_name(f"{path.name}.damaged").exists()


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.setattr(draw, "render_many", _quick_images)
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(HarnessError, match="no space left"):
        IUPhantom.open(image_size=SIZE)


def test_an_interrupted_rendering_is_done_again(dataset: IUPhantom, cache: Path) -> None:
    path = _pixel_file(cache)
    before = path.read_bytes()
    path.with_name(path.name + ".sha256.json").unlink()  # as if killed between rename and seal
    again = IUPhantom.open(image_size=SIZE)
    assert path.read_bytes() == before
    assert again.info.fingerprint == dataset.info.fingerprint
