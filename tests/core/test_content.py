"""Settings that are files count by what the files hold: an edited file is another cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core import content
from harness.core.content import by_content, content_digest, is_local_path
from harness.core.errors import HarnessError
from harness.evaluation.benchmark import open_benchmark
from harness.evaluation.trial import Trial
from tests.evaluation.test_evaluate import toy_config


@pytest.mark.parametrize(
    ("value", "local"),
    [
        ("/nowhere/priors", True),
        ("priors.yaml", True),
        ("priors", True),
        ("folder/priors", True),
        ("owner/model", False),
        ("mean", False),
        ("folder", False),
        ("x" * 10_000, False),
        ("", False),
        (3, False),
    ],
)
def test_what_is_a_file_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object, local: bool
) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("priors", "folder/priors"):
        (tmp_path / name).write_text("groups: {}")
    monkeypatch.chdir(tmp_path)
    assert is_local_path(value) == local


def test_a_folder_counts_by_its_files_and_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    (folder / "deeper").mkdir(parents=True)
    (folder / "deeper" / "weights.bin").write_bytes(b"1")
    before = by_content({"weights": [str(folder)]})
    copy = tmp_path / "copy"
    (copy / "deeper").mkdir(parents=True)
    (copy / "deeper" / "weights.bin").write_bytes(b"1")
    assert by_content({"weights": [str(copy)]}) == before
    (copy / "deeper" / "weights.bin").rename(copy / "deeper" / "other.bin")
    assert by_content({"weights": [str(copy)]}) != before
    (folder / "deeper" / "weights.bin").write_bytes(b"22")
    assert by_content({"weights": [str(folder)]}) != before


@pytest.mark.parametrize("name", ["priors.yaml", "priors", "checkpoint/weights.bin"])
def test_a_cell_belongs_to_the_content_of_its_files(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(toy_world)
    file = toy_world / name
    file.parent.mkdir(exist_ok=True)
    given = name.partition("/")[0] if "/" not in name else str(file.parent)

    def cell() -> str:
        settings = toy_config(toy_world, metrics=("bleu",), set={"echo": {"fail": given}})
        benchmark = open_benchmark(settings)
        return str(Trial(benchmark, benchmark.entries[0], 0).cell.directory)

    file.write_text("first")
    first = cell()
    assert cell() == first
    file.write_text("the second")
    second = cell()
    assert second != first
    file.unlink()
    moved = toy_world / "moved" / file.name
    assert content_digest(str(moved)) != content_digest(str(file))


def test_a_link_to_a_whole_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / str(number)).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(list(content.files_below(tmp_path))) == 5
    monkeypatch.setattr(content, "_MOST", 3)
    with pytest.raises(HarnessError, match="more than 3 files lie below it"):
        list(content.files_below(tmp_path))


def test_a_folder_counts_by_what_linked_folders_in_it_hold(tmp_path: Path) -> None:
    real, folder = tmp_path / "real", tmp_path / "folder"
    real.mkdir()
    folder.mkdir()
    (folder / "linked").symlink_to(real)
    (real / "w.bin").write_text("1")
    before = content_digest(str(folder))
    (real / "w.bin").write_text("2")
    assert content_digest(str(folder)) != before
