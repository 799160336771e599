"""ROCO and ROCOv2: layouts, older names, images that were not downloaded, shared articles, cleaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.datasets.check import examine
from harness.datasets.roco import ROCO, micar_text
from tests.helpers import caption_trees


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return caption_trees.roco(tmp_path / "roco-dataset")


def counts(dataset: ROCO) -> list[int]:
    return [len(dataset.studies(split)) for split in ("train", "val", "test")]


def test_the_releases_split(root: Path) -> None:
    dataset = ROCO.open(root)
    assert counts(dataset) == [4, 4, 4]
    study = dataset.studies("val")[1]
    assert (study.id, study.attributes) == ("ROCO_00005", {"article": "PMC106"})
    assert study.report == f"A 45-year-old man, mass of 3.5 cm. {caption_trees.sentence(5)}"


def test_the_second_version(tmp_path: Path) -> None:
    dataset = ROCO.open(caption_trees.roco_2(tmp_path))
    assert counts(dataset) == [3, 3, 3]
    assert dataset.studies("val")[0].id == "ROCOv2_2023_valid_000000"


@pytest.mark.parametrize("folder", ["", "all_data"])
def test_the_folder_above_may_have_another_name(root: Path, folder: str) -> None:
    before = counts(ROCO.open(root))
    for part in list((root / "data").iterdir()):
        (root / folder).mkdir(exist_ok=True)
        part.rename(root / folder / part.name)
    (root / "data").rmdir()
    assert counts(ROCO.open(root)) == before


def test_older_names_are_found_and_absent_images_left_out(root: Path) -> None:
    images = root / "data" / "train" / "radiology" / "images"
    (images / "ROCO_00001.jpg").rename(images / "PMC102_x-g001.jpg")
    (images / "ROCO_00002.jpg").unlink()
    assert [study.id for study in ROCO.open(root).studies("train")] == [
        "ROCO_00000",
        "ROCO_00001",
        "ROCO_00003",
    ]
    examination = examine("roco", root)
    (absent,) = [problem for problem in examination.problems if problem.kind == "absent-image"]
    assert examination.fatal == 0
    assert absent.message.endswith("; ROCO_00002 is left out")
    assert absent.where == "data/train/radiology/captions.txt, line 3"


def test_articles_in_two_splits_are_counted(root: Path) -> None:
    (shared,) = [p for p in examine("roco", root).problems if p.kind == "article-in-two-splits"]
    assert shared.message.startswith("1 of 11 articles")
    for licences in root.rglob("licences.txt"):
        licences.unlink()
    assert not [p for p in examine("roco", root).problems if p.kind == "article-in-two-splits"]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("CT of a 45-year-old man.", "ct of a xxxx man ."),
        ("Mass, 3.5 cm, in 2 lobes", "mass , xxxx , in 2 lobes ."),
        ("a\tb\nc. d.", "a b c . d ."),
        ("", ""),
    ],
)
def test_cleaning_of_the_papers_code(text: str, cleaned: str) -> None:
    assert micar_text(text) == cleaned


def test_captions_may_hold_any_line_separator_but_the_line_feed(root: Path) -> None:
    path = root / "data" / "test" / "radiology" / "captions.txt"
    path.write_text(path.read_text().replace("mass of", "mass\u2028\x85of", 1))
    assert counts(ROCO.open(root)) == [4, 4, 4]


def test_what_is_wrong_is_named(root: Path) -> None:
    path = root / "data" / "test" / "radiology" / "captions.txt"
    path.write_text(path.read_text().replace("ROCO_00009\t", "ROCO_00009 ", 1))
    with pytest.raises(HarnessError, match=r"test/radiology/captions\.txt, line 2: expected an id, a tab"):
        ROCO.open(root)
    path.write_bytes(b"ROCO_00009\t\xff\n")
    with pytest.raises(HarnessError, match="not UTF-8"):
        ROCO.open(root)
    path.write_text("../../x\tcaption\n")
    with pytest.raises(HarnessError, match=r"line 1: .* is not a path inside the root"):
        ROCO.open(root)
    with pytest.raises(HarnessError, match="no captions"):
        ROCO.open(root / "data" / "train")
