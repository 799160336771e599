"""Every kind of input on the page of pitfalls has a test of the right value; those of labels are here."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from harness.core.types import Prediction, Reference
from harness.metrics.clinical.chexpert_rules import ChexpertRulesF1, labeler
from harness.metrics.clinical.labels import BLANK, LABELS, NEGATIVE, POSITIVE, UNCERTAIN

ROOT = Path(__file__).parents[2]
THREAD = re.compile(r"[\w.-]+/[\w.-]+#\d+")

_SCORES = "tests/evaluation/test_score_files.py"
_CALIBRATION = "tests/metrics/test_calibration.py"
_QUESTIONS = "tests/datasets/test_csv_questions.py"
_DICOM = "tests/datasets/test_dicom.py"
_HERE = "tests/system/test_pitfalls.py"

TESTS = {
    "harelba/q#192": [f"{_SCORES}::test_tables_in_another_order_are_joined_by_id"],
    "ClarityNLP/ClarityNLP#84": [f"{_HERE}::test_a_number_that_is_glued_to_a_word_starts_an_item"],
    "maziyarpanahi/openmed#305": [f"{_HERE}::test_what_cannot_be_excluded_is_uncertain"],
    "aphp/edsnlp#176": [f"{_HERE}::test_a_denial_ends_with_its_item"],
    "obophenotype/human-phenotype-ontology#5103": [f"{_HERE}::test_british_spelling_and_late_denials"],
    "mjpost/sacrebleu#224": [
        f"{_HERE}::test_look_alike_characters_change_no_label",
        f"{_SCORES}::test_texts_that_look_equal_have_equal_labels_and_a_warning",
    ],
    "rmokady/CLIP_prefix_caption#47": [f"{_SCORES}::test_leftovers_of_a_tokenizer_are_counted"],
    "ttanida/rgrg#18": [
        f"{_HERE}::test_an_empty_text_has_no_label",
        f"{_SCORES}::test_empty_predictions_have_no_label_and_are_counted",
    ],
    "rajpurkarlab/ReXrank#2": [
        f"{_SCORES}::test_null_words_on_both_sides_are_no_match",
        f"{_QUESTIONS}::test_null_words_are_absent_and_counted",
    ],
    "Tiiiger/bert_score#96": [f"{_SCORES}::test_texts_beyond_the_limit_of_a_model_are_counted"],
    "salaniz/pycocoevalcap#21": [
        f"{_SCORES}::test_one_file_of_both_sides_is_scored",
        "tests/evaluation/test_report_files.py::test_every_shape_with_ids_reads_the_same",
    ],
    "Stanford-AIMI/radgraph#15": ["tests/metrics/test_radgraph.py::test_capitals_make_no_other_finding"],
    "google/uncertainty-metrics#1": [
        f"{_CALIBRATION}::test_what_is_no_probability_is_refused_everywhere",
        f"{_CALIBRATION}::test_labels_and_shapes_are_checked",
    ],
    "huggingface/evaluate#809": [f"{_SCORES}::test_output_paths_are_checked_before_the_work"],
    "pydicom/pydicom#1237": [
        f"{_DICOM}::test_an_empty_element_counts_as_absent",
        f"{_DICOM}::test_a_table_without_content_counts_as_absent",
    ],
    "vinbigdata-medical/vindr-cxr#3": [f"{_DICOM}::test_files_without_preamble_and_prefix_are_read"],
    "rii-mango/Daikon#35": [f"{_DICOM}::test_one_inversion_whoever_asks_for_it"],
    "nroduit/Weasis#372": [f"{_DICOM}::test_one_inversion_whoever_asks_for_it"],
    "ilastik/ilastik#436": [
        "tests/datasets/test_decode.py::test_one_hot_pixel_darkens_nothing",
        "tests/datasets/test_decode.py::test_a_dead_border_takes_no_contrast",
    ],
    "MedMNIST/MedMNIST#46": [
        f"{_QUESTIONS}::test_marks_between_labels_are_asked_about",
        f"{_QUESTIONS}::test_labels_that_differ_in_form_alone",
    ],
    "abbyy/barcode_detection_benchmark#2": [
        f"{_QUESTIONS}::test_other_forms_of_a_path_are_read_and_counted",
        f"{_QUESTIONS}::test_the_separator_of_cells_is_read_off_the_header",
    ],
    "MIT-LCP/mimic-code#1982": [
        "tests/datasets/test_sections.py::test_a_mistyped_heading_is_the_usual_one",
        "tests/datasets/test_sections.py::test_text_of_the_report_never_reaches_the_context",
    ],
    "hulianyuyy/Deep_Correlated_Prompting#2": [
        "tests/statistics/test_curves.py::test_points_carry_rate_size_and_achieved_rate",
        "tests/leaderboard/test_shares.py::test_a_share_that_differs_from_the_rate_stands_in_the_heading",
    ],
    "ScrollPrize/villa#1701": ["tests/datasets/test_copies.py::test_a_copy_of_mimic_cxr_has_the_same_cells"],
}
"""Thread of a public tracker -> the tests of what it taught us."""


@cache
def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_thread_of_the_page_has_its_tests() -> None:
    page = (ROOT / "docs" / "pitfalls.md").read_text(encoding="utf-8")
    assert set(THREAD.findall(page)) == set(TESTS)


@pytest.mark.parametrize("test", sorted({name for names in TESTS.values() for name in names}))
def test_a_named_test_exists(test: str) -> None:
    file, name = test.split("::")
    assert name in functions(file)


def labels(text: str) -> dict[str, int]:
    row = labeler().classes([text])[0]
    return {name: int(each) for name, each in zip(LABELS, row, strict=True) if each != BLANK}


def score(predictions: list[str], references: list[str]) -> float:
    metric = ChexpertRulesF1()
    rows = metric.statistics(
        [Prediction(report=text) for text in predictions],
        [Reference(str(number), str(number), report=text) for number, text in enumerate(references)],
    )
    return float(metric.reduce(rows.sum(axis=0))["chexpert_rules_f1_micro_14"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.No evidence of pneumonia.", {"Pneumonia": NEGATIVE}),
        ("1.Pneumonia.2.No effusion.", {"Pneumonia": POSITIVE, "Pleural Effusion": NEGATIVE}),
        ("1)Cardiomegaly 2)No edema", {"Cardiomegaly": POSITIVE, "Edema": NEGATIVE}),
    ],
)
def test_a_number_that_is_glued_to_a_word_starts_an_item(text: str, expected: dict[str, int]) -> None:
    assert expected.items() <= labels(text).items()


@pytest.mark.parametrize(
    "text",
    [
        "Cannot exclude pneumonia.",
        "Unable to exclude pneumonia.",
        "Cannot rule out pneumonia.",
        "Pneumonia could not be excluded.",
        "Pneumonia cannot be excluded.",
        "Pneumonia is not excluded.",
        "We are unable to rule out pneumonia.",
        "Pneumonia can not be ruled out.",
    ],
)
def test_what_cannot_be_excluded_is_uncertain(text: str) -> None:
    assert labels(text) == {"Pneumonia": UNCERTAIN}


@pytest.mark.parametrize(
    "text",
    [
        "- No pleural effusion\n- Mild cardiomegaly",
        "* No pleural effusion\n* Mild cardiomegaly",
        "No pleural effusion\nMild cardiomegaly",
        "No pleural effusion; mild cardiomegaly.",
        "No pleural effusion - mild cardiomegaly.",
    ],
)
def test_a_denial_ends_with_its_item(text: str) -> None:
    assert labels(text) == {"Cardiomegaly": POSITIVE, "Pleural Effusion": NEGATIVE}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pulmonary oedema.", {"Edema": POSITIVE}),
        ("No pulmonary oedema.", {"Edema": NEGATIVE}),
        ("Pneumothorax is not visualised.", {"Pneumothorax": NEGATIVE}),
        ("Pneumothorax is not visualized.", {"Pneumothorax": NEGATIVE}),
    ],
)
def test_british_spelling_and_late_denials(text: str, expected: dict[str, int]) -> None:
    assert expected.items() <= labels(text).items()


@pytest.mark.parametrize("odd", ["e\ufb00usion", "ef\u00adfusion", "ef\u200bfusion", "\ufeffeffusion"])
def test_look_alike_characters_change_no_label(odd: str) -> None:
    assert score([f"Large pleural {odd}."], ["Large pleural effusion."]) == 1.0


@pytest.mark.parametrize("text", ["", "  \n", "."])
def test_an_empty_text_has_no_label(text: str) -> None:
    normal = ["Heart size is normal. Lungs are clear."] * 8
    abnormal = ["Large pleural effusion.", "Severe cardiomegaly."]
    assert score([text] * 10, normal + abnormal) == 0.0
