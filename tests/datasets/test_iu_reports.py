"""The report parser, the context it builds, and the label table."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import CorruptFileError, HarnessError, UnavailableError
from harness.core.types import CHEXPERT_LABELS
from harness.datasets.iu import mesh
from harness.datasets.iu import reports as iu_reports
from harness.datasets.iu.reports import IUReport


@pytest.fixture(scope="module")
def folder() -> Path:
    return iu_reports.find_data_folder()


@pytest.fixture(scope="module")
def reports(folder: Path) -> dict[str, IUReport]:
    return iu_reports.read_reports(folder)


def _report(indication: str | None, age: float | None = 54.0) -> IUReport:
    sex = iu_reports.sex_of(indication or "")
    return IUReport("CXR0", "f", "i", indication, None, (), (), (), ("PA",), age, sex)


def _positive(*codes: str) -> set[str]:
    return {name for name, on in zip(CHEXPERT_LABELS, mesh.labels_of(codes), strict=True) if on}


def test_all_reports_and_the_r2gen_split_are_there(reports: dict[str, IUReport]) -> None:
    assert len(reports) == 3955
    iu_reports.check_splits(reports, Path("archive"))
    assert [len(ids) for ids in iu_reports.split_ids().values()] == [2069, 296, 590]
    assert all(report.mesh for report in reports.values())
    assert sum(len(report.images) for report in reports.values()) == 7470


def test_records_survive_json(reports: dict[str, IUReport]) -> None:
    import json

    rows = json.loads(json.dumps(iu_reports.to_records(reports)))
    assert iu_reports.from_records(rows) == reports


def test_context_format_and_natural_gaps() -> None:
    assert iu_reports.context_of(_report("Chest  pain.")) == "age 54. indication: Chest pain."
    female = iu_reports.context_of(_report("XXXX-year-old woman with XXXX."))
    assert female == "age 54, sex female. indication: XXXX-year-old woman with XXXX."
    assert iu_reports.context_of(_report("dyspnea", None)) == "indication: dyspnea"
    for nothing in (None, "XXXX", "XXXX, XXXX.", " ; "):
        assert iu_reports.context_of(_report(nothing)) is None


def test_context_tells_nothing_of_the_findings(reports: dict[str, IUReport]) -> None:
    for ids in iu_reports.split_ids().values():
        for study_id in ids:
            report = reports[iu_reports.uid_of(study_id)]
            context = iu_reports.context_of(report)
            sentences = [s.strip() for s in (report.findings or "").split(".") if len(s.split()) >= 4]
            if context is not None:
                assert not any(sentence.lower() in context.lower() for sentence in sentences), study_id


@pytest.mark.parametrize(
    ("text", "sex"),
    [
        ("XXXX-year-old female", "female"),
        ("Woman with pain", "female"),
        ("54 year old male", "male"),
        ("chest pain", None),
        ("female, husband is a man", None),
        ("management of mental status", None),
    ],
)
def test_sex_is_what_the_indication_states(text: str, sex: str | None) -> None:
    assert iu_reports.sex_of(text) == sex


@pytest.mark.parametrize(
    ("codes", "labels"),
    [
        (("normal",), {"No Finding"}),
        (("No Indexing",), {"No Finding"}),
        (("Thoracic Vertebrae/degenerative/mild",), {"No Finding"}),
        (("Catheters, Indwelling/right",), {"No Finding", "Support Devices"}),
        (("Cardiomegaly/mild", "Pulmonary Congestion"), {"Cardiomegaly", "Edema"}),
        (("Cardiac Shadow/enlarged/borderline",), {"Cardiomegaly"}),
        (("Cardiac Shadow/obscured/severe",), {"No Finding"}),
        (("Opacity/lung/base/left/streaky",), {"Lung Opacity"}),
        (("Pulmonary Atelectasis/base/bilateral/mild",), {"Atelectasis"}),
        (("Calcified Granuloma/lung/upper lobe/left",), {"Lung Lesion"}),
        (("Costophrenic Angle/right/blunted/mild",), {"Pleural Effusion"}),
        (("Cicatrix/lung/apex/right",), {"Lung Opacity"}),
        (("Cicatrix/pleura/apex/bilateral",), {"Pleural Other"}),
        (("Hydropneumothorax/left/large",), {"Pneumothorax", "Pleural Effusion"}),
        (("Fractures, Bone/ribs/right",), {"Fracture"}),
        (("PNEUMONIA / Lower Lobe/right ",), {"Pneumonia"}),
        (("Something nobody coded/ever",), {"No Finding"}),
    ],
)
def test_label_table(codes: tuple[str, ...], labels: set[str]) -> None:
    assert _positive(*codes) == labels


def test_label_table_names_only_chexpert_labels_and_codes_that_occur(reports: dict[str, IUReport]) -> None:
    table = mesh.label_table()
    assert set(table) == set(CHEXPERT_LABELS) - {"No Finding"}
    seen = {mesh.parse(code).heading for report in reports.values() for code in report.mesh}
    assert {pattern.heading for patterns in table.values() for pattern in patterns} <= seen


def test_every_code_of_the_data_parses(reports: dict[str, IUReport]) -> None:
    for report in reports.values():
        labels = mesh.labels_of(report.mesh)
        assert labels.dtype == np.float32
        assert labels.shape == (14,)
        assert labels.sum() >= 1
        assert all(1 <= mesh.parse(code).severity <= 4 for code in report.mesh)


@pytest.mark.parametrize("name", [iu_reports.ARCHIVE, iu_reports.METADATA])
def test_a_truncated_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    for source in (iu_reports.ARCHIVE, iu_reports.METADATA):
        shutil.copyfile(folder / source, tmp_path / source)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptFileError, match=name):
        iu_reports.read_reports(tmp_path)


def test_absent_file_and_package_are_clear_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HarnessError, match=iu_reports.ARCHIVE):
        iu_reports.find_data_folder(tmp_path)
    monkeypatch.setattr(iu_reports.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="torchxrayvision"):
        iu_reports.find_data_folder()


def test_missing_studies_are_counted(reports: dict[str, IUReport]) -> None:
    fewer = dict(reports)
    del fewer[iu_reports.uid_of(iu_reports.split_ids()["val"][0])]
    with pytest.raises(CorruptFileError, match="295 val studies"):
        iu_reports.check_splits(fewer, Path("archive.tgz"))
