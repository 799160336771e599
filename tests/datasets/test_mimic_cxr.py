"""MIMIC-CXR in both layouts: views, labels, context, records an image, and a release that is not in order."""

from __future__ import annotations

import gzip
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.types import CHEXPERT_LABELS, Task
from harness.datasets.mimic_cxr import MIMICCXR
from harness.datasets.readers import section_cache, sections
from harness.datasets.readers.records import Listing, ReportRecord
from harness.evaluation.run import run_serially
from tests.helpers import images, trees
from tests.helpers.toys import Quiet

METADATA, SPLIT = "mimic-cxr-2.0.0-metadata.csv", "mimic-cxr-2.0.0-split.csv"
FIRST = trees.mimic_rows()[0]
FOLDER = trees.mimic_folder(FIRST)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.mimic_cxr(tmp_path / "mimic")


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    return trees.mimic_r2gen(tmp_path / "r2gen")


def listed(root: Path, profile: str = "default") -> Listing:
    return MIMICCXR.list_root(root, MIMICCXR.profiles[profile])


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_studies_of_physionets_layout(root: Path) -> None:
    dataset = MIMICCXR.open(root, image_size=32)
    info = dataset.info
    assert info.tasks == {Task.REPORT, Task.DIAGNOSE, Task.SYNTHESIZE}
    assert info.modalities == ("frontal", "lateral", "context")
    assert (info.tokenizer, info.reference_words) == ("r2gen-mimic", None)
    assert [len(dataset.studies(split)) for split in ("train", "val", "test")] == [6, 2, 3]
    study = dataset.studies("train")[0]
    assert (study.id, study.patient_id) == ("s50000000", "p10000000")
    assert study.report == trees.words(0)
    assert study.context == "age 54, sex female. indication: ___ year old with cough"
    assert study.attributes == {"age": 54.0, "sex": "female", "view_position": "PA"}
    assert study.images["frontal"].shape == (32, 32, 1)
    without_context, alone = dataset.studies("test")[1:]
    assert without_context.context is None
    assert alone.modalities == {"frontal", "context"}
    assert alone.attributes["view_position"] == "AP"


def test_counts_of_the_tables_are_held_against_the_release(root: Path) -> None:
    messages = [problem.message for problem in listed(root).problems if problem.kind == "count-differs"]
    assert messages == ["21 images, the release has 377,110", "11 studies, the release has 227,835"]
    assert listed(root, "r2gen").published["train"] == 270790
    assert "train" not in listed(root).published


def test_labels_are_named_and_uncertain_is_positive(root: Path) -> None:
    study = listed(root).records[0]
    values = dict(zip(sorted(CHEXPERT_LABELS), (("1.0", "0.0", "-1.0", "") * 4)[:14], strict=True))
    expected = [float(values[name] in ("1.0", "-1.0")) for name in CHEXPERT_LABELS]
    assert study.labels is not None
    assert study.labels.dtype == np.float32
    assert study.labels.tolist() == expected


def test_negbio_stands_in_for_chexpert(root: Path) -> None:
    before = listed(root).records[0].labels
    (root / "mimic-cxr-2.0.0-chexpert.csv.gz").rename(root / "mimic-cxr-2.0.0-negbio.csv.gz")
    assert np.array_equal(listed(root).records[0].labels, before)
    (root / "mimic-cxr-2.0.0-negbio.csv.gz").unlink()
    assert MIMICCXR.open(root).info.tasks == {Task.REPORT, Task.SYNTHESIZE}


def test_a_record_an_image_in_profile_r2gen(root: Path) -> None:
    dataset = MIMICCXR.open(root, profile="r2gen")
    assert dataset.info.reference_words == 100
    assert [len(dataset.studies(split)) for split in ("train", "val", "test")] == [12, 4, 5]
    lateral, frontal = dataset.studies("train")[:2]
    assert (list(lateral.images), list(frontal.images)) == (["lateral"], ["frontal"])
    assert lateral.report == frontal.report
    assert lateral.patient_id == frontal.patient_id
    assert Task.SYNTHESIZE not in dataset.info.tasks


def test_the_frontal_view_is_pa_before_ap_then_by_id(root: Path) -> None:
    rows = [line.split(",") for line in (root / METADATA).read_text().splitlines()]
    folder = root / "files" / FOLDER
    for name, position in (("0-ap", "AP"), ("zz-pa", "PA"), ("1-swim", "SWIMMERS"), ("2-none", "")):
        trees.image(folder / f"{name}.jpg", len(name))
        rows.append([name, *rows[1][1:3], position, "21800506"])
        (root / SPLIT).open("a").write(f"{name},{FIRST['study_id']},{FIRST['subject_id']},train\n")
    (root / METADATA).write_text("\n".join(map(",".join, rows)) + "\n")
    images = listed(root).records[0].images
    assert images["frontal"].path.stem == trees.mimic_rows()[1]["dicom_id"]
    assert images["lateral"].path.stem == FIRST["dicom_id"]


def test_reports_in_a_zip_and_tables_gzipped(root: Path) -> None:
    before = [record.report for record in listed(root).records]
    with zipfile.ZipFile(root / "mimic-cxr-reports.zip", "w") as archive:
        for path in sorted((root / "files").rglob("*.txt")):
            archive.write(path, path.relative_to(root))
            path.unlink()
    (root / f"{METADATA}.gz").write_bytes(gzip.compress((root / METADATA).read_bytes()))
    (root / METADATA).unlink()
    assert [record.report for record in listed(root).records] == before


def test_images_and_reports_in_their_own_releases(root: Path, tmp_path: Path) -> None:
    both = tmp_path / "physionet.org" / "files"
    root.rename(tmp_path / "whole")
    jpg, texts = both / "mimic-cxr-jpg" / "2.1.0", both / "mimic-cxr" / "2.1.0"
    jpg.parent.mkdir(parents=True)
    (tmp_path / "whole").rename(jpg)
    for path in sorted((jpg / "files").rglob("*.txt")):
        target = texts / path.relative_to(jpg)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    assert len(MIMICCXR.open(tmp_path).studies("train")) == 6


def test_dicom_files_stand_in_for_jpg(root: Path) -> None:
    values = images.ramp(top=4095).astype(np.uint16)
    for path in list((root / "files").rglob("*.jpg")):
        path.unlink()
        images.dicom(path.with_suffix(".dcm"), values, BitsStored=12, HighBit=11)
    assert "PhysioNet's layout, .dcm images" in listed(root).problems[0].message
    study = MIMICCXR.open(root, image_size=32).studies("train")[0]
    shown = study.images["frontal"][:, :, 0].astype(int)
    assert shown.shape == (32, 32)
    assert shown[:, 0].mean() < 20
    assert shown[:, -1].mean() > 230


def test_a_truncated_image_is_named_when_it_is_read(root: Path) -> None:
    images.truncated(root / "files" / FOLDER / f"{FIRST['dicom_id']}.jpg")
    study = MIMICCXR.open(root, image_size=32).studies("train")[0]
    assert study.images["frontal"].shape == (32, 32, 1)
    with pytest.raises(HarnessError, match=rf"metadata\.csv, line 2: .*{FIRST['dicom_id']}\.jpg"):
        study.images["lateral"]


def test_groups_that_were_not_downloaded_are_left_out(root: Path) -> None:
    other = FIRST["dicom_id"].replace("0", "f")
    (root / METADATA).open("a").write(f"{other},19000000,59000000,PA,21800506\n")
    notes = {problem.kind: problem for problem in listed(root).problems}
    assert notes["not-downloaded"].message == "1 studies are left out: p19/ is not there"
    assert not notes["not-downloaded"].fatal
    assert len(MIMICCXR.open(root).studies("train")) == 6


def test_a_study_without_findings_is_left_out(root: Path) -> None:
    change(root / "files" / f"{FOLDER}.txt", trees.words(0), "")
    assert len(MIMICCXR.open(root).studies("train")) == 5
    assert len(MIMICCXR.open(root, profile="impression").studies("train")) == 6


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (SPLIT, "train", "training", r"split\.csv, line 2: .* is of unknown split 'training'"),
        (SPLIT, ",train", ",test", r"metadata\.csv, line 2: images of s50000000 are in test and train"),
        (SPLIT, "dicom_id", "dicom", r"split\.csv: no column dicom_id \(it has dicom,"),
        (METADATA, "ViewPosition", "View", r"metadata\.csv: no column ViewPosition"),
        (METADATA, "10000000", "../../x", r"metadata\.csv, line 2: subject '../../x'"),
        (METADATA, "00000000-00000007", "../../../x", r"is not a path inside the root"),
        (METADATA, "00000000-00000007", "77777777-0", r"metadata\.csv, line 2: no file .*77777777-0"),
        (
            SPLIT,
            "00000000-00000007",
            "77777777-0",
            r"metadata\.csv, line 2: image 00000000-\S+ has no row in",
        ),
        (METADATA, ",21800506", "", r"metadata\.csv, line 2: 4 cells, expected 5"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(root: Path, file: str, old: str, new: str, message: str) -> None:
    change(root / file, old, new)
    with pytest.raises(HarnessError, match=message):
        MIMICCXR.open(root)


def test_a_label_of_another_value_is_named(root: Path) -> None:
    path = root / "mimic-cxr-2.0.0-chexpert.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(text.replace(",-1.0", ",2.0", 1).encode()))
    with pytest.raises(
        HarnessError, match=r"chexpert\.csv\.gz, line 2: s50000000 has a label of value '2\.0'"
    ):
        MIMICCXR.open(root)


def test_a_study_without_labels_is_left_out(root: Path) -> None:
    path = root / "mimic-cxr-2.0.0-chexpert.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress("\n".join([lines[0], *lines[2:]]).encode()))
    kinds = {problem.kind for problem in listed(root).problems}
    assert kinds == {"layout", "no-labels", "count-differs"}
    assert len(MIMICCXR.open(root).studies("train")) == 5


def absent(path: Path) -> None:
    path.unlink()


def not_utf8(path: Path) -> None:
    path.write_bytes(b" FINDINGS: \xff secret words.")


def link_out(path: Path) -> None:
    outside = path.parents[5] / "outside.txt"
    path.rename(outside)
    path.symlink_to(outside)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (absent, r"s50000000\.txt: no file .*s50000000\.txt"),
        (not_utf8, r"s50000000\.txt: not UTF-8 text at byte 11"),
        (link_out, r"s50000000\.txt: .* is a link that leads out"),
    ],
)
def test_a_report_that_cannot_be_read_is_named(
    root: Path, harm: Callable[[Path], None], message: str
) -> None:
    harm(root / "files" / f"{FOLDER}.txt")
    with pytest.raises(HarnessError, match=message) as caught:
        MIMICCXR.open(root)
    assert "secret" not in str(caught.value)


def test_a_leak_is_refused_unless_allowed(root: Path) -> None:
    last = trees.mimic_rows()[-1]
    moved = {**last, "subject_id": FIRST["subject_id"]}
    change(
        root / METADATA,
        f"{last['dicom_id']},{last['subject_id']}",
        f"{last['dicom_id']},{FIRST['subject_id']}",
    )
    old, new = root / "files" / trees.mimic_folder(last), root / "files" / trees.mimic_folder(moved)
    old.rename(new)
    old.with_name(old.name + ".txt").rename(new.with_name(new.name + ".txt"))
    with pytest.raises(HarnessError, match="patient p10000000 of test is also in train"):
        MIMICCXR.open(root)
    assert len(MIMICCXR.open(root, allow_leaks=True).studies("test")) == 3


def test_r2gens_layout_without_tables(annotated: Path) -> None:
    dataset = MIMICCXR.open(annotated, profile="r2gen", image_size=32)
    assert dataset.info.tasks == {Task.REPORT}
    assert dataset.info.modalities == ("frontal",)
    assert [len(dataset.studies(split)) for split in ("train", "val", "test")] == [12, 4, 5]
    assert dataset.studies("train")[0].patient_id == "p10000000"
    assert [problem.kind for problem in listed(annotated).problems] == ["layout", "views-unknown"]
    with pytest.raises(HarnessError, match="has no impression, which profile impression wants"):
        MIMICCXR.open(annotated, profile="impression")


def test_r2gens_layout_with_the_releases_tables(annotated: Path) -> None:
    trees.mimic_tables(annotated)
    trees.mimic_texts(annotated)
    dataset = MIMICCXR.open(annotated)
    assert [len(dataset.studies(split)) for split in ("train", "val", "test")] == [6, 2, 3]
    study = dataset.studies("train")[0]
    assert (study.id, set(study.images)) == ("s50000000", {"frontal", "lateral"})
    assert study.context == "age 54, sex female. indication: ___ year old with cough"
    assert study.labels is not None
    per_image = MIMICCXR.open(annotated, profile="r2gen")
    assert len(per_image.studies("train")) == 12


def test_r2gens_ids_may_be_in_the_paths_alone(annotated: Path) -> None:
    path = annotated / "annotation.json"
    content = json.loads(path.read_text())
    for entries in content.values():
        for entry in entries:
            del entry["study_id"], entry["subject_id"]
    path.write_text(json.dumps(content))
    assert listed(annotated).records[0].patient_id == "p10000000"


def test_a_wrong_root_is_told_what_was_expected(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        HarnessError, match=r"neither R2Gen's layout nor PhysioNet's \(expected annotation\.json"
    ):
        MIMICCXR.open(tmp_path / "mimic" / "files")
    (root / SPLIT).rename(root / "splits.csv")
    with pytest.raises(HarnessError, match=r"no mimic-cxr-2\.0\.0-split\.csv"):
        MIMICCXR.open(root)
    (root / "splits.csv").rename(root / SPLIT)
    for path in (root / "files").rglob("*.txt"):
        path.unlink()
    with pytest.raises(HarnessError, match="no report texts"):
        MIMICCXR.open(root)


def test_a_root_without_images_is_named(root: Path) -> None:
    for path in (root / "files").rglob("*.jpg"):
        path.unlink()
    with pytest.raises(HarnessError, match="no images of the first studies"):
        MIMICCXR.open(root)


def test_mistyped_headings_and_headings_inside_lines_leave_no_findings_in_a_context(root: Path) -> None:
    first, second, *_ = sorted((root / "files").rglob("*.txt"))
    text = first.read_text()
    first.write_text(text.replace("FINDINGS:", "FINDNGS:").replace("IMPRESSION:", "IMPRSSION:"))
    second.write_text("CLINICAL HISTORY: Fever. FINDINGS: The lungs are clear. IMPRESSION: Normal.\n")
    listing = listed(root)
    records = {record.id: record for record in listing.records}
    assert records[first.stem].report == trees.words(0)
    assert records[second.stem].report == "The lungs are clear."
    assert records[second.stem].context == "age 54, sex male. history: Fever"
    remarks = {problem.kind: problem for problem in listing.problems}
    assert f"{first.stem} is the first" in remarks["mistyped-heading"].message
    assert f"{second.stem} is the first" in remarks["heading-inside-line"].message


def leak(root: Path) -> None:
    change(root / SPLIT, "validate", "test")
    change(root / SPLIT, "validate", "test")
    for row in trees.mimic_rows()[12:14]:
        change(root / METADATA, f"{row['dicom_id']},{row['subject_id']}", f"{row['dicom_id']},10000000")
        source = root / "files" / trees.mimic_folder(row)
        target = root / "files" / "p10" / "p10000000" / source.name
        if source.is_dir():
            source.rename(target)
            source.with_name(source.name + ".txt").rename(target.with_name(target.name + ".txt"))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (leak, "patient p10000000 of test is also in train"),
        (
            lambda root: images.truncated(root / "files" / FOLDER / f"{FIRST['dicom_id']}.jpg"),
            FIRST["dicom_id"],
        ),
    ],
)
def test_a_run_that_is_refused_leaves_no_results(
    root: Path, tmp_path: Path, harm: Callable[[Path], object], message: str
) -> None:
    harm(root)
    options = {"mimic-cxr": {"image_size": 32}}
    store = tmp_path / "store"
    config = RunSettings.of(
        methods=("retrieval",), dataset="mimic-cxr", root=root, metrics=("bleu",), store=store, set=options
    )
    with pytest.raises(HarnessError, match=message):
        run_serially(config, Quiet())
    left = [path for path in store.rglob("*") if path.is_file()]
    assert not [path for path in left if path.suffix in (".tmp", ".jsonl", ".npy", ".npz")], left


def test_what_is_kept_of_credentialed_data_is_the_users_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, store = tmp_path / "cache", tmp_path / "store"
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    before = {path for path in tmp_path.rglob("*") if cache not in path.parents}
    options = {"mimic-cxr": {"image_size": 32}}
    config = RunSettings.of(
        methods=("retrieval",), dataset="mimic-cxr", root=root, metrics=("bleu",), store=store, set=options
    )
    run_serially(config, Quiet())
    new = set(tmp_path.rglob("*")) - before
    outside = {path for path in new if not any(path.is_relative_to(home) for home in (cache, store))}
    assert not outside
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in new if path.is_dir()}
    assert {path: oct(mode) for path, mode in modes.items() if mode != 0o700} == {}


@pytest.mark.parametrize("layout", ["root", "annotated"])
def test_a_run_trains_and_scores(layout: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    config = RunSettings.of(
        methods=("retrieval",),
        dataset="mimic-cxr",
        root=request.getfixturevalue(layout),
        metrics=("bleu",),
        store=tmp_path / "store",
        set={"mimic-cxr": {"image_size": 32, "profile": "r2gen"}},
    )
    rows, succeeded = run_serially(config, Quiet())
    assert succeeded
    measured = [row for row in rows if row.status == "ok"]
    assert measured
    assert all("tok:r2gen-mimic|ref:100" in row.signature for row in measured)


def test_sections_are_found_once_per_text(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lmdb")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    calls: list[str] = []
    monkeypatch.setattr(
        section_cache, "section_spans", lambda text: calls.append(text) or sections.section_spans(text)
    )
    first = listed(root)
    count = len(calls)
    again = listed(root)
    assert count == len(set(calls)) == len(calls)
    assert [facts(record) for record in again.records] == [facts(record) for record in first.records]
    assert list(map(str, again.problems)) == list(map(str, first.problems))
    report = root / "files" / f"{FOLDER}.txt"
    change(report, "year old", "months old")
    context = listed(root).records[0].context
    assert context is not None
    assert "months old" in context
    assert len(calls) == count + 1
    (kept,) = (tmp_path / "cache" / "features").glob("sections-*/data.mdb")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert b"year old" not in kept.read_bytes()


def facts(record: ReportRecord) -> tuple[object, ...]:
    return record.id, record.split, record.report, record.context, record.where
