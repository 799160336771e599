"""What a user's table cannot say is asked, what it can say is read, and what was read is counted."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.core.config import parse_overrides
from harness.core.errors import HarnessError, UnknownNameError
from harness.datasets.check import Examination, examine
from harness.datasets.csv_table import CSVTable
from harness.datasets.readers.records import Problem
from tests.helpers import caption_trees
from tests.helpers.trees import write_rows

Rows = list[dict[str, str]]
Change = Callable[[Rows], object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return caption_trees.own(tmp_path / "data")


def cells(column: str, *values: str) -> Change:
    """The values in a column, over and over."""

    def change(rows: Rows) -> None:
        for number, row in enumerate(rows):
            row[column] = values[number % len(values)]

    return change


def problems(root: Path, kind: str, **options: Any) -> list[Problem]:
    return [problem for problem in examine("csv", root, options).problems if problem.kind == kind]


def asked(root: Path, kind: str, **options: Any) -> str:
    """The message of the one fatal problem, with which opening the table is refused, too."""
    examination: Examination = examine("csv", root, options)
    (problem,) = [problem for problem in examination.problems if problem.fatal]
    assert problem.kind == kind
    with pytest.raises(HarnessError) as caught:
        CSVTable.open(root, **options)
    assert str(caught.value) == f"{problem.where}: {problem.message} ({problem.hint})"
    return str(caught.value)


def opened(root: Path, **options: Any) -> tuple[tuple[str, ...], bool, list[list[float]]]:
    """Names of labels, whether they are independent, and the labels of the first studies."""
    dataset = CSVTable.open(root, **options)
    labels = [study.labels for study in dataset.studies("train")]
    return (
        dataset.info.label_names,
        dataset.info.multilabel,
        [[] if own is None else own.tolist() for own in labels],
    )


def options_of(*assignments: str) -> dict[str, Any]:
    """The options of ``--set csv.KEY=VALUE``, as the command line reads them."""
    return parse_overrides([f"csv.{each}" for each in assignments])["csv"]


JOINED = {
    "pipe": "|",
    "comma": ",",
    "slash": "/",
    "plus": "+",
    "ampersand": "&",
    "and": " and ",
    "newline": "\n",
}


@pytest.mark.parametrize("word", JOINED)
def test_marks_between_labels_are_asked_about(root: Path, word: str) -> None:
    mark = JOINED[word]
    caption_trees.rewrite(root, cells("labels", f"Edema{mark}Mass", f"Mass{mark}Edema", "Edema", "Mass"))
    message = asked(root, "joined-labels")
    assert message.startswith("my.csv, line 2: labels ")
    names, multilabel, labels = opened(root, **options_of(f"label_separator={word}"))
    assert (names, multilabel, labels[:3]) == (("Edema", "Mass"), True, [[1, 1], [1, 1], [1, 0]])
    for whole in ("semicolon", "none"):
        names, multilabel, _ = opened(root, **options_of(f"label_separator={whole}"))
        assert (len(names), multilabel) == (4, False)


def test_two_marks_between_labels_are_refused(root: Path) -> None:
    caption_trees.rewrite(root, cells("labels", "Edema|Mass", "Edema; Mass", "Mass"))
    asked(root, "joined-labels")
    assert "4 cells of labels have a ';' beside '|'" in asked(root, "joined-labels", label_separator="pipe")


def test_marks_that_names_have_are_no_question(root: Path) -> None:
    caption_trees.rewrite(root, cells("labels", "Opacity/infiltrate", "Cysts and bullae", "No Finding", "T+"))
    assert opened(root)[:2] == (("Cysts and bullae", "No Finding", "Opacity/infiltrate", "T+"), False)
    caption_trees.rewrite(root, cells("labels", "Effusion, left", "No Finding"))
    assert "=none takes the mark for a part of the name" in asked(root, "joined-labels")


def test_a_report_among_the_labels_is_not_shown(root: Path) -> None:
    report = "The heart is enlarged, the lungs are clear, and there is no effusion on either side."
    caption_trees.rewrite(root, cells("labels", report, "Edema"))
    assert f"labels of {len(report)} characters: several findings" in asked(root, "joined-labels")


@pytest.mark.parametrize(
    "names",
    [("Edema", "edema"), ("Pleural Effusion", "pleural_effusion"), ("Mass", "Mass."), ("7", "7.0", "x")],
)
def test_labels_that_differ_in_form_alone(root: Path, names: tuple[str, ...]) -> None:
    caption_trees.rewrite(root, cells("labels", names[0], *names))
    message = asked(root, "label-variants")
    assert f"labels {names[0]!r} (my.csv, line 2) and {names[1]!r} differ in form alone" in message
    assert opened(root, variants="join")[0] == tuple(sorted({names[0], *names[2:]}))
    assert opened(root, variants="keep")[0] == tuple(sorted(names))


@pytest.mark.parametrize(
    ("no", "yes"), [("0", "1"), ("0.0", "1.0"), ("no", "yes"), ("False", "True"), ("negative", "positive")]
)
def test_codes_in_cells_need_the_name_of_a_finding(root: Path, no: str, yes: str) -> None:
    caption_trees.rewrite(root, cells("labels", no, yes))
    message = asked(root, "coded-labels")
    assert message.startswith(f"my.csv, line 2: labels are codes ({'/'.join(sorted([no, yes])).lower()})")
    names, multilabel, labels = opened(root, **options_of("label_names=Edema"))
    assert (names, multilabel, labels[:2]) == (("Edema",), True, [[0], [1]])
    names, multilabel, labels = opened(root, **options_of(f"label_names={no}=Normal;{yes}=Edema"))
    assert (names, multilabel, labels[:2]) == (("Edema", "Normal"), False, [[0, 1], [1, 0]])


def test_lists_of_codes_need_names_in_their_order(root: Path) -> None:
    for values in (("1;0;0", "0;1;1"), ("[1, 0, 0]", "[0, 1, 1]"), ("1 0 0", "0 1 1")):
        caption_trees.rewrite(root, cells("labels", *values))
        assert "lists of 3 codes (0/1): of which finding?" in asked(root, "coded-labels")
        names, multilabel, labels = opened(root, **options_of("label_names=Mass;Edema;Cyst"))
        assert (names, multilabel, labels[:2]) == (("Mass", "Edema", "Cyst"), True, [[1, 0, 0], [0, 1, 1]])
        assert "coded-labels" in {
            each.kind for each in examine("csv", root, {"label_names": "Mass"}).problems
        }
    caption_trees.rewrite(root, cells("labels", "1;0;0", "0;1;1", "1;0"))
    assert len(problems(root, "bad-label", label_names="A;B;C")) == 4


def test_uncertain_labels_of_cells_are_asked_about(root: Path) -> None:
    caption_trees.rewrite(root, cells("labels", "1", "0", "-1", "0"))
    message = asked(root, "uncertain-labels", label_names="Edema")
    assert message.startswith("my.csv, line 4: 3 labels are uncertain (-1), this one first")
    assert opened(root, label_names="Edema", uncertain="positive")[2][:4] == [[1], [0], [1], [0]]
    assert opened(root, label_names="Edema", uncertain="negative")[2][:4] == [[1], [0], [0], [0]]
    caption_trees.rewrite(root, cells("labels", "Edema:1; Mass:0", "Mass=-1"))
    asked(root, "uncertain-labels")
    names, multilabel, labels = opened(root, uncertain="positive")
    assert (names, multilabel, labels[:2]) == (("Edema", "Mass"), True, [[1, 0], [0, 1]])


@pytest.mark.parametrize("prefix", ["", "label:"])
def test_columns_of_codes_as_chexpert_has_them(root: Path, prefix: str) -> None:
    def change(rows: Rows) -> None:
        for number, row in enumerate(rows):
            del row["labels"]
            row[f"{prefix}Edema"] = ("1.0", "0.0", "-1.0", "")[number % 4]
            row[f"{prefix}Pleural Effusion"] = ("", "nan", "1.0", "1")[number % 4]

    caption_trees.rewrite(root, change)
    assert "3 labels are uncertain" in asked(root, "uncertain-labels")
    names, multilabel, labels = opened(root, uncertain="negative")
    assert (names, multilabel) == (("Edema", "Pleural Effusion"), True)
    assert labels[:4] == [[1, 0], [0, 0], [0, 1], [0, 1]]
    (blank,) = problems(root, "blank-labels", uncertain="negative")
    assert (blank.message.split()[0], blank.fatal) == ("9", False)
    assert len(problems(root, "label-columns", uncertain="negative")) == (prefix == "")
    caption_trees.rewrite(root, cells(f"{prefix}Edema", "1", "maybe"))
    kinds = {each.kind for each in examine("csv", root).problems}
    assert ("bad-label" if prefix else "unknown-column") in kinds


def test_two_kinds_of_labels_and_columns_that_are_not_read(root: Path) -> None:
    caption_trees.rewrite(root, cells("Tuberculosis", "0", "1"))
    (column,) = problems(root, "unknown-column")
    assert column.hint == "call it label:Tuberculosis if it holds a label"
    caption_trees.rewrite(root, cells("label:Tuberculosis", "0", "1"))
    assert "labels stand in the column labels and in 'label:Tuberculosis'" in asked(
        root, "two-kinds-of-labels"
    )


def test_lists_as_python_writes_them_and_empty_labels(root: Path) -> None:
    caption_trees.rewrite(root, cells("labels", "['Edema', 'Mass']", '["Mass"]'))
    assert opened(root)[:2] == (("Edema", "Mass"), True)
    caption_trees.rewrite(root, cells("labels", "Edema", "nan", "N/A", "None"))
    (unlabelled,) = problems(root, "no-labels")
    assert unlabelled.message.startswith("6 of 12 rows have no labels")
    assert problems(root, "none-label")[0].message.startswith("3 labels are 'None'")
    caption_trees.rewrite(root, cells("labels", "No Finding; Edema", "Edema; Mass"))
    assert problems(root, "contradictory-labels")[0].message.startswith("6 rows have No Finding or Normal")
    caption_trees.rewrite(root, cells("labels", "Edema", "0", "Mass"))
    assert "labels are names in some rows and codes in 4, e.g. '0'" in asked(root, "mixed-labels")
    caption_trees.rewrite(root, cells("labels", "0", "1", "2"))
    assert "0, 1, 2" in problems(root, "number-labels")[0].message


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_the_separator_of_cells_is_read_off_the_header(root: Path, separator: str) -> None:
    caption_trees.rewrite(root, cells("labels", "Edema", "Mass"))
    before = CSVTable.open(root).info
    reports = [re.sub("[,;]", "", caption_trees.sentence(number)) for number in range(12)]
    caption_trees.rewrite(root, cells("report", *reports))
    plain = CSVTable.open(root).info
    root.write_text(root.read_text().replace(",", separator).replace('"', ""))
    assert CSVTable.open(root).info == plain
    assert before.label_names == plain.label_names
    (remark,) = problems(root, "separator")
    word = {";": "semicolon", "\t": "tab", "|": "pipe"}[separator]
    assert (remark.where, remark.message) == ("my.csv, line 1", f"cells are separated by a {word}")
    assert not problems(root, "separator", separator=word)
    root.write_text(f"sep={separator}\n{root.read_text()}")
    assert CSVTable.open(root).info == plain


def test_a_table_may_quote_every_cell(root: Path) -> None:
    plain = CSVTable.open(root).info
    with open(root, newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    with open(root, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(rows)
    assert CSVTable.open(root).info == plain
    with open(root, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL, delimiter=";").writerows(rows)
    assert CSVTable.open(root).info == plain


def test_headers_with_capitals_blanks_and_marks_of_order(root: Path) -> None:
    plain = CSVTable.open(root).info
    head, _, rest = root.read_text().partition("\n")
    header = head.replace("id,patient", "\u200bID , Patient").replace("report", "\u00a0Report ")
    rows = "".join(f"{row},\n" for row in rest.splitlines())
    root.write_text(f"\ufeff{header},\n{rows}", encoding="utf-8")
    assert CSVTable.open(root).info == plain
    remarks = [remark.message for remark in problems(root, "column-name")]
    assert remarks[:2] == ["column 'ID' is read as id", "column 'Patient' is read as patient"]
    assert "1 columns without a name" in remarks[-1]
    root.write_text(f"{head.replace('indication', 'report ')}\n{rest}")
    assert "column 'report' is there twice" in problems(root, "unreadable")[0].message
    root.write_text(head, encoding="utf-16")
    assert problems(root, "unreadable")[0].hint == "it is UTF-16: save it as UTF-8"
    root.write_bytes(b"PK\x03\x04\xff\xff")
    assert "a spreadsheet: save it as CSV" in problems(root, "unreadable")[0].hint
    with pytest.raises(HarnessError, match=r"a folder .name a table in it: my\.csv"):
        CSVTable.open(root.parent)


PATHS: dict[str, Callable[[Path, str], str]] = {
    "backslash-path": lambda folder, path: path.replace("/", "\\"),
    "absolute-path": lambda folder, path: str(folder / path),
    "case-of-path": lambda folder, path: path.upper(),
}


@pytest.mark.parametrize("kind", PATHS)
def test_other_forms_of_a_path_are_read_and_counted(root: Path, kind: str) -> None:
    plain = CSVTable.open(root).info

    def change(rows: Rows) -> None:
        for row in rows:
            row["frontal"] = PATHS[kind](root.parent, row["frontal"])

    caption_trees.rewrite(root, change)
    assert CSVTable.open(root).info == plain
    (remark,) = problems(root, kind)
    assert (remark.where, remark.fatal) == ("my.csv, line 2", False)
    assert "in 12 rows" in remark.message


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("images\\gone.png", "no file .*images/gone.png.*paths are relative to"),
        ("images/GONE.png", "no file .*paths are relative to"),
        ("images/1-frontal", "is it 1-frontal.png?"),
        ("images", "is no file .a folder: name an image in it"),
        ("C:\\images\\1.png", "an absolute path: write it relative to"),
        ("/etc/passwd", "an absolute path: write it relative to"),
        ("D:\\project\\images\\1-frontal.png", "an absolute path: images/1-frontal.png is there"),
        ("/data/project/images/1-frontal.png", "an absolute path: images/1-frontal.png is there"),
        ("..\\secret.png", "put the table into a folder above its images"),
        ("https://example.org/1.png", "an address: download the image"),
    ],
)
def test_a_path_that_cannot_be_read_says_the_way_out(root: Path, path: str, message: str) -> None:
    caption_trees.rewrite(root, lambda rows: rows[1].update(frontal=path))
    with pytest.raises(HarnessError, match=rf"^my\.csv, line 3: .*{message}"):
        CSVTable.open(root)


def test_two_files_that_differ_in_case_are_not_guessed_at(root: Path) -> None:
    images = root.parent / "images"
    shutil.copy(images / "1-frontal.png", images / "1-FRONTAL.png")
    caption_trees.rewrite(root, lambda rows: rows[1].update(frontal="images/1-Frontal.png"))
    with pytest.raises(HarnessError, match="line 3: no file"):
        CSVTable.open(root)


def test_null_words_are_absent_and_counted(root: Path) -> None:
    caption_trees.rewrite(root, cells("indication", "nan", "None", "N/A", "cough", "not given.", "-"))
    dataset = CSVTable.open(root)
    studies = [study for split in ("train", "val", "test") for study in dataset.studies(split)]
    assert [study.context for study in studies] == ([None] * 3 + ["cough"] + [None] * 2) * 2
    (remark,) = problems(root, "empty-context")
    assert (remark.where, remark.fatal) == ("my.csv, line 2", False)
    assert "in 10 rows" in remark.message
    assert examine("csv", root).counts["test without context"] == 0.75
    caption_trees.rewrite(root, lambda rows: rows[3].update(lateral="nan", report="NaN"))
    messages = [each.message for each in problems(root, "null-word")]
    assert messages == [
        "a null word for an image, such as nan, counts as absent, in this row",
        "a null word for a report, such as nan, counts as empty, in this row",
    ]
    caption_trees.rewrite(root, lambda rows: rows[2].update(patient="nan"))
    assert asked_message(root) == "my.csv, line 4: patient is empty"


def asked_message(root: Path) -> str:
    with pytest.raises(HarnessError) as caught:
        CSVTable.open(root)
    return str(caught.value)


def test_text_of_the_report_in_an_indication(root: Path) -> None:
    caption_trees.rewrite(
        root, cells("indication", "Fever. FINDINGS: The lungs are clear.", "Fever. FINDNGS: Clear.")
    )
    assert {study.context for study in CSVTable.open(root).studies("train")} == {"Fever."}
    (remark,) = problems(root, "cut-context")
    assert "in 12 rows" in remark.message
    caption_trees.rewrite(
        root, lambda rows: [row.update(indication=f"Fever. {row['report']}") for row in rows]
    )
    message = asked(root, "report-in-context")
    assert "12 indications hold text of their report; s0 is the first" in message
    assert not any(words in message for words in caption_trees.SENTENCES)
    assert CSVTable.open(root, allow_leaks=True).info.has_context


def test_patients_that_differ_in_form_alone(root: Path) -> None:
    pairs = [("10", "10.0"), ("P7", "p7"), ("007", "7"), ("a b", "a  b")]
    for first, second in pairs:
        caption_trees.rewrite(
            root, lambda rows, a=first, b=second: (rows[0].update(patient=a), rows[11].update(patient=b))
        )
        message = asked(root, "patient-variants")
        assert f"patients {first!r} (my.csv, line 2) and {second!r} differ in form alone" in message
        joined = asked(root, "patient-in-two-splits", variants="join")
        assert "of test is also in train" in joined
        assert CSVTable.open(root, variants="keep").info.has_context
    caption_trees.rewrite(root, lambda rows: (rows[0].update(id="007"), rows[1].update(id="7")))
    (ids,) = problems(root, "alike-ids", variants="keep")
    assert (ids.where, ids.fatal) == ("my.csv, line 3", False)


def test_views_that_are_none_are_counted(root: Path) -> None:
    images = root.parent / "images"
    for number in (1, 2):
        Image.new("L", (64, 64), 70 + number).save(images / f"{number}-lateral.png")
    caption_trees.rewrite(root, lambda rows: [row.update(lateral=row["frontal"]) for row in rows[4:7]])
    shutil.copy(images / "9-lateral.png", images / "10-lateral.png")
    (flat,) = problems(root, "flat-image")
    assert flat.message.startswith("2 views are one grey or one colour; lateral of s1 is the first")
    (same,) = problems(root, "same-image-as-view")
    assert same.message.startswith("3 studies have one image as two views; frontal and lateral of s4")
    (shared,) = problems(root, "shared-image")
    assert shared.message == "1 images belong to 2 studies; those of s9 and s10 are the first"
    assert not any(problem.fatal for problem in (flat, same, shared))


def test_a_view_that_is_another_view_in_another_encoding(root: Path) -> None:
    images = root.parent / "images"
    frontal = [Image.open(images / f"{number}-frontal.png") for number in range(2)]
    frontal[0].save(images / "0-lateral.tiff")
    frontal[1].convert("RGB").save(images / "1-lateral.bmp")
    smooth = Image.linear_gradient("L").resize((300, 200))
    smooth.save(images / "2-frontal.png")
    smooth.save(images / "2-lateral.jpg", quality=60)
    names = ("0-lateral.tiff", "1-lateral.bmp", "2-lateral.jpg")
    caption_trees.rewrite(
        root,
        lambda rows: [row.update(lateral=f"images/{name}") for row, name in zip(rows, names, strict=False)],
    )
    (same,) = problems(root, "same-image-as-view")
    assert same.message.startswith("3 studies have one image as two views (3 of them in two encodings); ")
    assert "frontal and lateral of s0 are the first" in same.message
    assert not same.fatal


def test_short_sentences_of_the_report_in_a_context_are_counted(root: Path) -> None:
    caption_trees.rewrite(
        root,
        lambda rows: [
            row.update(indication="Cough. No effusion seen.", report="Heart is large. No effusion seen.")
            for row in rows[:3]
        ],
    )
    caption_trees.rewrite(root, lambda rows: rows[3].update(indication="Effusion?", report="Effusion."))
    (remark,) = problems(root, "sentence-in-context")
    assert remark.message == "3 contexts hold a short sentence of their study's report; s0 is the first"
    assert not remark.fatal


def test_rare_labels_and_mixed_attributes(root: Path) -> None:
    caption_trees.rewrite(root, cells("labels", "Edema"))
    caption_trees.rewrite(root, lambda rows: rows[11].update(labels="Mass"))
    train, test = problems(root, "rare-label")
    assert (train.where, train.message) == ("train", "no training study has Mass")
    assert test.message == "fewer than 5 test studies have Edema, Mass"
    caption_trees.rewrite(root, cells("attribute:age", "62,5", "40", "nan"))
    (mixed,) = problems(root, "mixed-attribute")
    assert "4 cells are text, this one first, and 4 are numbers" in mixed.message


def split_of(root: Path, **options: Any) -> dict[str, str]:
    dataset = CSVTable.open(root, **options)
    return {study.id: study.split for split in ("train", "val", "test") for study in dataset.studies(split)}


def test_a_split_is_drawn_by_patient(root: Path) -> None:
    column = split_of(root)
    drawn = split_of(root, **options_of("split=0.5/0.2/0.3"))
    assert drawn != column
    assert sorted(drawn.values()).count("train") == 6
    patients = {f"s{number}": f"p{number // 2}" for number in range(12)}
    assert len({(patients[study], split) for study, split in drawn.items()}) == 6
    caption_trees.rewrite(root, lambda rows: (rows.reverse(), [row.pop("split") for row in rows]))
    assert split_of(root, split="50/20/30") == drawn
    assert split_of(root, split="50/20/30", split_seed=1) != drawn
    (remark,) = problems(root, "drawn-split", split="0.5/0.2/0.3")
    assert remark.message == "patients are split 0.5/0.2/0.3 with seed 0: train 6, val 2, test 4 rows"
    with pytest.raises(HarnessError, match=r"no column split .--set csv\.split=0\.7/0\.1/0\.2 draws one"):
        CSVTable.open(root)


def test_a_drawn_split_has_each_label_in_its_share(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = caption_trees.own_rows(tmp_path)
    many = [
        rows[number % 12]
        | {
            "id": f"x{number}",
            "patient": f"q{number // 2}",
            "labels": "Rare" if rng.random() < 0.1 else "Common",
        }
        for number in range(400)
    ]
    write_rows(tmp_path / "my.csv", many)
    dataset = CSVTable.open(tmp_path / "my.csv", split="0.7/0.1/0.2")
    sizes = {split: len(dataset.studies(split)) for split in ("train", "val", "test")}
    assert sizes == {"train": 280, "val": 40, "test": 80}
    rare = dataset.info.label_names.index("Rare")
    positives = {split: sum(s.labels[rare] for s in dataset.studies(split)) for split in sizes}
    total = sum(positives.values())
    assert all(abs(positives[split] - total * sizes[split] / 400) <= 4 for split in sizes), positives


@pytest.mark.parametrize("split", ["0.7/0.3", "0.7/0.1/0.1", "a/b/c", "1/0/0", "0.8/-0.1/0.3"])
def test_shares_that_are_none_are_refused(root: Path, split: str) -> None:
    with pytest.raises(HarnessError, match="is not three shares that sum to 1"):
        CSVTable.open(root, split=split)


def test_options_are_checked(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean separator"):
        CSVTable.open(root, seperator="tab")
    with pytest.raises(HarnessError, match=r"csv\.uncertain: 'maybe' is none of positive, negative"):
        examine("csv", root, {"uncertain": "maybe"})


def test_usual_words_for_a_split_are_read_and_counted(root: Path) -> None:
    words = {"train": "Train", "val": "validate", "test": "TESTING"}

    def change(rows: Rows) -> None:
        for row in rows:
            row["split"] = words[row["split"]]

    plain = [each.id for each in CSVTable.open(root).studies("val")]
    caption_trees.rewrite(root, change)
    assert [each.id for each in CSVTable.open(root).studies("val")] == plain
    assert len(problems(root, "split-name")) == 3
    caption_trees.rewrite(root, cells("split", "holdout"))
    assert problems(root, "wrong-split")[0].fatal


@pytest.mark.parametrize(
    "name", ["Mass?", "Mass (uncertain)", "possible Mass", "Mass (-1)", "Mass - probable"]
)
def test_a_label_that_is_marked_as_uncertain_is_asked_about(root: Path, name: str) -> None:
    caption_trees.rewrite(root, cells("labels", "Edema", name, "Mass"))
    assert "marked as uncertain" in asked(root, "uncertain-labels")
    names, _, labels = opened(root, uncertain="positive")
    assert (names, labels[:3]) == (("Edema", "Mass"), [[1, 0], [0, 1], [0, 1]])
    assert name in opened(root, variants="keep")[0]


def test_a_row_whose_labels_all_count_as_negative_has_none_of_them(root: Path) -> None:
    caption_trees.rewrite(root, cells("labels", "Edema;Mass", "Mass?", "Edema"))
    names, multilabel, labels = opened(root, uncertain="negative")
    assert (names, multilabel) == (("Edema", "Mass"), True)
    assert labels[:3] == [[1, 1], [0, 0], [1, 0]]


def test_a_column_called_label_is_read(root: Path) -> None:
    def change(rows: Rows) -> None:
        for number, row in enumerate(rows):
            del row["labels"]
            row["Label"] = ("Edema", "Mass")[number % 2]

    caption_trees.rewrite(root, change)
    assert opened(root)[0] == ("Edema", "Mass")
    assert problems(root, "column-name")


def test_probabilities_are_no_labels(root: Path) -> None:
    caption_trees.rewrite(root, cells("labels", "0.7", "0.2"))
    assert "fractions" in asked(root, "bad-label")
