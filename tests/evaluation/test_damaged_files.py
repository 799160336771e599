"""Damaged files: what can be made again is set aside, named and made again; nothing damaged is believed."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from harness.core import registry
from harness.core.config import RunSettings
from harness.core.errors import CorruptFileError, DiskError, HarnessError
from harness.core.files import read_checked_json, read_json, set_aside, write_checked_json
from harness.core.user_files import write_user_file
from harness.evaluation.reproduce import find
from harness.evaluation.run import run_serially
from harness.leaderboard.leaderboard import Leaderboard
from harness.method import training_state
from harness.method.torch_method import TorchMethod
from harness.store.results import Measurement
from harness.store.store import Store
from tests.evaluation.test_evaluate import toy_config
from tests.helpers import toys
from tests.helpers.store_hash import contents
from tests.helpers.toys import Quiet


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").touch()


def deleted(path: Path) -> None:
    path.unlink()


def no_object(path: Path) -> None:
    path.write_text("[]")


def replaced_by_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replaced_by_a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def replaced_by_a_link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/x")


def another_key(path: Path) -> None:
    path.write_text('{"scheoa": 1}')


HARMS = (emptied, flipped, replaced_by_a_folder, deleted, no_object)
NO_FILES = (replaced_by_a_pipe, replaced_by_a_device, replaced_by_a_link_to_nothing)
FILES = (
    (
        "checkpoint/done.json",
        "predictions/full.jsonl",
        "statistics/full/bleu-??????????.npy",
        "../../../../results/toy/learner/*.json",
    ),
    (
        "checkpoint/model.safetensors",
        "predictions/full.jsonl.sha256.json",
        "../../../../results/toy/learner/*.npz",
    ),
    (
        "checkpoint/model.safetensors.sha256.json",
        "predictions/full.seconds.json",
        "statistics/full/bleu-*.npy.sha256.json",
    ),
)
"""Files that are damaged together, below the cell."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run of two methods that has come to its end."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        toys.register(patch.setitem)
        registry._table.cache_clear()
        assert run_serially(_settings(folder), Quiet())[1]
    registry._table.cache_clear()
    return folder / "store"


def _settings(folder: Path) -> RunSettings:
    return toy_config(folder, ("learner", "echo"), metrics=("bleu",))


@pytest.fixture
def settings(toy_world: Path, finished: Path) -> RunSettings:
    """Of a run that finds a finished store."""
    shutil.copytree(finished, toy_world / "store")
    return _settings(toy_world)


def cell_of(settings: RunSettings) -> Path:
    """The learner's."""
    (cell,) = settings.config.store.glob("cells/toy/learner/*")
    return cell


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("patterns", FILES, ids=lambda patterns: patterns[0])
def test_a_damaged_file_is_made_again(
    settings: RunSettings,
    patterns: tuple[str, ...],
    harm: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = settings.config.store
    before = contents(store)
    for pattern in patterns:
        (path,) = cell_of(settings).glob(pattern)
        harm(path)
    with caplog.at_level(logging.WARNING):
        rows, succeeded = run_serially(settings, Quiet())
    assert succeeded
    assert {row.status for row in rows} == {"ok"}
    assert contents(store) == before
    if harm is not deleted:
        assert caplog.text.count("damaged, set aside as") >= len(patterns) - 1
        assert list(store.rglob("*.damaged"))


def swapped(first: Path, second: Path) -> None:
    """Each in the place of the other, with its seal."""
    for end in ("", ".sha256.json"):
        one, two = (path.with_name(path.name + end) for path in (first, second))
        if one.exists():
            aside = one.with_name("aside")
            one.rename(aside)
            two.rename(one)
            aside.rename(two)


@pytest.mark.parametrize(
    ("first", "second", "lost"),
    [
        ("learner/*/predictions/full.jsonl", "echo/*/predictions/full.jsonl", "statistics"),
        ("learner/*/predictions/full.jsonl", "learner/*/predictions/shuffled-full.jsonl", "statistics"),
        ("learner/*/statistics/full/bleu-*.npy", "learner/*/statistics/shuffled-full/bleu-*.npy", ""),
        ("learner/*/statistics/full/bleu-*.npy", "echo/*/statistics/full/bleu-*.npy", ""),
        ("learner/*", "echo/*", ""),
    ],
)
def test_what_stands_in_the_place_of_another_file_is_made_again(
    settings: RunSettings, first: str, second: str, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = settings.config.store
    before = Store(store).results()
    (one,), (two,) = (list((store / "cells/toy").glob(pattern)) for pattern in (first, second))
    swapped(one, two)
    for cell in list((store / "cells/toy").glob("*/*")) if lost else ():
        shutil.rmtree(cell / lost)
    shutil.rmtree(store / "results")
    with caplog.at_level(logging.WARNING):
        assert run_serially(settings, Quiet())[1]
    assert "damaged, set aside as" in caplog.text
    assert _numbers(Store(store).results()) == _numbers(before)


def _numbers(rows: Sequence[Measurement]) -> dict[tuple[str, str, float, str], tuple[object, ...]]:
    return {(row.method, row.metric, row.rate, row.drop): (row.status, row.value, row.ci95) for row in rows}


def test_answers_of_another_state_are_not_gone_on_with(settings: RunSettings) -> None:
    """An unfinished file has no seal: each of its lines says whose it is."""
    store = settings.config.store
    before = contents(store)
    (full,), (first,) = (
        list(cell_of(settings).glob(f"predictions/{state}.jsonl")) for state in ("full", "shuffled-full")
    )
    shutil.copy(first, full)
    full.with_name(f"{full.name}.sha256.json").unlink()
    shutil.rmtree(cell_of(settings) / "statistics")
    assert run_serially(settings, Quiet())[1]
    assert contents(store) == before


def edited(line: str) -> str:
    return line.replace("heart", "lungs", 1)


def without_its_mark(line: str) -> str:
    return re.sub(r', "of": "\w+"', "", line)


@pytest.mark.parametrize("harm", [edited, without_its_mark])
@pytest.mark.parametrize("lines", [3, None])
def test_a_line_without_a_seal_that_is_not_what_was_written_is_not_believed(
    settings: RunSettings,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[str], str],
    lines: int | None,
) -> None:
    store = settings.config.store
    before = contents(store)
    (full,) = cell_of(settings).glob("predictions/full.jsonl")
    written = full.read_text().splitlines()
    full.write_text("\n".join([harm(written[0]), *written[1:lines]]) + "\n")
    assert full.read_text().splitlines()[0] != written[0]
    full.with_name(f"{full.name}.sha256.json").unlink()
    shutil.rmtree(cell_of(settings) / "statistics")
    with caplog.at_level(logging.WARNING):
        assert run_serially(settings, Quiet())[1]
    assert "full.jsonl: damaged, set aside as" in caplog.text
    assert contents(store) == before


@pytest.mark.parametrize("pattern", ["statistics/full/bleu-*.npy", "checkpoint/model.safetensors"])
def test_a_seal_that_does_not_say_whose_file_it_is_of_is_not_believed(
    settings: RunSettings, caplog: pytest.LogCaptureFixture, pattern: str
) -> None:
    before = contents(settings.config.store)
    (path,) = cell_of(settings).glob(f"{pattern}.sha256.json")
    write_checked_json(path, {"content": read_json(path)["content"]})
    shutil.rmtree(settings.config.store / "results")
    shutil.rmtree(cell_of(settings) / "predictions")
    with caplog.at_level(logging.WARNING):
        assert run_serially(settings, Quiet())[1]
    assert "it was written without its place" in caplog.text
    assert contents(settings.config.store) == before


def test_the_training_of_another_cell_is_not_gone_on_with(settings: RunSettings) -> None:
    store = settings.config.store
    cell = cell_of(settings)
    assert run_serially(settings.replaced(seeds=(1,)), Quiet())[1]
    before = contents(store)
    (other,) = (each for each in cell.parent.iterdir() if each != cell)
    for folder in ("checkpoint", "predictions", "statistics", "training"):
        shutil.rmtree(cell / folder)
    shutil.copytree(other / "training", cell / "training")
    assert run_serially(settings, Quiet())[1]
    assert contents(store) == before


@pytest.mark.parametrize("harm", [*HARMS, *NO_FILES], ids=lambda harm: harm.__name__)
def test_damaged_masks_are_written_again(settings: RunSettings, harm: Callable[[Path], None]) -> None:
    (path,) = settings.config.store.glob("masks/toy/*.json")
    whole = path.read_text()
    harm(path)
    shutil.rmtree(settings.config.store / "results")
    assert run_serially(settings, Quiet())[1]
    assert path.read_text() == whole


@pytest.mark.parametrize("name", ["last.ckpt", "kept.safetensors", "history.json"])
@pytest.mark.parametrize("harm", [*HARMS, replaced_by_a_pipe], ids=lambda harm: harm.__name__)
def test_a_damaged_state_of_training_begins_anew(
    settings: RunSettings, name: str, harm: Callable[[Path], None]
) -> None:
    """PyTorch and safetensors load a file with a flipped bit as if nothing had happened."""
    store = settings.config.store
    before = contents(store)
    cell = cell_of(settings)
    for folder in ("checkpoint", "predictions", "statistics"):
        shutil.rmtree(cell / folder)
    harm(cell / "training" / name)
    assert run_serially(settings, Quiet())[1]
    assert contents(store) == before


def test_a_damaged_file_never_replaces_numbers_by_a_failure(
    settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(settings.config.store)
    values = {row.value for row in store.results() if row.method == "learner"}
    (predictions,) = store.root.glob("cells/toy/learner/*/predictions/full.jsonl")
    flipped(predictions)

    def fails(*args: object) -> None:
        raise ValueError

    monkeypatch.setattr(TorchMethod, "load", fails)
    rows, succeeded = run_serially(settings, Quiet())
    assert not succeeded
    assert {row.status for row in rows if row.method == "learner"} == {"failed"}
    assert {row.value for row in store.results() if row.method == "learner"} == values


def test_a_digit_that_was_changed_by_hand_is_told(settings: RunSettings) -> None:
    store = Store(settings.config.store)
    (path,) = store.root.glob("results/toy/learner/*.json")
    whole = path.read_text()
    value = next(row.value for row in store.results() if row.method == "learner" and row.value)
    path.write_text(whole.replace(repr(value), repr(value + 0.1), 1))
    message = rf"{path.name}: checksum mismatch, the file was damaged \(delete it and run again\)"
    for read in (store.stored, lambda: Leaderboard.of(store), lambda: find(store, "learner")):
        with pytest.raises(CorruptFileError, match=message):
            read()
    # As the message says: deleted, or removed by the command, and run again.
    store.remove_results([path.relative_to(store.root / "results").with_suffix("").as_posix()])
    assert run_serially(settings, Quiet())[1]
    assert next(row.value for row in store.results() if row.method == "learner") == value


@pytest.mark.parametrize("harm", NO_FILES, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("name", ["results/toy/learner/*.json", "results/toy/learner/*.npz", "store.json"])
def test_what_is_no_file_is_never_waited_for(
    settings: RunSettings, name: str, harm: Callable[[Path], None]
) -> None:
    (path,) = settings.config.store.glob(name)
    harm(path)
    if name == "store.json":
        assert Store(settings.config.store).stored()
        return
    if not (name.endswith("npz") and harm is replaced_by_a_link_to_nothing):
        with pytest.raises(CorruptFileError, match=rf"{path.name}: .*(in its place|leads nowhere)"):
            Leaderboard.of(Store(settings.config.store))
    assert run_serially(settings, Quiet())[1]
    assert Leaderboard.of(Store(settings.config.store)).tables


@pytest.mark.parametrize("target", ["full.jsonl", "/nowhere/x"])
def test_a_link_in_the_place_of_answers_is_set_aside(settings: RunSettings, target: str) -> None:
    store = settings.config.store
    before = contents(store)
    answers = cell_of(settings) / "predictions" / "full.jsonl"
    answers.unlink()
    answers.symlink_to(target)
    shutil.rmtree(cell_of(settings) / "statistics")
    assert run_serially(settings, Quiet())[1]
    assert contents(store) == before


def blanks_at_the_end(path: Path) -> None:
    path.write_text(path.read_text() + " \n\n")


def blanks_before_the_end(path: Path) -> None:
    path.write_text(path.read_text().removesuffix("\n}\n") + " \n }")


def checksum_elsewhere(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({"sha256": content.pop("sha256"), **content}))


@pytest.mark.parametrize("edit", [blanks_at_the_end, blanks_before_the_end, checksum_elsewhere])
def test_blanks_of_an_editor_do_not_make_a_result_one_without_a_checksum(
    settings: RunSettings, edit: Callable[[Path], None]
) -> None:
    store = Store(settings.config.store)
    (path,) = store.root.glob("results/toy/learner/*.json")
    edit(path)
    with pytest.raises(CorruptFileError, match=rf"{path.name}: .*checksum"):
        store.stored()


def test_a_result_in_another_place_is_refused(settings: RunSettings) -> None:
    store = Store(settings.config.store)
    (path,) = store.root.glob("results/toy/learner/*.json")
    copy = path.parent.with_name("copy") / path.name
    copy.parent.mkdir()
    shutil.copy(path, copy)
    with pytest.raises(CorruptFileError, match=r"copy/.*: the result toy/learner/.*in the place of another"):
        store.stored()
    store.set_aside_damaged()
    assert [each.path for each in store.stored() if each.manifest.method == "learner"] == [path]


def test_a_file_in_the_place_of_the_results_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "results").touch()
    with pytest.raises(CorruptFileError, match="results: a file or a lost link is in the place of a folder"):
        store.stored()
    replaced_by_a_link_to_nothing(tmp_path / "results")
    with pytest.raises(CorruptFileError, match="results: a file or a lost link is in the place of a folder"):
        store.stored()


def test_absent_replicates_have_a_remark(settings: RunSettings) -> None:
    store = Store(settings.config.store)
    (path,) = store.root.glob("results/toy/learner/*.npz")
    path.unlink()
    remarks = [line for table in Leaderboard.of(store).tables for line in table.beside]
    assert "1 result has no bootstrap replicates (RESULT.npz), so that ranks are absent." in remarks


def test_a_result_without_a_checksum_is_refused_and_made_anew(settings: RunSettings) -> None:
    store = Store(settings.config.store)
    (path,) = store.root.glob("results/toy/learner/*.json")
    content = json.loads(path.read_text())
    del content["sha256"]
    path.write_text(json.dumps(content))
    with pytest.raises(CorruptFileError, match="its checksum is gone"):
        store.stored()
    assert run_serially(settings, Quiet())[1]
    assert "learner" in {each.manifest.method for each in store.stored()}
    assert path.with_name(f"{path.name}.damaged").exists()


def exchanged(path: Path) -> None:
    (other,) = path.parent.parent.glob("echo/*.npz")
    kept = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def moved_up(path: Path) -> None:
    with np.load(path) as arrays:
        values = {name: arrays[name] + np.float32(0.05) for name in arrays.files}
    np.savez(path, **values)


@pytest.mark.parametrize("harm", [exchanged, moved_up])
def test_replicates_of_other_numbers_are_refused_and_made_anew(
    settings: RunSettings, harm: Callable[[Path], None]
) -> None:
    store = Store(settings.config.store)
    before = contents(store.root)
    (path,) = store.root.glob("results/toy/learner/*.npz")
    harm(path)
    with pytest.raises(CorruptFileError, match="not the bootstrap replicates of its result"):
        Leaderboard.of(store)
    assert run_serially(settings, Quiet())[1]
    assert contents(store.root) == before


def test_a_result_of_an_earlier_version_is_named_and_written_anew(settings: RunSettings) -> None:
    store = Store(settings.config.store)
    (path,) = store.root.glob("results/toy/learner/*.json")
    content = read_checked_json(path)
    del content["replicates"]
    write_checked_json(path, content)
    with pytest.raises(CorruptFileError, match="an earlier version wrote this result"):
        store.stored()
    assert run_serially(settings, Quiet())[1]
    assert "learner" in {each.manifest.method for each in store.stored()}


def test_results_that_cannot_be_read_do_not_cost_the_others(settings: RunSettings) -> None:
    store = Store(settings.config.store)
    (numbers,) = store.root.glob("results/toy/learner/*.json")
    (replicates,) = store.root.glob("results/toy/echo/*.npz")
    flipped(numbers)
    flipped(replicates)
    store.set_aside_damaged()
    by_method = {each.manifest.method: each for each in store.stored()}
    assert list(by_method) == ["echo", "learner+shuffled-image"]
    assert by_method["echo"].replicates() == {}
    assert sorted(path.name for path in store.root.rglob("*.damaged")) == sorted(
        [f"{numbers.name}.damaged", f"{replicates.name}.damaged"]
    )


@pytest.mark.parametrize("harm", [emptied, deleted, no_object, another_key])
def test_a_store_that_has_lost_its_marker_is_a_store(
    settings: RunSettings, harm: Callable[[Path], None]
) -> None:
    before = contents(settings.config.store)
    harm(settings.config.store / "store.json")
    assert run_serially(settings, Quiet())[1]
    assert contents(settings.config.store) == before


@pytest.mark.parametrize("target", ["own.txt", "nowhere"])
def test_a_checkpoint_is_never_written_through_a_link(
    settings: RunSettings, tmp_path: Path, target: str
) -> None:
    (tmp_path / "own.txt").write_text("mine")
    before = contents(settings.config.store)
    for done in settings.config.store.rglob("checkpoint/done.json"):
        done.unlink()
        for path in [each for each in done.parent.iterdir() if not each.name.endswith(".sha256.json")]:
            path.unlink()
            path.symlink_to(tmp_path / target)
    assert run_serially(settings, Quiet())[1]
    assert contents(settings.config.store) == before
    assert (tmp_path / "own.txt").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_results_behind_a_link_are_read(settings: RunSettings, tmp_path: Path) -> None:
    results = settings.config.store / "results" / "toy"
    before = len(Store(settings.config.store).stored())
    (results / "learner").rename(tmp_path / "elsewhere")
    (results / "learner").symlink_to(tmp_path / "elsewhere")
    assert len(Store(settings.config.store).stored()) == before


def test_a_folder_of_something_else_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with pytest.raises(HarnessError, match="exists and is not a results store") as moved:
        Store(tmp_path)
    assert "moved or deleted while a run wrote to it" in moved.value.hint
    (tmp_path / "notes.txt").touch()
    with pytest.raises(HarnessError, match="exists and is not a results store") as other:
        Store(tmp_path)
    assert other.value.hint == "choose another"


def test_a_marker_of_something_else_stays(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    marker = tmp_path / "store.json"
    marker.write_text('{"name": "a shop"}')
    with pytest.raises(CorruptFileError, match="it names no schema"):
        Store(tmp_path)
    assert marker.read_text() == '{"name": "a shop"}'


@pytest.mark.parametrize("harm", [replaced_by_a_folder, replaced_by_a_pipe, replaced_by_a_link_to_nothing])
def test_what_is_in_the_place_of_a_lock_is_set_aside(
    settings: RunSettings, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    store = settings.config.store
    before = contents(store)
    (store / ".runs.lock").touch()
    for lock in (store / ".runs.lock", cell_of(settings) / ".lock"):
        harm(lock)
    assert run_serially(settings, Quiet())[1]
    assert os.path.lexists(store / ".runs.lock.damaged")
    for leftover in store.rglob("*.lock.damaged"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    assert contents(store) == before


def test_a_folder_in_the_place_of_a_table_is_set_aside(settings: RunSettings) -> None:
    store = Store(settings.config.store)
    table = store.root / "tables" / "leaderboard.md"
    figures = store.root / "tables" / "figures" / "toy-mcar-n8"
    for folder in (table, figures):
        (folder / "inside").mkdir(parents=True)
    page = table.with_suffix(".html")
    os.mkfifo(page)
    with pytest.raises(HarnessError, match="a folder is in its place"):
        write_user_file(table, b"")
    store.set_aside_damaged()
    write_user_file(table, b"a table")
    assert table.read_bytes() == b"a table"
    assert figures.is_dir()
    assert not page.exists()


def test_a_full_disk_in_safetensors_is_one_line(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise SafetensorError(
            'I/O error: Os { code: 28, kind: StorageFull, message: "No space left on device" }'
        )

    monkeypatch.setattr(training_state, "save_model", full)
    reporter = Quiet()
    with pytest.raises(DiskError, match=r"cannot write .*kept\.safetensors: no space left on the disk"):
        run_serially(toy_config(toy_world, ("learner",), metrics=("bleu",)), reporter)
    assert (toy_world / "work.log").read_text().splitlines().count("step train") == 5, "one epoch, no more"


def test_what_is_set_aside_twice_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in ("first", "second"):
        path.write_text(content)
        set_aside(path, "a test")
    path.mkdir()
    set_aside(path, "a test")
    assert [each.name for each in tmp_path.iterdir()] == ["file.damaged"]
    path.write_text("third")
    set_aside(path, "a test")
    assert (tmp_path / "file.damaged").read_text() == "third"
    set_aside(path, "it is gone already")


def test_a_damaged_answer_of_an_unfinished_file_is_asked_again(settings: RunSettings) -> None:
    before = contents(settings.config.store)
    (path,) = settings.config.store.glob("cells/toy/learner/*/predictions/full.jsonl")
    (path.parent / f"{path.name}.sha256.json").unlink()
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace('"id"', '"if"')
    path.write_text("\n".join(lines) + "\n")
    assert run_serially(settings, Quiet())[1]
    assert contents(settings.config.store) == before


def test_weights_of_the_learner_are_what_was_trained(settings: RunSettings) -> None:
    """The tests above would pass with files that nothing reads."""
    (path,) = settings.config.store.glob("cells/toy/learner/*/training/last.ckpt")
    assert torch.load(path, weights_only=True)["callbacks"]["training_state"]["checksum"]
    (rows,) = settings.config.store.glob("cells/toy/learner/*/statistics/full/bleu-*.npy")
    assert np.load(rows).shape[0] == 40


@pytest.fixture
def unrepeatable(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> RunSettings:
    monkeypatch.setitem(registry.METHODS, "unrepeatable", "tests.helpers.faulty:Unrepeatable")
    registry._table.cache_clear()
    settings = toy_config(toy_world, ("unrepeatable",), metrics=("bleu",))
    assert run_serially(settings, Quiet())[1]
    return settings


def words_of(settings: RunSettings) -> set[str]:
    """The first words of all stored answers: one for each training."""
    files = settings.config.store.glob("cells/*/unrepeatable/*/predictions/*.jsonl")
    lines = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    return {line["report"].split()[0] for line in lines}


@pytest.mark.parametrize("way", ["damaged", "deleted", "and begun"])
def test_answers_of_another_training_are_not_used(
    unrepeatable: RunSettings, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    (word,) = words_of(unrepeatable)
    (cell,) = unrepeatable.config.store.glob("cells/*/unrepeatable/*")
    if way == "damaged":
        (cell / "checkpoint" / "word.txt").write_text("another")
    else:
        shutil.rmtree(cell / "checkpoint")
    state, other = sorted(path.name for path in (cell / "predictions").glob("*.jsonl"))[:2]
    for path in (cell / "predictions").glob(f"{state}*"):
        path.unlink()
    if way == "and begun":
        (cell / "predictions" / f"{other}.sha256.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert run_serially(unrepeatable, Quiet())[1]
    (after,) = words_of(unrepeatable)
    assert after != word
    assert "predictions: damaged, set aside as predictions.damaged: of another training" in caplog.text


@pytest.mark.parametrize("part", ["predictions", "statistics", "checkpoint"])
def test_parts_of_another_training_of_the_same_cell_are_not_used(
    unrepeatable: RunSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    """As where the stores of two machines are put together."""
    second = unrepeatable.replaced(store=tmp_path / "second")
    assert run_serially(second, Quiet())[1]
    (own,), (other,) = (each.config.store.glob("cells/*/unrepeatable/*") for each in (unrepeatable, second))
    assert own.name == other.name
    shutil.rmtree(own / part)
    shutil.copytree(other / part, own / part)
    with caplog.at_level(logging.WARNING):
        assert run_serially(unrepeatable, Quiet())[1]
    assert len(words_of(unrepeatable)) == 1
    kept = (own / "checkpoint" / "word.txt").read_text()
    assert words_of(unrepeatable) == {kept}
    assert "of another training of the method" in caplog.text
