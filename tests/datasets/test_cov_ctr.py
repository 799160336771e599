"""COV-CTR: figures stay together, the paper's split and cleaning, and what is said about a damaged table."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import HarnessError, UnknownNameError
from harness.core.types import Study, Task
from harness.datasets.check import examine
from harness.datasets.cov_ctr import CLASSES, COVCTR, figure_of, micar_text
from harness.datasets.readers.splits import by_group, drawn
from tests.helpers import caption_trees

SPLITS = ("train", "val", "test")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return caption_trees.cov_ctr(tmp_path / "COV-CTR")


def all_studies(dataset: COVCTR) -> list[Study]:
    return [study for split in SPLITS for study in dataset.studies(split)]


def test_info_labels_and_text(root: Path) -> None:
    dataset = COVCTR.open(root, image_size=32)
    info = dataset.info
    assert info.tasks == {Task.REPORT, Task.DIAGNOSE}
    assert (info.image_modalities, info.has_context, info.channels) == (("image",), False, 1)
    assert (dict(info.roles), info.may_show_images) == ({"image": "frontal"}, False)
    assert (info.label_names, info.multilabel) == (CLASSES, False)
    studies = {study.id: study for study in all_studies(dataset)}
    assert len(studies) == 24
    assert studies["3%0.png"].report == caption_trees.sentence(3), "the first of two rows counts"
    assert studies["3%0.png"].labels.tolist() == [0, 1]
    assert studies["3%0.png"].images["image"].shape == (32, 32, 1)


def test_panels_of_a_figure_are_one_patient_in_one_split(root: Path) -> None:
    splits = defaultdict(set)
    for study in all_studies(COVCTR.open(root)):
        assert study.patient_id == figure_of(study.id)
        splits[study.patient_id].add(study.split)
    assert len(splits) == 20
    assert all(len(parts) == 1 for parts in splits.values())


def test_the_papers_split_is_by_row_and_says_what_it_tears_apart(root: Path) -> None:
    dataset = COVCTR.open(root, profile="micar-vlmoe")
    names = [f"{n}%0.png" for n in range(20)] + [f"{n}%1.jpg" for n in range(4)]
    assert {study.id: study.split for study in all_studies(dataset)} == dict(
        zip(names, drawn(25, 9876, 0.2, 0.5)[:24], strict=True)
    )
    info = dataset.info
    assert (info.tokenizer, info.reference_words, info.report_words, info.rare_words) == ("jury", None, 78, 3)
    whole, report = micar_text(caption_trees.sentence(0)), dataset.studies("train")[0].report
    assert report == " ".join([*whole.split()[:-2], "<unk>", "."])  # the last word is found nowhere else
    examination = examine("cov-ctr", root, {"profile": "micar-vlmoe"})
    (torn,) = [problem for problem in examination.problems if problem.kind == "figure-in-two-splits"]
    assert torn.message.endswith("of 20 figures have panels in more than one split; the studies stand")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Clear, no effusion.", "clear , no effusion ."),
        ('Ground-glass (left); "small"', "groundglass left , small ."),
        ("", ""),
    ],
)
def test_cleaning_of_the_papers_code(text: str, cleaned: str) -> None:
    assert micar_text(text) == cleaned


@pytest.mark.parametrize(
    ("count", "seed", "held_out", "test"), [(726, 9876, 0.2, 0.5), (744, 1234, 0.3, 0.66)]
)
def test_a_drawn_split_is_that_of_scikit_learn(count: int, seed: int, held_out: float, test: float) -> None:
    from sklearn.model_selection import train_test_split

    _, rest = train_test_split(range(count), test_size=held_out, shuffle=True, random_state=seed)
    expected = dict(
        zip(("val", "test"), train_test_split(rest, test_size=test, random_state=seed), strict=True)
    )
    splits = drawn(count, seed, held_out, test)
    for name, rows in expected.items():
        assert {row for row in range(count) if splits[row] == name} == set(rows)


def test_a_split_by_group_keeps_groups_and_shares() -> None:
    groups = [str(number // 3) for number in range(900)]
    splits = by_group(groups, 0, 0.1, 0.1)
    assert all(len({splits[3 * g + n] for n in range(3)}) == 1 for g in range(300))
    assert [round(splits.count(split) / 900, 1) for split in SPLITS] == [0.8, 0.1, 0.1]
    smaller = by_group(groups[3:], 0, 0.1, 0.1)
    assert np.mean([a == b for a, b in zip(splits[3:], smaller, strict=True)]) > 0.98


@pytest.mark.parametrize("layout", ["as handed out", "one folder up", "renamed"])
def test_layouts(root: Path, layout: str) -> None:
    before = COVCTR.open(root).info.fingerprint
    if layout == "renamed":
        (root / "reports_ZH_EN.csv").rename(root / "reports.csv")
        (root / "images").mkdir()
        for path in [*root.glob("*.png"), *root.glob("*.jpg")]:
            path.rename(root / "images" / path.name)
    opened = COVCTR.open(root.parent if layout == "one folder up" else root)
    assert opened.info.fingerprint == before


def test_what_is_wrong_is_named(root: Path) -> None:
    table = root / "reports_ZH_EN.csv"
    caption_trees.rewrite(table, lambda rows: rows[0].update(COVID="2"))
    with pytest.raises(HarnessError, match=r"reports_ZH_EN\.csv, line 2: COVID is neither 0 nor 1"):
        COVCTR.open(root)
    caption_trees.rewrite(table, lambda rows: rows[0].update(COVID="1", image_id="../x.png"))
    with pytest.raises(HarnessError, match=r"line 2: .*x\.png' is not a path inside the root"):
        COVCTR.open(root)
    caption_trees.rewrite(table, lambda rows: [row.pop("reports_En") for row in rows])
    with pytest.raises(HarnessError, match="line 1: no column reports_En"):
        COVCTR.open(root)
    table.unlink()
    with pytest.raises(HarnessError, match=r"no reports_ZH_EN\.csv"):
        COVCTR.open(root)
    with pytest.raises(UnknownNameError, match="unknown profile 'micar'"):
        COVCTR.open(root, profile="micar")
