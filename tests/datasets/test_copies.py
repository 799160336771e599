"""A copy of a dataset on another disk is the same dataset: nothing is trained on it again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.core import registry
from harness.core.config import RunSettings
from harness.datasets.base import Dataset
from harness.evaluation.benchmark import open_benchmark
from harness.evaluation.trial import Trial
from tests.helpers import caption_trees, trees

TREES = trees.TREES | caption_trees.TREES | {"mimic-cxr (R2Gen)": trees.mimic_r2gen}


def opened(name: str, root: Path) -> Dataset:
    return registry.load("datasets", name.partition(" ")[0]).open(root)


def copied(root: Path, target: Path) -> Path:
    """The same value of ``--root`` in a copy, whose files have other times and other inodes."""
    folder = root if root.is_dir() else root.parent
    shutil.copytree(folder, target, copy_function=shutil.copyfile)
    return target if root.is_dir() else target / root.name


@pytest.mark.parametrize("name", TREES)
def test_a_copy_has_the_same_fingerprint(name: str, tmp_path: Path) -> None:
    root = TREES[name](tmp_path / "data")
    copy = copied(root, tmp_path / "other disk" / "copy")
    assert opened(name, copy).info == opened(name, root).info


@pytest.mark.parametrize("name", [name for name in TREES if name != "fairvision"])
def test_a_changed_byte_of_a_small_image_is_another_dataset(name: str, tmp_path: Path) -> None:
    root = TREES[name](tmp_path / "data")
    copy = copied(root, tmp_path / "copy")
    folder = copy if copy.is_dir() else copy.parent
    image = next(path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpg", ".png"))
    content = bytearray(image.read_bytes())
    content[-30] ^= 1
    image.write_bytes(content)
    assert opened(name, copy).info.fingerprint != opened(name, root).info.fingerprint


def test_a_copy_of_mimic_cxr_has_the_same_cells(tmp_path: Path) -> None:
    root = trees.mimic_cxr(tmp_path / "data")
    copy = copied(root, tmp_path / "copy")
    cells = set()
    for each in (root, copy):
        settings = RunSettings.of(
            methods=("retrieval",),
            dataset="mimic-cxr",
            root=each,
            metrics=("bleu",),
            store=tmp_path / "store",
            set={"mimic-cxr": {"image_size": 32}},
        )
        benchmark = open_benchmark(settings)
        trial = Trial(benchmark, benchmark.entries[0], 0)
        cells.add((trial.cell.directory, trial.identity(benchmark.plans[0])))
    assert len(cells) == 1
