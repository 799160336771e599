"""Derm7pt: classes, splits, pixels, and what is said about a folder that is not in order."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.core import files
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.types import Task
from harness.datasets.derm7pt import CLASSES, GROUPS, Derm7pt
from harness.evaluation.run import run_serially
from tests.helpers import trees
from tests.helpers.toys import Quiet


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.derm7pt(tmp_path / "release_v0")


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_info_and_splits(root: Path) -> None:
    dataset = Derm7pt.open(root)
    info = dataset.info
    assert (info.name, info.multilabel, info.has_context) == ("derm7pt", False, False)
    assert info.tasks == frozenset({Task.DIAGNOSE})
    assert info.image_modalities == ("clinical", "dermoscopic")
    assert info.label_names == CLASSES
    assert (info.image_size, info.channels) == (224, 3)
    assert [len(dataset.studies(split)) for split in ("train", "val", "test")] == [6, 3, 3]
    with pytest.raises(HarnessError, match="unknown split"):
        dataset.studies("valid")


def test_labels_are_one_hot_and_grouped(root: Path) -> None:
    studies = Derm7pt.open(root).studies("train")
    for number, study in enumerate(studies, 1):
        assert study.labels.dtype == np.float32
        assert study.labels.sum() == 1
        assert trees.DIAGNOSES[number % 5] in GROUPS[CLASSES[int(study.labels.argmax())]]
    assert studies[0].attributes == {"sex": "male", "location": "back", "elevation": "flat"}


def test_twenty_diagnoses_in_five_classes() -> None:
    values = [value for group in GROUPS.values() for value in group]
    assert len(values) == len(set(values)) == 20
    assert tuple(GROUPS) == CLASSES


def test_pixels_are_the_resized_photograph(root: Path) -> None:
    study = Derm7pt.open(root, image_size=32).studies("train")[0]
    photograph = Image.open(root / "images" / "NEL" / "NEL001.JPG").convert("RGB")
    expected = np.asarray(photograph.resize((32, 32), Image.Resampling.BICUBIC))
    assert study.images["clinical"].dtype == np.uint8
    assert np.array_equal(study.images["clinical"], expected)
    assert not np.array_equal(study.images["dermoscopic"], expected)


def test_a_repeated_dermoscopic_image_is_no_clinical_view(root: Path) -> None:
    study = Derm7pt.open(root).studies("test")[2]
    assert study.modalities == {"dermoscopic"}
    assert "clinical" not in study.images
    assert list(study.images) == ["dermoscopic"]


def test_images_are_decoded_at_access_and_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path, **rest: opened.append(path) or original(path, **rest))
    study = Derm7pt.open(root, image_size=40).studies("train")[1]
    assert study.modalities == {"clinical", "dermoscopic"}
    assert not opened
    first = study.images["clinical"]
    again = Derm7pt.open(root, image_size=40).studies("train")[1].images["clinical"]
    assert len(opened) == 1
    assert np.array_equal(first, again)


def test_the_cache_is_private_and_heals(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    study = Derm7pt.open(root).studies("train")[0]
    decoded = study.images["clinical"]
    folders = [path for path in files.cache_root().rglob("*") if path.is_dir()]
    assert folders
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in folders)
    (stored,) = files.cache_root().rglob("pixels.bin")
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 0xFF
    stored.write_bytes(content)
    again = Derm7pt.open(root).studies("train")[0]
    assert np.array_equal(again.images["clinical"], decoded)
    assert "pixels.bin: damaged: row 0" in caplog.text


def test_fingerprint_follows_content_and_size(root: Path) -> None:
    before = Derm7pt.open(root).info.fingerprint
    assert Derm7pt.open(root).info.fingerprint == before
    assert Derm7pt.open(root, image_size=64).info.fingerprint != before
    trees.image(root / "images" / "NEL" / "NEL001.JPG", 999)
    assert Derm7pt.open(root).info.fingerprint != before


def test_the_folder_above_will_do(root: Path) -> None:
    assert Derm7pt.open(root.parent).info == Derm7pt.open(root).info


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("meta/meta.csv", "NEL/NEL002.JPG", "NEL/gone.jpg", r"meta\.csv, line 3: no file .*gone\.jpg"),
        ("meta/meta.csv", "NEL/NEL002.JPG", "../../secret.jpg", r"line 3: '../../secret.jpg' is not a path"),
        ("meta/meta.csv", "NEL/NEL002.JPG", "/etc/passwd", r"line 3: '/etc/passwd' is not a path inside"),
        ("meta/meta.csv", "melanoma (in situ)", "melanome", r"line 3: unknown diagnosis 'melanome'"),
        ("meta/meta.csv", "diagnosis", "label", r"meta\.csv: no column diagnosis"),
        ("meta/train_indexes.csv", "5", "12", r"train_indexes\.csv, line 7: index '12' is outside the 12"),
        ("meta/train_indexes.csv", "5", "-1", r"train_indexes\.csv, line 7: index '-1' is outside"),
        ("meta/test_indexes.csv", "11", "3", r"test_indexes\.csv, line 4 .*case4 is a second time"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(root: Path, file: str, old: str, new: str, message: str) -> None:
    change(root / file, old, new)
    with pytest.raises(HarnessError, match=message):
        Derm7pt.open(root)


def test_an_unreadable_image_is_named_when_it_is_read(root: Path) -> None:
    (root / "images" / "NEL" / "NEL003.JPG").write_bytes(b"no image")
    study = Derm7pt.open(root).studies("train")[2]
    with pytest.raises(HarnessError, match=r"line 4: .*NEL003\.JPG is not a readable image"):
        study.images["clinical"]


def test_root_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="--root DIR"):
        Derm7pt.open()
    with pytest.raises(HarnessError, match="no such folder"):
        Derm7pt.open(tmp_path / "nowhere")
    with pytest.raises(HarnessError, match=r"meta\.csv: No such file"):
        Derm7pt.open(tmp_path)


def test_image_size_is_checked(root: Path) -> None:
    with pytest.raises(HarnessError, match="image_size 8 of derm7pt is out of range"):
        Derm7pt.open(root, image_size=8)


def test_a_full_table_must_have_the_split_of_the_release(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.datasets.derm7pt._RELEASE_ROWS", 12)
    with pytest.raises(HarnessError, match="6/3/3 studies, expected 413/203/395"):
        Derm7pt.open(root)


def test_a_run_drops_either_view_and_scores_diagnosis(root: Path, tmp_path: Path) -> None:
    config = RunSettings.of(
        methods=("template",),
        dataset="derm7pt",
        root=root,
        missing=(0.5,),
        drop="alternate",
        mask_seeds=2,
        metrics=("diagnosis", "ece"),
        store=tmp_path / "store",
        set={"derm7pt": {"image_size": 32}},
    )
    rows, succeeded = run_serially(config, Quiet())
    assert succeeded
    measured = {(row.metric, row.rate) for row in rows if row.status == "ok"}
    outputs = ("accuracy", "f1_macro", "f1_macro_common", "kappa", "mcc", "ece")
    assert measured == {(m, r) for m in outputs for r in (0.0, 0.5)}
    assert all(row.n == 3 for row in rows)
