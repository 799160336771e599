"""Harvard-FairVision: archives, middle B-scan, attributes, and what is said about archives out of order."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.datasets.fairvision import FairVision
from tests.helpers import trees


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.fairvision(tmp_path)


def test_studies_labels_and_attributes(root: Path) -> None:
    dataset = FairVision.open(root)
    assert dataset.info.label_names == ("no glaucoma", "glaucoma")
    assert dataset.info.image_modalities == ("slo", "oct")
    assert dataset.info.channels == 1
    studies = dataset.studies("train")
    assert [study.id for study in studies] == ["data_00000", "data_00001", "data_00002", "data_00003"]
    assert [int(study.labels.argmax()) for study in studies] == [0, 1, 0, 1]
    assert studies[1].attributes == {"race": "black", "sex": "male", "hispanic": None}


def test_the_middle_b_scan_is_shown(root: Path) -> None:
    study = FairVision.open(root, image_size=50).studies("train")[0]
    stored = np.load(root / "Glaucoma" / "Training" / "data_00000.npz")
    assert np.array_equal(study.images["oct"][..., 0], stored["oct_bscans"][4])
    assert np.array_equal(study.images["slo"][..., 0], stored["slo_fundus"])


def test_a_link_that_leads_out_is_refused(root: Path, tmp_path: Path) -> None:
    archive = min((root / "Glaucoma" / "Test").glob("data_*.npz"))
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere.npz"
    archive.rename(elsewhere)
    archive.symlink_to(elsewhere)
    with pytest.raises(HarnessError, match="is a link that leads out"):
        FairVision.open(root)


def test_an_empty_volume_is_an_absent_view(root: Path) -> None:
    assert FairVision.open(root).studies("test")[3].modalities == {"slo"}


def test_renamed_folders_will_do(root: Path) -> None:
    before = FairVision.open(root).info
    (root / "Glaucoma" / "Training").rename(root / "Glaucoma" / "train")
    assert FairVision.open(root).info == before


def test_fingerprint_follows_content(root: Path) -> None:
    before = FairVision.open(root).info.fingerprint
    trees.subject(root / "Glaucoma" / "Training" / "data_00000.npz", 40)
    assert FairVision.open(root).info.fingerprint != before


class Evil:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("key", ["race", "glaucoma", "slo_fundus"])
def test_pickles_are_never_opened(root: Path, tmp_path: Path, key: str) -> None:
    trace = tmp_path / "trace"
    pickled = np.empty(1, dtype=object)
    pickled[0] = Evil(trace)
    trees.subject(root / "Glaucoma" / "Training" / "data_00000.npz", 0, **{key: pickled})
    if key == "glaucoma":
        with pytest.raises(HarnessError, match=r"data_00000\.npz: not a readable archive"):
            FairVision.open(root)
    else:
        study = FairVision.open(root).studies("train")[0]
        if key == "race":
            assert study.attributes["race"] is None
        else:
            with pytest.raises(HarnessError, match="not a readable image"):
                study.images["slo"]
    assert not trace.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"glaucoma": np.array(2)}, r"data_00000\.npz: unknown class 2"),
        ({"glaucoma": None}, r"data_00000\.npz: no key glaucoma"),
        ({"oct_bscans": None}, r"data_00000\.npz: no key oct_bscans"),
    ],
)
def test_what_is_wrong_is_named(root: Path, changes: dict[str, object], message: str) -> None:
    trees.subject(root / "Glaucoma" / "Training" / "data_00000.npz", 0, **changes)
    with pytest.raises(HarnessError, match=message):
        FairVision.open(root)


def test_values_out_of_range_and_damage_are_named(root: Path) -> None:
    path = root / "Glaucoma" / "Training" / "data_00000.npz"
    trees.subject(path, 0, slo_fundus=np.full((50, 50), 300.0))
    study = FairVision.open(root).studies("train")[0]
    with pytest.raises(HarnessError, match=r"data_00000\.npz is not a readable image: slo_fundus"):
        study.images["slo"]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(HarnessError, match=r"data_00000\.npz: not a readable archive"):
        FairVision.open(root)


def test_a_subject_in_two_splits_is_named(root: Path) -> None:
    trees.subject(root / "Glaucoma" / "Test" / "data_00000.npz", 0)
    with pytest.raises(HarnessError, match="data_00000 is a second time"):
        FairVision.open(root)


def test_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="Glaucoma/Training: no such folder"):
        FairVision.open(tmp_path)
