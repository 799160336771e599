"""Every dataset that is read from files, in its real layout: check, training of a tiny method, scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core import registry
from harness.core.config import RunSettings
from harness.datasets.check import examine
from harness.evaluation.run import run_serially
from tests.helpers import caption_trees, trees
from tests.helpers.toys import Quiet

REPORTS: dict[str, tuple[str, Callable[[Path], Path], dict[str, object]]] = {
    "iu-xray": ("iu-xray", trees.iu_xray, {"profile": "r2gen"}),
    "open-i": ("open-i", trees.open_i, {}),
    "mimic-cxr, R2Gen's layout": ("mimic-cxr", trees.mimic_r2gen, {"profile": "r2gen"}),
    "mimic-cxr, PhysioNet's layout": ("mimic-cxr", trees.mimic_cxr, {}),
    "cov-ctr": ("cov-ctr", caption_trees.cov_ctr, {"profile": "micar-vlmoe"}),
    "mm-retinal": ("mm-retinal", caption_trees.mm_retinal, {"profile": "micar-vlmoe"}),
    "peir-gross": ("peir-gross", caption_trees.peir_gross, {"profile": "micar-vlmoe"}),
    "roco": ("roco", caption_trees.roco, {"profile": "micar-vlmoe"}),
    "roco, second version": ("roco", caption_trees.roco_2, {}),
    "csv": ("csv", caption_trees.own, {}),
}
CLASSES: dict[str, Callable[[Path], Path]] = {
    "derm7pt": trees.derm7pt,
    "mmc-amd": trees.mmc_amd,
    "fairvision": trees.fairvision,
}
NEEDS_NO_FILES = {"iu-phantom", "example"}


def test_every_dataset_of_files_is_here() -> None:
    covered = {dataset for dataset, _, _ in REPORTS.values()} | set(CLASSES) | NEEDS_NO_FILES
    assert covered == set(registry.DATASETS)


@pytest.mark.parametrize("layout", REPORTS)
def test_reports_are_checked_trained_on_and_scored(layout: str, tmp_path: Path) -> None:
    dataset, plant, options = REPORTS[layout]
    learned = {"training.epochs": 1, "training.batch_size": 4, "image_size": 32, "min_count": 1}
    rows = _rows(dataset, plant(tmp_path / "data"), tmp_path / "store", "micar_vlmoe", learned, options)
    assert {row[1] for row in rows if row[0].endswith("+shuffled-image")} >= {"bleu_4", "cider"}


@pytest.mark.parametrize("dataset", CLASSES)
def test_classes_are_checked_trained_on_and_scored(dataset: str, tmp_path: Path) -> None:
    learned = {"training.epochs": 1, "training.batch_size": 4, "image_size": 32}
    plant = CLASSES[dataset]
    rows = _rows(dataset, plant(tmp_path / "data"), tmp_path / "store", "early_fusion", learned, {})
    assert {row[1] for row in rows} >= {"accuracy", "ece"}


def _rows(
    dataset: str,
    root: Path,
    store: Path,
    method: str,
    learned: dict[str, object],
    options: dict[str, object],
) -> list[tuple[str, str]]:
    """(Method, metric) of the rows that have a value, after ``data check`` found nothing fatal."""
    assert examine(dataset, root, options).fatal == 0
    config = RunSettings.of(
        methods=(method,),
        dataset=dataset,
        root=root,
        metrics=("bleu", "cider") if method == "micar_vlmoe" else None,
        store=store,
        set={dataset: {"image_size": 32, **options}, method: learned},
    )
    reporter = Quiet()
    rows, succeeded = run_serially(config, reporter)
    assert succeeded, reporter.failures
    return [(row.method, row.metric) for row in rows if row.status == "ok"]
