"""MMC-AMD: eyes, pairs, classes, and what is said about lists that are not in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.datasets.mmc_amd import CLASSES, MMCAMD
from tests.helpers import trees


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.mmc_amd(tmp_path)


def test_a_study_is_an_eye_with_its_first_images(root: Path) -> None:
    dataset = MMCAMD.open(root, image_size=48)
    assert dataset.info.label_names == CLASSES
    assert dataset.info.image_modalities == ("fundus", "oct")
    assert not dataset.info.multilabel
    for split in ("train", "val", "test"):
        studies = dataset.studies(split)
        assert [int(study.labels.argmax()) for study in studies] == [0, 1, 2, 3]
        assert [len(study.images) for study in studies] == [2, 2, 2, 1]
        assert studies[0].images["oct"].shape == (48, 48, 3)
    assert dataset.studies("train")[3].modalities == {"fundus"}


def test_profile_pairs_keeps_the_eyes_with_both_images(root: Path) -> None:
    whole, pairs = MMCAMD.open(root), MMCAMD.open(root, profile="pairs")
    for split in ("train", "val", "test"):
        both = [study.id for study in whole.studies(split) if study.modalities == {"fundus", "oct"}]
        assert [study.id for study in pairs.studies(split)] == both
        assert len(both) == len(whole.studies(split)) - 1
    assert pairs.info.fingerprint != whole.info.fingerprint
    with pytest.raises(HarnessError, match="unknown profile 'pair'"):
        MMCAMD.open(root, profile="pair")


def test_the_second_image_of_an_eye_is_left_out(root: Path) -> None:
    (root / "mmc-amd" / "ImageData" / "oct-median3x3-448x448" / "o-h-1000_2.jpg").unlink()
    assert len(MMCAMD.open(root).studies("train")) == 4


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("train/ImageSets/cfp.txt", "f-x-1", r"cfp\.txt, line 5: unknown class 'x'"),
        ("train/ImageSets/cfp.txt", "o-h-1", r"line 5: 'o-h-1' is no id of a fundus image"),
        ("train/ImageSets/oct.txt", "o-h-../../x", r"oct\.txt, line 5: .* is no id of a oct image"),
        ("test/ImageSets/cfp.txt", "f-h-4711", r"line 5: no file .*f-h-4711\.jpg"),
        ("test/ImageSets/cfp.txt", "f-h-1000", r"line 5: h-1000 is a second time .*line 1"),
        ("test/SubjectSets/oct.txt", "patient0", r"patient patient0 of test is also in train .*line 1"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(root: Path, file: str, line: str, message: str) -> None:
    path = root / f"mmc-amd-splitAP-{file}"
    trees.write_lines(path, [*(path.read_text().split() if path.exists() else []), line])
    with pytest.raises(HarnessError, match=message):
        MMCAMD.open(root)


def test_an_absent_list_is_named(root: Path) -> None:
    (root / "mmc-amd-splitAP-val" / "ImageSets" / "oct.txt").unlink()
    with pytest.raises(HarnessError, match=r"splitAP-val/ImageSets/oct\.txt: No such file"):
        MMCAMD.open(root)
