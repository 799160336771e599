"""Sections of report texts, the context made of them, and the real IU texts against R2Gen's annotation."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from harness.datasets.iu import reports as iu_reports
from harness.datasets.iu_xray import installed_sources
from harness.datasets.open_i import OpenI
from harness.datasets.readers.contexts import context_remarks
from harness.datasets.readers.profiles import alphabetic, without_codes
from harness.datasets.readers.records import Listing
from harness.datasets.readers.sections import (
    UnusualHeadings,
    context_text,
    report_sections,
    sectioned,
    split_sections,
)
from harness.metrics.text.tokenization import tokenizer

EXPECTED = json.loads(Path(__file__).with_name("r2gen_iu_texts.json").read_text())

USUAL = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough  // eval for
 pneumonia

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  None.

 FINDINGS:

 The lungs are clear.  Both hila
 are slim.

 There is no effusion.

 IMPRESSION:

 No acute process.

 NOTIFICATION:  Told to Dr. ___ at 9 a.m.
"""


def test_the_usual_report() -> None:
    sections = report_sections(USUAL)
    assert sections["examination"] == "CHEST (PA AND LAT)"
    assert sections["indication"] == "___F with cough // eval for pneumonia"
    assert sections["technique"] == "Chest PA and lateral"
    assert sections["comparison"] == "None."
    assert sections["findings"] == "The lungs are clear. Both hila are slim. There is no effusion."
    assert sections["impression"] == "No acute process."
    assert "body" not in sections
    assert "\n" in split_sections(USUAL)["findings"]


def test_a_wet_read_is_neither_findings_nor_body() -> None:
    text = f"WET READ: ___ ___ 6:02 PM\n  No pneumothorax seen.\n {'_' * 78}\n{USUAL}"
    sections = report_sections(text)
    assert sections["wet read"] == "___ ___ 6:02 PM No pneumothorax seen."
    assert sections["findings"] == report_sections(USUAL)["findings"]


def test_an_addendum_stays_apart() -> None:
    text = f"  ADDENDUM  \n\n The tube ends in the stomach.\n {'_' * 78}\n{USUAL}"
    sections = report_sections(text)
    assert sections["addendum"] == "The tube ends in the stomach."
    assert "tube" not in sections["findings"] + sections["impression"]
    after = report_sections(USUAL + "\n ADDENDUM:  The tube ends in the stomach.\n")
    assert after["addendum"] == "The tube ends in the stomach."


def test_findings_without_a_heading() -> None:
    text = """                                 FINAL REPORT
 REASON FOR EXAMINATION:  Cough.

 The lungs are clear. Both hila are slim.

 There is no effusion.
"""
    sections = report_sections(text)
    assert sections["findings"] == "The lungs are clear. Both hila are slim. There is no effusion."
    assert sections["indication"] == "Cough."
    assert context_text(sections) == "indication: Cough"


def test_a_title_is_no_finding() -> None:
    sections = report_sections(
        "  FINAL REPORT\n CHEST, TWO VIEWS, ___\n\n HISTORY: Pain.\n\n IMPRESSION: Normal."
    )
    assert "findings" not in sections
    assert sections["history"] == "Pain."


@pytest.mark.parametrize(
    ("line", "section"),
    [
        ("FINDINGS:", "findings"),
        ("Findings:", "findings"),
        ("FINDINGS", "findings"),
        ("FINDINGS AND IMPRESSION:", "findings"),
        ("PA AND LATERAL VIEWS OF THE CHEST:", "findings"),
        ("CHEST, 2 VIEWS:", "findings"),
        ("Impression:", "impression"),
        ("CONCLUSION:", "impression"),
        ("RESULT:", "findings"),
        ("IMP:", "impression"),
        ("REASON FOR EXAM:", "indication"),
        ("CLINICAL HISTORY:", "history"),
        ("COMPARISONS:", "comparison"),
        ("WET READ:", "wet read"),
        ("RECOMMENDATION(S):", "other"),
    ],
)
def test_headings(line: str, section: str) -> None:
    assert split_sections(f"FINAL REPORT\n {line}\n text of it here.\n") == {section: "text of it here."}


MISTYPED = {
    "findings": "FINDNGS FINDINS FINDINDGS FINDGINGS FINDNINGS FINIDNGS FIDINGS FNDINGS FINDINGD",
    "impression": "IMPRSSION IMPRESSON IMPRRESSION IMORESSION IMPRESSOIN IMPRESION IMPERSSION MPRESSION",
    "indication": "INDICATON IDICATION INDICAITON NDICATION INDICATIO",
    "comparison": "COMPARISION COMPARSION COMPARRISON COMPARISIONS",
    "history": "HISTROY HISTOY",
    "technique": "TECHNIQE TECHINQUE",
}


@pytest.mark.parametrize(
    "layout", ["{}: text here.", "{}\n text here.", "{}:text here.", "  {} :\n text here."]
)
def test_a_mistyped_heading_is_the_usual_one(layout: str) -> None:
    for section, names in MISTYPED.items():
        for name in names.split():
            report = sectioned(layout.format(name))
            assert report.sections == {section: "text here."}, name
            assert report.mistyped == {section}
    assert split_sections("REASON FOR EXAMINTION: text here.") == {"indication": "text here."}
    assert split_sections("PREOPERATIVE IMPRSSION: text here.") == {"impression": "text here."}
    assert split_sections("FINDINGS: A.\n COMPRESSION: B.\n LESIONS: C.") == {
        "findings": "A.\n COMPRESSION: B.\n LESIONS: C."
    }


@pytest.mark.parametrize(
    "text",
    [
        "CLINICAL HISTORY: Fever. FINDINGS: The lungs are clear. IMPRESSION: Normal.",
        "CLINICAL HISTORY: Fever FINDINGS: The lungs are clear. IMPRESSION: Normal.",
        "Clinical history: Fever. Findings: The lungs are clear. Impression: Normal.",
        "clinical history: Fever. findings: The lungs are clear. impression: Normal.",
        "CLINICAL HISTORY: Fever. FINDNGS: The lungs are clear. IMPRSSION: Normal.",
        "FINAL REPORT EXAMINATION: CHEST (PA AND LAT) CLINICAL HISTORY: Fever. TECHNIQUE: Chest PA "
        "COMPARISON: None. FINDINGS: The lungs are clear. IMPRESSION: Normal.",
        "CLINICAL HISTORY: Fever.\nFINDINGS:The lungs are clear.\nIMPRESSION; Normal.",
        "CLINICAL HISTORY: Fever.\nFINDINGS. The lungs are clear.\nIMPRESSION - Normal.",
        "CLINICAL HISTORY: Fever FINDINGS The lungs are clear. IMPRESSION Normal.",
        "CLINICAL HISTORY: Fever\nFINDINGS The lungs are clear.\nIMPRESSION Normal.",
        "Clinical History\nFever.\nFindings\nThe lungs are clear.\nImpression\nNormal.",
        "WET READ: 6:02 PM A nodule. FINAL REPORT CLINICAL HISTORY: Fever. FINDINGS: The lungs are clear. "
        "IMPRESSION: Normal.",
    ],
)
def test_headings_inside_a_line_end_a_section(text: str) -> None:
    sections = report_sections(text)
    assert sections["history"].rstrip(".") == "Fever"
    assert sections["findings"] == "The lungs are clear."
    assert sections["impression"] == "Normal."
    assert context_text(sections) == "history: Fever"


@pytest.mark.parametrize(
    "heading", ["FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION", "FINDINGS / IMPRESSION"]
)
def test_findings_and_impression_in_one_are_findings(heading: str) -> None:
    assert split_sections(f"INDICATION: Cough. {heading}: Clear.") == {
        "indication": "Cough.",
        "findings": "Clear.",
    }
    assert split_sections(f" {heading}:\n Clear.") == {"findings": "Clear."}


def test_words_before_a_colon_that_are_no_heading() -> None:
    assert split_sections("FINDINGS AND IMPRESSION The lungs.") == {"findings": "The lungs."}
    text = "FINDINGS: In these findings: a nodule. Limited study: one view. LUNGS: Clear. The history: none."
    assert split_sections(text) == {"findings": text.removeprefix("FINDINGS: ")}


def test_text_of_the_report_never_reaches_the_context() -> None:
    assert context_text(
        {"history": "recent CT with findings: nodule", "indication": "IMPRESSIONS: clear"}
    ) == ("history: recent CT with")


@pytest.mark.parametrize("context", ["Cough. RESULT: the lungs are clear.", "imp: clear lungs"])
def test_short_headings_in_a_context_are_counted(context: str) -> None:
    (problem,) = context_remarks([("s1", "line 2", context, "Another report of this study.")])
    assert problem.kind == "heading-in-context"


def test_unusual_headings_are_counted() -> None:
    headings = UnusualHeadings()
    headings.read("s1", "FINDINGS: One.")
    headings.read("s2", "FINDNGS: One. IMPRESSION: Two.")
    headings.read("s3", "INDICATION: One. IMPRESSION: Two.")
    mistyped, inside = headings.problems("files")
    assert (mistyped.kind, mistyped.fatal) == ("mistyped-heading", False)
    assert mistyped.message.startswith("1 reports have a heading with a mistyped letter")
    assert "s2" in mistyped.message
    assert inside.message.startswith("2 reports have a heading inside a line")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028"])
def test_every_end_of_a_line_counts_the_same(end: str) -> None:
    text = "INDICATION: cough\n______\nHISTORY: fever\nand chills\n \t\nClear lungs.\nFINDINGS: none"
    assert sectioned(text.replace("\n", end)) == sectioned(text)
    assert sectioned(text).sections["body"] == "Clear lungs."
    assert sectioned(text).sections["history"] == "fever\nand chills"


def test_an_unknown_heading_belongs_to_the_text_around_it() -> None:
    sections = report_sections("FINDINGS:\n LUNGS: Clear.\n HEART: Normal.\n As seen before: a nodule.\n")
    assert sections == {"findings": "LUNGS: Clear. HEART: Normal. As seen before: a nodule."}


def test_two_findings_sections_are_joined_and_empty_ones_left_out() -> None:
    text = (
        "CHEST, TWO VIEWS:\n\n INDICATION: Pain.\n\n FINDINGS: One.\n RIBS, THREE VIEWS: Two.\n IMPRESSION:\n"
    )
    sections = report_sections(text)
    assert sections["findings"] == "One. Two."
    assert "impression" not in sections


@pytest.mark.parametrize("text", ["", "\n\n", "FINAL REPORT", "FINDINGS:\nIMPRESSION:\n"])
def test_nothing_is_nothing(text: str) -> None:
    assert report_sections(text) == {}
    assert context_text(report_sections(text), 54.0, "male") is None


def test_context_names_what_is_known() -> None:
    both = {"indication": "Cough.", "history": "Smoker", "findings": "A nodule.", "impression": "Cancer."}
    assert context_text(both, 54.0, "female") == "age 54, sex female. indication: Cough. history: Smoker"
    assert context_text({"indication": "___", "history": "Smoker"}) == "history: Smoker"
    assert context_text({"indication": "___ / ___"}, 54.0, "female") is None


def test_cleaning_of_profiles() -> None:
    assert alphabetic("The T12-L1 body, unchanged. (No edema!)") == "the body unchanged . no edema ."
    assert without_codes("XXXX-year-old, ___ 3 cm  mass") == "cm mass"


def test_texts_of_the_embedded_benchmark_are_the_same_under_every_rule_of_headings() -> None:
    total = hashlib.sha256()
    for uid, report in iu_reports.read_reports(iu_reports.find_data_folder()).items():
        context = iu_reports.context_of(report)
        total.update(f"{uid}\0{report.findings}\0{report.impression}\0{context}\0".encode())
    assert total.hexdigest() == "e2dd0d21800e3915012a571ca96ea461d74b464fcb508f00b5b4b7c923d7a5ff"


def digest(pairs: Iterable[tuple[str, str]]) -> str:
    total = hashlib.sha256()
    for study, text in pairs:
        total.update(f"{study}\0{text}\0".encode())
    return total.hexdigest()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Listing:
    """All real reports in Open-i's layout, each image a link to one image, through the adapter."""
    root = tmp_path_factory.mktemp("open-i")
    folder = iu_reports.find_data_folder()
    with tarfile.open(folder / iu_reports.ARCHIVE) as archive:
        archive.extractall(root, filter="data")
    one = root / "one.png"
    Image.new("L", (60, 50)).save(one)
    (root / "NLMCXR_png").mkdir()
    for report in installed_sources().reports.values():
        for image in report.images:
            os.link(one, root / "NLMCXR_png" / f"{image}.png")
    return OpenI.list_root(root, OpenI.profiles["r2gen"])


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_real_texts_are_those_of_r2gen(real: Listing, split: str) -> None:
    texts = {record.id: record.report for record in real.records if record.split == split}
    in_order = [(study, texts[study]) for study in iu_reports.split_ids()[split]]
    expected = EXPECTED[split]
    assert len(texts) == expected["studies"]
    short = "".join(hashlib.sha256(text.encode()).hexdigest()[:8] for _, text in in_order)
    different = [
        s for n, (s, _) in enumerate(in_order) if short[8 * n :][:8] != expected["texts"][8 * n :][:8]
    ]
    assert not different
    assert digest(in_order) == expected["text"]
    for profile in ("r2gen-iu", "r2gen-mimic"):
        cleaned = tokenizer(profile).batch([text for _, text in in_order])
        pairs = [(study, " ".join(tokens)) for (study, _), tokens in zip(in_order, cleaned, strict=True)]
        assert digest(pairs) == expected[profile], profile


def test_real_studies_have_both_views_and_context_free_of_findings(real: Listing) -> None:
    lacking = [record.id for record in real.records if set(record.images) != {"frontal", "lateral"}]
    assert len(lacking) == 2, "all of their images are lateral by their DICOM position"
    assert all(set(record.images) == {"lateral"} for record in real.records if record.id in lacking)
    test = [record for record in real.records if record.split == "test"]
    assert sum(record.context is None for record in test) == 51
    for record in real.records:
        sentences = [part.strip().lower() for part in record.report.split(".") if len(part.split()) >= 4]
        assert not any(sentence in (record.context or "").lower() for sentence in sentences), record.id
    (left_out,) = real.problems
    assert left_out.message.startswith("1000 studies")
