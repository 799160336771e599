"""What any dataset of reports refuses, leaves out and lets through, whatever its layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.core.config import RunConfig
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.types import Task
from harness.datasets.images.pixels import ImageFile
from harness.datasets.iu_xray import IUXRay
from harness.datasets.readers.profiles import IU_PROFILES, Profile, table
from harness.datasets.readers.records import Listing, Problem, ReportRecord
from harness.datasets.readers.report_dataset import ImageTree, ReportDataset, check_records, safe_id, usable
from harness.datasets.readers.tables import read_json, read_rows, read_text
from harness.evaluation.chosen_metrics import choose_metrics
from tests.helpers import trees


class Small(ReportDataset):
    """A listing as it is given."""

    name = "small"
    expected = "nothing"
    views = ("frontal", "lateral")
    label_names = ("Edema", "Fracture")
    licence = "none"
    profiles = table(Profile("default", "whole"), Profile("cut", "cut", reference_words=60))

    @classmethod
    def list_root(cls, root: Path, profile: Profile) -> Listing:
        return Listing([], [Problem("bad-xml", "7.xml, line 3", "is no XML", "download it again")])


@pytest.fixture
def records(tmp_path: Path) -> list[ReportRecord]:
    """Two studies a split; the last has no lateral view."""
    records_of_files = []
    for number, split in enumerate(("train", "train", "val", "val", "test", "test")):
        path = tmp_path / f"{number}.png"
        trees.image(path, number)
        image = ImageTree(tmp_path, "small").find(path.name, f"row {number}")
        assert isinstance(image, ImageFile)
        images = {"frontal": image} if number == 5 else {"frontal": image, "lateral": image}
        labels = np.array([number % 2, 0], dtype=np.float32)
        context = None if number == 4 else "indication: cough"
        report = trees.words(number)
        records_of_files.append(
            ReportRecord(
                f"s{number}",
                f"p{number}",
                split,
                images,
                report,
                f"row {number}",
                context,
                labels,
                {"age": 5.0},
            )
        )
    return records_of_files


def opened(records: list[ReportRecord], **options: object) -> Small:
    return Small(Listing(records, []), Small.profiles["default"], **options)


def kinds(records: list[ReportRecord], **options: bool) -> list[tuple[str, bool]]:
    return [(problem.kind, problem.fatal) for problem in check_records(Listing(records, []), **options)]


def test_a_clean_listing_opens(records: list[ReportRecord]) -> None:
    assert kinds(records) == []
    dataset = opened(records)
    assert dataset.info.tasks == {Task.REPORT, Task.DIAGNOSE, Task.SYNTHESIZE}
    assert dataset.info.modalities == ("frontal", "lateral", "context")
    assert (dataset.info.image_size, dataset.info.channels) == (224, 1)
    assert [len(dataset.studies(split)) for split in ("train", "val", "test")] == [2, 2, 2]
    lacking, alone = dataset.studies("test")
    assert lacking.modalities == {"frontal", "lateral"}
    assert alone.modalities == {"frontal", "context"}
    assert alone.images["frontal"].shape == (224, 224, 1)
    with pytest.raises(HarnessError, match="unknown split 'validate'"):
        dataset.studies("validate")


def test_tasks_follow_what_is_there(records: list[ReportRecord]) -> None:
    some = [replace(records[0], labels=None), *records[1:]]
    assert Task.DIAGNOSE not in opened(some).info.tasks
    assert opened(some).info.label_names == ()
    alone = [replace(r, images={"frontal": r.images["frontal"]}, context=None) for r in records]
    info = opened(alone).info
    assert Task.SYNTHESIZE not in info.tasks
    assert info.modalities == ("frontal",)


def test_fingerprint_follows_everything_that_methods_see(records: list[ReportRecord]) -> None:
    before = opened(records).info.fingerprint
    assert opened(records).info.fingerprint == before
    other = replace(records[0].images["frontal"], digest="0" * 64)
    for change in (
        {"report": "Other words."},
        {"context": None},
        {"labels": np.array([1, 1], dtype=np.float32)},
        {"attributes": {"age": 6.0}},
        {"images": {"frontal": other}},
        {"patient_id": "p9"},
    ):
        assert opened([replace(records[0], **change), *records[1:]]).info.fingerprint != before, change
    assert opened(records, image_size=64).info.fingerprint != before


def test_duplicate_ids_name_both_places(records: list[ReportRecord]) -> None:
    twice = [*records, replace(records[0], where="row 9")]
    assert ("duplicate-id", True) in kinds(twice)
    with pytest.raises(HarnessError, match=r"row 9: s0 is a second time in the data, after row 0"):
        opened(twice)


def test_a_leak_is_refused_unless_allowed(records: list[ReportRecord]) -> None:
    leaking = [*records[:5], replace(records[5], patient_id="p0")]
    assert kinds(leaking) == [("patient-in-two-splits", True)]
    assert kinds(leaking, allow_leaks=True) == [("patient-in-two-splits", False)]
    with pytest.raises(
        HarnessError, match=r"row 5: patient p0 of test is also in train \(row 0\).*allow_leaks=true"
    ):
        opened(leaking)
    assert len(opened(leaking, allow_leaks=True).studies("test")) == 2


def test_a_patient_counts_once_however_often_it_leaks(records: list[ReportRecord]) -> None:
    leaking = [replace(record, patient_id="p0") for record in records]
    assert len(kinds(leaking)) == 1


@pytest.mark.parametrize("change", [{"report": " . "}, {"report": ""}, {"images": {}}])
def test_what_has_no_text_or_image_is_left_out(
    records: list[ReportRecord], change: dict[str, object]
) -> None:
    some = [replace(records[0], **change), *records[1:]]
    ((kind, fatal),) = kinds(some)
    assert kind in ("empty-report", "no-image")
    assert not fatal
    assert [study.id for study in opened(some).studies("train")] == ["s1"]


def test_a_split_left_empty_is_fatal(records: list[ReportRecord]) -> None:
    empty = [replace(record, report="") if record.split == "val" else record for record in records]
    assert ("empty-split", True) in kinds(empty)
    with pytest.raises(HarnessError, match="the val split has no studies"):
        opened(empty)
    assert len(usable(empty)) == 4


@pytest.mark.parametrize("name", ["../s1", "a/b", "..", "", "a\\b", "a\0b", "a\nb", "x" * 201, "c:"])
def test_ids_that_would_escape_a_folder_are_refused(records: list[ReportRecord], name: str) -> None:
    assert not safe_id(name)
    with pytest.raises(HarnessError, match="cannot name a file"):
        opened([replace(records[0], id=name), *records[1:]])


def test_usual_ids_are_safe() -> None:
    assert all(map(safe_id, ("CXR2384_IM-0942", "02aa804e-bde0afdd", "ROCO_00002", "83%0", "fig 1.2")))


def test_an_unknown_split_is_refused(records: list[ReportRecord]) -> None:
    with pytest.raises(HarnessError, match="s0 is of unknown split 'validate'"):
        opened([replace(records[0], split="validate"), *records[1:]])


def test_opening_stops_at_the_first_fatal_problem(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"7\.xml, line 3: is no XML \(download it again\)"):
        Small.open(tmp_path)


def test_problems_that_are_not_fatal_do_not_stop(records: list[ReportRecord]) -> None:
    note = Problem("layout", "root", "as expected", fatal=False)
    assert Small(Listing(records, [note]), Small.profiles["default"]).studies("val")


def test_options_are_checked(tmp_path: Path, records: list[ReportRecord]) -> None:
    with pytest.raises(HarnessError, match="image_size 8 of small is out of range"):
        opened(records, image_size=8)
    with pytest.raises(UnknownNameError, match=r"small.profile: unknown profile 'cit'.*did you mean cut"):
        Small.open(tmp_path, profile="cit")
    with pytest.raises(HarnessError, match="--root DIR"):
        Small.open()


def test_links_may_stay_inside_and_not_lead_out(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    trees.image(outside / "a.png", 1)
    trees.image(root / "in" / "b.png", 2)
    (root / "c.png").symlink_to(root / "in" / "b.png")
    (root / "d.png").symlink_to(outside / "a.png")
    (root / "e").symlink_to(outside)
    (tmp_path / "link").symlink_to(root)
    for start in (root, tmp_path / "link"):
        tree = ImageTree(start, "small")
        assert isinstance(tree.find("in/b.png", "row"), ImageFile)
        assert isinstance(tree.find("c.png", "row"), ImageFile)
        for out in ("d.png", "e/a.png"):
            problem = tree.find(out, "row")
            assert isinstance(problem, Problem)
            assert problem.kind == "link-outside-root"
    assert isinstance(ImageTree(root, "small", links=[root / "e"]).find("e/a.png", "row"), ImageFile)


@pytest.mark.parametrize("path", ["../a.png", "/etc/passwd", "", "in/../../a.png", "in\\a.png", "a\0.png"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, path: str) -> None:
    problem = ImageTree(tmp_path, "small").find(path, "row 3")
    assert isinstance(problem, Problem)
    assert (problem.kind, problem.where, problem.fatal) == ("path-outside-root", "row 3", True)


def test_an_identity_without_content_follows_size_and_time(tmp_path: Path) -> None:
    trees.image(tmp_path / "a.png", 1)
    tree = ImageTree(tmp_path, "small", by_content=False)
    first = tree.find("a.png", "row")
    assert tree.find("a.png", "row") == first
    trees.image(tmp_path / "a.png", 2, (40, 40))
    again = tree.find("a.png", "row")
    assert isinstance(first, ImageFile)
    assert isinstance(again, ImageFile)
    assert again.digest != first.digest
    assert again.decode is not None
    assert again.decode(again.path).size == (40, 40)


def test_a_profile_sets_the_length_of_references_and_a_flag_overrides_it(tmp_path: Path) -> None:
    root = trees.iu_xray(tmp_path)
    dataset = IUXRay.open(root, image_size=32, profile="r2gen")
    assert dataset.info.reference_words == IU_PROFILES["r2gen"].reference_words == 60
    for words, message in ((None, "60"), (20, "20")):
        config = RunConfig(dataset="iu-xray", metrics=("bleu",), reference_words=words)
        (metric,) = choose_metrics(config, dataset.info)
        assert f"ref:{message}|" in metric.signature
    (metric,) = choose_metrics(RunConfig(metrics=("bleu",)), IUXRay.open(root, image_size=32).info)
    assert "ref:full|" in metric.signature


def test_tables_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffid,report\n1,"two\nlines"\n2,x\n'.encode())
    assert list(read_rows(path, ("id",), ("split",))) == [("3", "1", ""), ("4", "2", "")]
    for content, message in (
        (b"id\n1,2\n", r"t\.csv, line 2: 2 cells, expected 1"),
        (b"report\n1\n", r"t\.csv: no column id \(it has report\)"),
        (b"id,id\n1,2\n", r"t\.csv: column id is there twice"),
        (b'id\n"open\n', r"t\.csv, line 2: not CSV"),
        (b"id\n\xff\n", r"t\.csv: not UTF-8 text at byte 3"),
        (b"", r"t\.csv: no column id \(it has none\)"),
    ):
        path.write_bytes(content)
        with pytest.raises(HarnessError, match=message):
            list(read_rows(path, ("id",)))
    (tmp_path / "t.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(HarnessError, match="damaged gzip file"):
        read_text(tmp_path / "t.csv.gz")
    path.write_text('{"id": 1,\n}')
    with pytest.raises(HarnessError, match=r"t\.csv, line 2, column 1: not valid JSON"):
        read_json(path)
    with pytest.raises(HarnessError, match="No such file"):
        read_json(tmp_path / "absent.json")
