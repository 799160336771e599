"""A user's own CSV: what its columns mean, and the page that shows it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core.errors import HarnessError
from harness.core.types import Study, Task
from harness.datasets.check import examine
from harness.datasets.csv_table import CSVTable
from tests.helpers import caption_trees

PAGE = Path(__file__).parents[2] / "docs" / "own-data.md"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return caption_trees.own(tmp_path / "data")


def all_studies(dataset: CSVTable) -> list[Study]:
    return [study for split in ("train", "val", "test") for study in dataset.studies(split)]


def test_columns_become_a_study(root: Path) -> None:
    dataset = CSVTable.open(root, image_size=32)
    info = dataset.info
    assert info.tasks == set(Task)
    assert info.modalities == ("frontal", "lateral", "context")
    assert (info.channels, info.image_size) == (1, 32)
    assert [len(dataset.studies(split)) for split in ("train", "val", "test")] == [6, 2, 4]
    first, second = dataset.studies("train")[:2]
    assert first.modalities == {"frontal"}
    assert first.context is None
    assert second.modalities == {"frontal", "lateral", "context"}
    assert (second.context, second.report) == ("cough", caption_trees.sentence(1))
    assert (second.patient_id, second.attributes) == ("p0", {"age": 41.0})


def test_lists_of_findings_and_single_classes(root: Path) -> None:
    info = CSVTable.open(root).info
    assert (info.label_names, info.multilabel) == (("Cardiomegaly", "Edema", "No Finding"), True)
    assert CSVTable.open(root).studies("train")[0].labels.tolist() == [1, 1, 0]
    caption_trees.rewrite(root, lambda rows: [row.update(labels=row["labels"][:5]) for row in rows])
    classes = CSVTable.open(root).info
    assert (classes.label_names, classes.multilabel) == (("Edema", "No Fi"), False)
    caption_trees.rewrite(root, lambda rows: rows[0].update(labels="Edema;"))
    assert CSVTable.open(root).info.multilabel


def test_language_and_region_of_a_table(root: Path) -> None:
    info = CSVTable.open(root).info
    assert (info.language, info.region) == ("en", "chest")
    assert CSVTable.open(root, language="de").info.language == "de"


def test_labels_of_some_rows_are_no_task(root: Path) -> None:
    caption_trees.rewrite(root, lambda rows: rows[4].update(labels=""))
    info = CSVTable.open(root).info
    assert (info.label_names, Task.DIAGNOSE in info.tasks) == ((), False)
    (problem,) = examine("csv", root).problems
    assert (problem.kind, problem.where, problem.fatal) == ("no-labels", "my.csv, line 6", False)


def test_further_views_and_colour(root: Path) -> None:
    def change(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["image:oblique"] = row.pop("lateral")

    caption_trees.rewrite(root, change)
    dataset = CSVTable.open(root, image_size=32, channels=3)
    assert dataset.info.image_modalities == ("frontal", "oblique")
    assert dataset.studies("train")[1].images["oblique"].shape == (32, 32, 3)
    grey = CSVTable.open(root, image_size=32)
    assert grey.info.fingerprint != dataset.info.fingerprint
    assert grey.studies("train")[1].images["oblique"].shape == (32, 32, 1)
    with pytest.raises(HarnessError, match="2 channels"):
        CSVTable.open(root, channels=2)


@pytest.mark.parametrize("name", ["image:", "image:Context!", "image:context", "image:frontal"])
def test_a_view_has_a_name_of_its_own(root: Path, name: str) -> None:
    caption_trees.rewrite(root, lambda rows: [row.update({name: ""}) for row in rows])
    with pytest.raises(HarnessError, match="cannot name a view"):
        CSVTable.open(root)


def test_a_mistyped_column_is_noted(root: Path) -> None:
    def change(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["lateal"] = row.pop("lateral")

    caption_trees.rewrite(root, change)
    (problem,) = [problem for problem in examine("csv", root).problems if problem.kind == "unknown-column"]
    assert not problem.fatal
    assert problem.hint.startswith("did you mean lateral")


def test_the_fingerprint_follows_what_methods_see(root: Path) -> None:
    def now() -> str:
        return CSVTable.open(root).info.fingerprint

    seen = [now()]
    assert now() == seen[0]
    changes = {"report": "Other.", "labels": "Edem", "indication": "pain", "attribute:age": "99"}
    for column, value in changes.items():
        caption_trees.rewrite(root, lambda rows, c=column, v=value: rows[1].update({c: v}))
        seen.append(now())
    with open(root.parent / "images" / "0-frontal.png", "ab") as stream:
        stream.write(b"\0")
    seen.append(now())
    assert len(set(seen)) == len(seen)


def test_quoted_line_breaks_and_a_byte_order_mark(root: Path) -> None:
    caption_trees.rewrite(root, lambda rows: rows[0].update(report="One.\nTwo."))
    root.write_bytes(b"\xef\xbb\xbf" + root.read_bytes())
    dataset = CSVTable.open(root)
    assert dataset.studies("train")[0].report == "One.\nTwo."
    caption_trees.rewrite(root, lambda rows: None)
    text = root.read_text(encoding="utf-8").replace("s1,p0,train", "s1,p0,trian")
    root.write_text(text, encoding="utf-8")
    with pytest.raises(HarnessError, match=r"my\.csv, line 4: .*'trian'"):
        CSVTable.open(root)


def test_the_table_may_be_reached_by_a_link(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to(root)
    assert len(all_studies(CSVTable.open(link))) == 12
    (tmp_path / "linked").symlink_to(root.parent, target_is_directory=True)
    assert np.array_equal(
        CSVTable.open(tmp_path / "linked" / "my.csv").studies("val")[0].images["frontal"],
        CSVTable.open(root).studies("val")[0].images["frontal"],
    )


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


@pytest.mark.process
def test_the_page_from_the_file_to_the_leaderboard_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (script,) = blocks("python")
    exec(compile(script, PAGE.name, "exec", dont_inherit=True), {"__name__": "page"})
    commands = [line.removeprefix("$ harness ") for block in blocks("console") for line in block.splitlines()]
    assert [command.split()[0] for command in commands] == ["data", "run", "leaderboard"]
    messages = []
    for command in commands:
        result = CliRunner().invoke(app, command.split(), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        messages.append(result.stdout)
    assert messages[0].endswith("0 fatal, 0 to know of\n")
    assert "# csv" in messages[2]
    assert re.search(r"retrieval.*\d\.\d", messages[2])


def test_what_the_page_says_is_refused(root: Path) -> None:
    caption_trees.rewrite(root, lambda rows: rows[2].update(split="tset"))
    with pytest.raises(HarnessError) as caught:
        CSVTable.open(root)
    assert str(caught.value) in PAGE.read_text()
    caption_trees.rewrite(root, lambda rows: rows[2].update(split="train", frontal="../other/x.png"))
    with pytest.raises(HarnessError) as caught:
        CSVTable.open(root)
    assert str(caught.value) in PAGE.read_text()
    (table,) = blocks("csv")
    assert table.splitlines()[0] == "id,patient,split,frontal,lateral,indication,report,labels"
