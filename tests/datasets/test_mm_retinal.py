"""MM-Retinal: three tables, one view; file endings, figure references, what is said about damage."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.types import Task
from harness.datasets.check import examine
from harness.datasets.mm_retinal import MMRetinal, without_figures
from harness.datasets.readers.splits import drawn
from tests.helpers import caption_trees


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return caption_trees.mm_retinal(tmp_path / "v1")


def test_three_kinds_one_view(root: Path) -> None:
    dataset = MMRetinal.open(root, image_size=32)
    info = dataset.info
    assert (info.tasks, info.image_modalities, info.channels) == ({Task.REPORT}, ("image",), 3)
    studies = [study for split in ("train", "val", "test") for study in dataset.studies(split)]
    assert Counter(study.attributes["modality"] for study in studies) == {"CFP": 10, "FFA": 10, "OCT": 10}
    splits = {study.id: study.split for study in studies}
    for first, kind in enumerate(("CFP", "FFA", "OCT")):
        assert [splits[f"{kind}-{first}-{n}a"] for n in range(10)] == drawn(10, 9876, 0.2, 0.5)
    assert studies[0].images["image"].shape == (32, 32, 3)


def test_the_papers_profile_drops_figure_numbers(root: Path) -> None:
    whole = MMRetinal.open(root).studies("train")[0].report
    profile = MMRetinal.open(root, profile="micar-vlmoe")
    assert whole.startswith("Same eye as Fig. 3-")
    assert "ig. 3" not in profile.studies("train")[0].report
    assert profile.info.report_words == 58


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Same patient as figure 12-3a and b, drusen.", "drusen."),
        ("Drusen, see Fig. 1-2.", "Drusen, see"),
        ("Same patient as Fig. 3-2A, drusen.", "Same patient as drusen."),
        ("As in Figures 2-26G and fig 3-1.", "As in Figures 2-26G and"),
        ("Drusen in figure16-1-2.", "Drusen in figure16-1-2."),
        ("a shows a scar; 3-4 spots.", "a scar; 3-4 spots."),
    ],
)
def test_figure_references(text: str, left: str) -> None:
    assert without_figures(text) == left


def test_ids_that_carry_an_ending_are_found(root: Path) -> None:
    caption_trees.rewrite(
        root / "CFP_translated_v1.csv", lambda rows: rows[0].update(Image_ID=f"{rows[0]['Image_ID']}.png")
    )
    assert len(MMRetinal.open(root).studies("train")) == 24


def test_the_first_of_two_rows_counts(root: Path) -> None:
    caption_trees.rewrite(
        root / "FFA_translated_v1.csv", lambda rows: rows.append({**rows[0], "en_caption": "B."})
    )
    studies = [study for split in ("train", "val", "test") for study in MMRetinal.open(root).studies(split)]
    assert len(studies) == 30
    assert not any(study.report == "B." for study in studies)
    (noted,) = [
        problem for problem in examine("mm-retinal", root).problems if problem.kind == "repeated-image"
    ]
    assert noted.where == "FFA_translated_v1.csv, line 12"


def test_folders_of_images_may_be_links(root: Path, tmp_path: Path) -> None:
    (root / "OCT").rename(tmp_path / "elsewhere")
    (root / "OCT").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert examine("mm-retinal", root).fatal == 0


def test_what_is_wrong_is_named(root: Path) -> None:
    (root / "OCT" / "2-4a.png").unlink()
    with pytest.raises(HarnessError, match=r"OCT_translated_v1\.csv, line 6: no file .*2-4a"):
        MMRetinal.open(root)
    caption_trees.rewrite(root / "FFA_translated_v1.csv", lambda rows: rows[2].update(Image_ID=""))
    with pytest.raises(HarnessError, match=r"FFA_translated_v1\.csv, line 4: Image_ID is empty"):
        MMRetinal.open(root)
    (root / "CFP_translated_v1.csv").unlink()
    with pytest.raises(HarnessError, match=r"CFP_translated_v1\.csv: No such file"):
        MMRetinal.open(root)
