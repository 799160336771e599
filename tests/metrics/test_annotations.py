"""The cache of per-text results: what it asks for, what it survives, what it never holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.core.errors import DiskError
from harness.metrics import annotation_cache
from harness.metrics.annotation_cache import annotated, pair, path_of


class Counter:
    """Lengths of texts, and every text that was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> list[int]:
        self.asked += texts
        return [len(text) for text in texts]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    return tmp_path


def test_a_text_is_annotated_once() -> None:
    work = Counter()
    assert annotated("m|v:1", ["bb", "", "bb", "a"], work) == [2, 0, 2, 1]
    assert work.asked == ["bb", "", "a"]
    assert annotated("m|v:1", ["a", "ccc", "bb"], work) == [1, 3, 2]
    assert work.asked == ["bb", "", "a", "ccc"]
    annotated("m|v:2", ["a"], work)
    assert work.asked[-1] == "a", "another signature shares nothing"


def test_no_text_reaches_the_disk(cache: Path) -> None:
    annotated("m|v:1", ["the heart is enlarged"], Counter())
    written = [path.read_text() for path in cache.rglob("*") if path.is_file()]
    assert any("m|v:1" in text for text in written)
    assert not any("heart" in text for text in written)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"signature": "other", "values": {}}', '{"signature": "m"}']
)
def test_a_damaged_cache_is_computed_again(content: str) -> None:
    path_of("m").parent.mkdir(parents=True)
    path_of("m").write_text(content)
    assert annotated("m", ["ab"], Counter()) == [2]
    assert annotated("m", ["ab"], lambda texts: pytest.fail("cached")) == [2]


def test_a_value_that_was_changed_is_computed_again() -> None:
    assert annotated("m", ["ab", "c"], Counter()) == [2, 1]
    path = path_of("m")
    path.write_text(path.read_text().replace(":2", ":3"))
    assert annotated("m", ["ab", "c"], Counter()) == [2, 1]
    assert path.with_name(f"{path.name}.damaged").exists()


def test_values_of_another_signature_are_computed_again() -> None:
    annotated("m|v:1", ["ab"], Counter())
    own, other = path_of("m|v:1"), path_of("m|v:2")
    other.write_text(own.read_text().replace("m|v:1", "m|v:2"))
    assert annotated("m|v:2", ["ab"], lambda texts: [7]) == [7]


def test_a_pipe_in_the_place_of_the_cache_is_set_aside() -> None:
    path_of("m").parent.mkdir(parents=True)
    os.mkfifo(path_of("m"))
    assert annotated("m", ["ab"], Counter()) == [2]
    assert path_of("m").is_file()


def test_a_folder_in_the_place_of_the_cache_is_set_aside() -> None:
    path_of("m").mkdir(parents=True)
    assert annotated("m", ["ab"], Counter()) == [2]
    assert path_of("m").is_file()


def test_a_killed_run_keeps_finished_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotation_cache, "CHUNK", 2)
    work = Counter()

    def dies(texts: list[str]) -> list[int]:
        if "c" in texts:
            raise KeyboardInterrupt
        return work(texts)

    with pytest.raises(KeyboardInterrupt):
        annotated("m", ["a", "b", "c"], dies)
    assert annotated("m", ["a", "b", "c"], work) == [1, 1, 1]
    assert work.asked == ["a", "b", "c"]


def test_two_runs_keep_what_both_found() -> None:
    def meanwhile(texts: list[str]) -> list[int]:
        annotated("m", ["other"], lambda texts: [5])
        return [1 for _ in texts]

    annotated("m", ["a"], meanwhile)
    assert annotated("m", ["a", "other"], lambda texts: pytest.fail("cached")) == [1, 5]


def test_a_wrong_number_of_values_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        annotated("m", ["a", "b"], lambda texts: [1])


def test_a_folder_that_cannot_be_made_is_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **options: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "mkdir", forbidden)
    with pytest.raises(DiskError, match="HARNESS_CACHE"):
        annotated("m", ["a"], Counter())


def test_pairs_are_unambiguous() -> None:
    assert len({pair("a", "bc"), pair("ab", "c"), pair("bc", "a"), pair("", "abc")}) == 4


def test_a_file_in_the_place_of_the_folder_is_set_aside(cache: Path) -> None:
    (cache / "annotations").write_text("mine")
    assert annotated("m", ["ab"], Counter()) == [2]
    assert (cache / "annotations.damaged").read_text() == "mine"
