"""IU X-Ray in R2Gen's layout: views, context, labels, profiles, and a folder that is not in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.types import CHEXPERT_LABELS, Task
from harness.datasets.images.pixels import ImageFile
from harness.datasets.iu import reports
from harness.datasets.iu_xray import IUXRay
from harness.datasets.readers.profiles import IU_PROFILES
from harness.datasets.readers.records import Listing
from harness.datasets.readers.report_dataset import check_records
from harness.datasets.readers.views import Shot, by_shape
from harness.evaluation.run import run_serially
from tests.helpers import trees
from tests.helpers.toys import Quiet


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.iu_xray(tmp_path / "iu_xray")


def edit(root: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = root / "annotation.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return root


def listed(root: Path) -> Listing:
    return IUXRay.list_root(root, IUXRay.profiles["default"])


def test_info_and_studies(root: Path) -> None:
    dataset = IUXRay.open(root, image_size=64)
    info = dataset.info
    assert info.tasks == {Task.REPORT, Task.DIAGNOSE, Task.SYNTHESIZE}
    assert info.modalities == ("frontal", "lateral", "context")
    assert (info.label_names, info.multilabel, info.tokenizer) == (CHEXPERT_LABELS, True, "r2gen-iu")
    assert info.reference_words is None
    assert [len(dataset.studies(split)) for split in ("train", "val", "test")] == [6, 2, 3]
    study = dataset.studies("train")[0]
    assert (study.id, study.patient_id) == ("CXR2384_IM-0942", "CXR2384")
    assert study.report == trees.words(1)
    assert study.images["frontal"].shape == (64, 64, 1)
    assert "Degenerative" not in (study.context or "")
    assert study.context
    assert study.context.startswith("age ")
    assert set(study.attributes) == {"age", "sex", "view_position"}


def test_profiles_change_text_and_length_of_references(root: Path) -> None:
    assert IUXRay.open(root, profile="r2gen").info.reference_words == 60
    dia = IUXRay.open(root, profile="dia")
    assert (dia.info.reference_words, dia.info.tokenizer) == (50, "without-marks")
    assert dia.studies("train")[0].report == trees.words(1).lower().replace(".", " .")
    both = IUXRay.open(root, profile="findings-impression").studies("train")[0].report
    assert both is not None
    assert both.startswith(trees.words(1) + " ")
    assert IUXRay.open(root).info.fingerprint == IUXRay.open(root, profile="r2gen").info.fingerprint
    assert IUXRay.open(root).info.fingerprint != dia.info.fingerprint


def test_images_as_units_leak_and_the_leak_is_counted(root: Path) -> None:
    """DiA's split adds up to images: a report may be in training by its other view."""
    with pytest.raises(HarnessError, match="is also in"):
        IUXRay.open(root, profile="dia-images", image_size=32)
    dataset = IUXRay.open(root, profile="dia-images", image_size=32, allow_leaks=True)
    splits = {split: dataset.studies(split) for split in ("train", "val", "test")}
    assert {split: len(studies) for split, studies in splits.items()} == {"train": 14, "val": 2, "test": 5}
    assert all(len(study.images) == 1 for studies in splits.values() for study in studies)
    of_training = {study.id.rpartition("-")[0] for study in splits["train"]}
    for study in splits["test"]:
        shared = study.id.rpartition("-")[0] in of_training
        assert study.attributes["study_in_training"] == ("yes" if shared else "no")
    shared = sum(study.attributes["study_in_training"] == "yes" for study in splits["test"])
    listing = IUXRay.list_root(root, IU_PROFILES["dia-images"])
    (problem,) = [each for each in listing.problems if each.kind == "study-in-two-splits"]
    assert problem.message.startswith(f"{shared} of 5 test images")


def test_a_link_to_the_folder_will_do(root: Path, tmp_path: Path) -> None:
    (root / "images").rename(tmp_path / "elsewhere")
    (root / "images").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(root)
    assert len(IUXRay.open(tmp_path / "link").studies("train")) == 6


def test_studies_that_the_report_files_lack_have_no_context(root: Path) -> None:
    edit(root, lambda a: a["train"][0].update(id="CXR9999_IM-0001"))
    listing = listed(root)
    assert listing.records[0].context is None
    assert listing.records[0].labels is None
    (problem,) = listing.problems
    assert (problem.kind, problem.fatal) == ("no-context", False)
    assert Task.DIAGNOSE not in IUXRay.open(root).info.tasks
    with pytest.raises(HarnessError, match="no findings and impression as profile findings-impression wants"):
        IUXRay.open(root, profile="findings-impression")


def shot(name: str, position: str = "", rows: int = 0, columns: int = 0) -> Shot:
    return Shot(name, ImageFile(Path(name), "row", name), position, rows, columns)


@pytest.mark.parametrize(
    ("shots", "expected"),
    [
        ([shot("a"), shot("b")], {"frontal": "a", "lateral": "b"}),
        ([shot("a", "LL"), shot("b", "PA")], {"frontal": "b", "lateral": "a"}),
        ([shot("a", "PA", 9, 8), shot("b", "PA", 8, 9)], {"frontal": "b", "lateral": "a"}),
        ([shot("a", "", 9, 8), shot("b", "", 8, 9)], {"frontal": "b", "lateral": "a"}),
        ([shot("a", "PA", 9, 8), shot("b", "PA", 9, 8)], {"frontal": "a", "lateral": "b"}),
        ([shot("a", "AP"), shot("b", "PA"), shot("c", "LATERAL")], {"frontal": "b", "lateral": "c"}),
        ([shot("a", "LATERAL")], {"lateral": "a"}),
        ([shot("a", "PA", 9, 8)], {"frontal": "a"}),
        ([], {}),
    ],
)
def test_which_image_is_which_view(shots: list[Shot], expected: dict[str, str]) -> None:
    assert {view: file.digest for view, file in by_shape(shots).items()} == expected


def test_one_image_is_a_missing_view(root: Path) -> None:
    edit(root, lambda a: a["train"][0].update(image_path=a["train"][0]["image_path"][:1]))
    assert IUXRay.open(root).studies("train")[0].modalities == {"frontal", "context"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update({"    ": a.pop("test")}), r"annotation\.json: unknown split '    '"),
        (lambda a: a.update({"tests": a.pop("test")}), r"unknown split 'tests' \(did you mean test"),
        (
            lambda a: a["val"][1].update(split="test"),
            r"val entry 2: .* stands under val but says split 'test'",
        ),
        (lambda a: a["train"][2].pop("report"), r"annotation\.json, train entry 3: has no report"),
        (lambda a: a["train"][2].update(report=7), r"train entry 3: report is int"),
        (lambda a: a["train"].append("x"), r"train entry 7: is no object"),
        (lambda a: a.update(val={}), r"annotation\.json, val: holds no list"),
        (lambda a: a["train"][0].update(image_path=[1]), r"train entry 1: image_path holds something else"),
        (
            lambda a: a["train"][0].update(image_path=["../../secret.png"]),
            r"train entry 1: '../../secret.png' is not a path inside the root",
        ),
        (lambda a: a["train"][0].update(image_path=["x/0.png"]), r"train entry 1: no file .*x/0\.png"),
        (lambda a: a["train"].append(a["train"][0]), r"train entry 7: .* is a second time in the data"),
        (
            lambda a: a["test"][0].update(id=a["train"][0]["id"] + "-b"),
            r"test entry 1: patient CXR2384 of test is also in train",
        ),
        (lambda a: a["train"][0].update(id="../x"), r"id '../x' cannot name a file"),
        (lambda a: a.pop("val"), r"the val split has no studies"),
        (lambda a: a["val"][0].update(report="a \ud800 b"), r"val entry 1: .* has half a character"),
        (lambda a: a["val"][0].update(image_path=["x" * 300 + "/0.png"]), r"no file .*File name too long"),
    ],
)
def test_what_is_wrong_is_named(root: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit(root, change)
    with pytest.raises(HarnessError, match=message):
        IUXRay.open(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"train": [', r"annotation\.json, line 1, column 12: not valid JSON"),
        (b"[" * 100_000, r"annotation\.json: not readable JSON: RecursionError"),
        (b"[]", r"annotation\.json: holds no object"),
        (b'{"train": "\xff"}', r"annotation\.json: not UTF-8 text at byte 11"),
    ],
)
def test_a_damaged_annotation_is_named(root: Path, content: bytes, message: str) -> None:
    (root / "annotation.json").write_bytes(content)
    with pytest.raises(HarnessError, match=message):
        IUXRay.open(root)


def test_all_problems_are_listed_not_only_the_first(root: Path) -> None:
    def break_three(content: dict[str, Any]) -> None:
        content["train"][0]["image_path"] = ["../a.png"]
        content["train"][1].pop("id")
        content["val"][0]["report"] = " "

    listing = listed(edit(root, break_three))
    problems = [*listing.problems, *check_records(listing)]
    assert [problem.kind for problem in problems] == ["path-outside-root", "missing-field", "empty-report"]
    message = " ".join(problem.message for problem in problems)
    assert not any(sentence in message for sentence in trees.SENTENCES)


def test_a_link_out_of_the_images_is_refused(root: Path, tmp_path: Path) -> None:
    trees.image(tmp_path / "outside.png", 1)
    image = root / "images" / "CXR2384_IM-0942" / "0.png"
    image.unlink()
    image.symlink_to(tmp_path / "outside.png")
    with pytest.raises(HarnessError, match="is a link that leads out of the root"):
        IUXRay.open(root)


def test_a_image_with_a_broken_header_is_listed_and_named_when_read(root: Path) -> None:
    (root / "images" / "CXR2384_IM-0942" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    study = IUXRay.open(root, image_size=32).studies("train")[0]
    assert study.images["frontal"].shape == (32, 32, 1)
    with pytest.raises(HarnessError, match=r"train entry 1: .*CXR2384_IM-0942/1\.png"):
        study.images["lateral"]


def test_a_wrong_root_is_told_what_was_expected(root: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"no annotation\.json .*R2Gen's annotation\.json and images/"):
        IUXRay.open(tmp_path)
    (root / "images").rename(root / "elsewhere")
    with pytest.raises(HarnessError, match=r"images: no such folder"):
        IUXRay.open(root)


def test_published_counts_are_those_of_r2gen() -> None:
    ids = reports.split_ids()
    assert {split: len(ids[split]) for split in ids} == {"train": 2069, "val": 296, "test": 590}


def test_a_run_trains_and_scores(root: Path, tmp_path: Path) -> None:
    config = RunSettings.of(
        methods=("retrieval",),
        dataset="iu-xray",
        root=root,
        missing=(0.5,),
        drop="context",
        mask_seeds=1,
        metrics=("bleu", "rouge_l"),
        store=tmp_path / "store",
        set={"iu-xray": {"image_size": 32, "profile": "r2gen"}},
    )
    rows, succeeded = run_serially(config, Quiet())
    assert succeeded
    measured = [row for row in rows if row.status == "ok"]
    assert {row.metric for row in measured} >= {"bleu_4", "rouge_l"}
    assert all("ref:60" in row.signature for row in measured)
