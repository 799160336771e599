"""IU X-Ray as Open-i releases it: names of files, splits, and files that are not in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.types import Task
from harness.datasets.open_i import OpenI
from harness.datasets.readers.records import Listing
from harness.evaluation.run import run_serially
from tests.helpers import images, trees
from tests.helpers.toys import Quiet

FIRST = "CXR2384"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.open_i(tmp_path / "open-i")


def listed(root: Path, profile: str = "default") -> Listing:
    return OpenI.list_root(root, OpenI.profiles[profile])


def change(root: Path, old: str, new: str) -> None:
    path = root / "ecgen-radiology" / "2384.xml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_studies_are_those_of_r2gens_split(root: Path) -> None:
    dataset = OpenI.open(root, image_size=32)
    assert dataset.info.tasks == {Task.REPORT, Task.DIAGNOSE, Task.SYNTHESIZE}
    assert [len(dataset.studies(split)) for split in ("train", "val", "test")] == [6, 2, 3]
    (study,) = [one for one in dataset.studies("train") if one.patient_id == FIRST]
    assert study.id == "CXR2384_IM-0942"
    assert study.report == trees.words(0)
    assert study.context
    assert "indication: female with chest pain" in study.context
    assert set(study.images) == {"frontal", "lateral"}
    assert study.labels is not None
    left_out, *counts = listed(root).problems
    assert (left_out.kind, left_out.fatal) == ("not-in-split", False)
    messages = [problem.message for problem in counts]
    assert messages == ["12 report files, the release has 3,955", "24 images, the release has 7,470"]


def test_an_empty_indication_is_a_missing_context(root: Path) -> None:
    lacking = [record.id for record in listed(root).records if record.context is None]
    assert len(lacking) == 1


def test_all_studies_have_a_place_in_profile_all(root: Path) -> None:
    records = listed(root, "all").records
    assert len(records) == 12
    (other,) = [record for record in records if record.patient_id == "CXR9999"]
    assert other.split in ("train", "val", "test")
    assert {problem.kind for problem in listed(root, "all").problems} == {"count-differs"}


def test_images_as_kaggle_names_them(root: Path) -> None:
    folder = root / "images" / "images_normalized"
    folder.mkdir(parents=True)
    before = [record.images["frontal"].digest for record in listed(root).records]
    for path in (root / "NLMCXR_png").iterdir():
        path.rename(folder / f"{path.stem.removeprefix('CXR')}.dcm.png")
    assert [record.images["frontal"].digest for record in listed(root).records] == before


def test_dicom_files_are_found_by_patient(root: Path) -> None:
    for path in list((root / "NLMCXR_png").iterdir()):
        number = path.stem.removeprefix("CXR").partition("_")[0]
        folder = root / "NLMCXR_dcm" / number
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink()
        wide = path.stem.endswith("1001")
        shape = (40, 60) if wide else (60, 40)
        values = images.ramp(*shape, top=4095).astype(np.uint16)
        images.dicom(folder / f"{path.stem.removeprefix('CXR')}.dcm", values, BitsStored=12, HighBit=11)
    listed_images = listed(root).records[0].images
    assert {file.path.suffix for file in listed_images.values()} == {".dcm"}
    study = OpenI.open(root, image_size=32).studies("test")[0]
    assert study.images["lateral"].shape == (32, 32, 1)


def test_the_first_patients_images_have_its_number_twice(tmp_path: Path) -> None:
    root = trees.open_i(tmp_path)
    names = ("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001")
    for number, name in enumerate(names):
        trees.image(root / "NLMCXR_png" / f"{name}.png", number)
    text = trees.OPEN_I_REPORT.format(
        uid="CXR1",
        indication="cough",
        findings=trees.words(1),
        mesh="normal",
        images="".join(f'<parentImage id="{name}"/>' for name in names),
    )
    (root / "ecgen-radiology" / "1.xml").write_text(text)
    (record,) = [record for record in listed(root).records if record.patient_id == "CXR1"]
    assert record.id == "CXR1_1_IM-0001"
    assert {file.path.stem for file in record.images.values()} == set(names)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</eCitation>", "", r"2384\.xml, line \d+: is no well-formed XML"),
        ('<uId id="CXR2384"/>', "", r"2384\.xml: has no uId"),
        (
            "-1001",
            "-7001",
            r"2384\.xml: CXR2384: no image CXR2384_IM-0000-7001 \(the download is incomplete\)",
        ),
        ('"CXR2384"', '"CXR2926"', r"CXR2926_IM-1328 is a second time in the data"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(root: Path, old: str, new: str, message: str) -> None:
    change(root, old, new)
    with pytest.raises(HarnessError, match=message):
        OpenI.open(root)


def test_text_that_is_not_utf8_is_named(root: Path) -> None:
    path = root / "ecgen-radiology" / "2384.xml"
    path.write_bytes(path.read_bytes().replace(b"None.", b"N\xff."))
    with pytest.raises(HarnessError, match=r"2384\.xml, line \d+: is no well-formed XML"):
        OpenI.open(root)


def test_a_report_that_links_out_is_refused(root: Path, tmp_path: Path) -> None:
    path = root / "ecgen-radiology" / "2384.xml"
    path.rename(tmp_path / "outside.xml")
    path.symlink_to(tmp_path / "outside.xml")
    with pytest.raises(HarnessError, match=r"leads out of the root"):
        OpenI.open(root)


@pytest.mark.parametrize(("old", "kind"), [("findings", "empty-report"), ("images", "no-image")])
def test_studies_without_findings_or_images_are_left_out(root: Path, old: str, kind: str) -> None:
    from harness.datasets.readers.report_dataset import check_records

    change(root, trees.words(0) if old == "findings" else '<parentImage id="CXR2384_IM-0000-1001"/>', "")
    if old == "images":
        change(root, '<parentImage id="CXR2384_IM-0000-2001"/>', "")
    (problem,) = check_records(listed(root))
    assert (problem.kind, problem.fatal) == (kind, False)
    assert len(OpenI.open(root).studies("train")) == 5


def test_a_wrong_root_is_told_what_was_expected(root: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"no report files \(expected ecgen-radiology/\*\.xml"):
        OpenI.open(tmp_path)
    (root / "NLMCXR_png").rename(root / "elsewhere")
    with pytest.raises(HarnessError, match=r"no images \(expected"):
        OpenI.open(root)


def test_a_run_trains_and_scores(root: Path, tmp_path: Path) -> None:
    config = RunSettings.of(
        methods=("retrieval",),
        dataset="open-i",
        root=root,
        missing=(0.5,),
        drop="lateral",
        mask_seeds=1,
        metrics=("rouge_l", "auroc"),
        store=tmp_path / "store",
        set={"open-i": {"image_size": 32}},
    )
    rows, succeeded = run_serially(config, Quiet())
    assert succeeded
    assert "rouge_l" in {row.metric for row in rows if row.status == "ok"}
