"""Results accumulate: what another run leaves, what tables show of it, and what only a command removes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.files import read_json, write_json
from harness.evaluation import reproduce
from harness.evaluation.run import run_serially
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import markdown
from harness.leaderboard.robustness import RobustnessReport
from harness.leaderboard.selection import current
from harness.store.store import Store
from tests.cli.test_cli import invoke
from tests.helpers.caption_trees import own
from tests.helpers.leaderboards import RATES, add
from tests.helpers.store_hash import store_hash
from tests.helpers.toys import Quiet


def settings(folder: Path, **more: Any) -> RunSettings:
    values = {"methods": ("echo",), "dataset": "toy", "drop": "any", "mask_seeds": 2, "missing": (0.5,)}
    return RunSettings.of(**values | {"metrics": ("bleu", "cider"), "store": folder / "store"} | more)


def run(folder: Path, **more: Any) -> Store:
    run_serially(settings(folder, **more), Quiet())
    return Store(folder / "store")


def cells(store: Store) -> list[tuple[object, ...]]:
    """Every number of a leaderboard by its place: a place that is there twice would be a double row."""
    return [
        (table.title, table.test_set, table.signatures[metric], row.method, metric, rate)
        for table in Leaderboard.of(store).tables
        for row in table.rows
        for metric, rates in row.numbers.items()
        for rate in rates
    ]


def test_another_tokenizer_and_fewer_metrics_leave_the_first_result(toy_world: Path) -> None:
    store = run(toy_world)
    before = cells(store)
    run(toy_world, metrics=("bleu",), tokenizer="whitespace", missing=())
    assert len(store.stored()) == 2
    after = cells(store)
    assert set(before) < set(after)
    assert len(set(after)) == len(after)
    assert {"bleu|order:4|tok:whitespace" in str(place[2]) for place in set(after) - set(before)} == {True}


def test_fewer_metrics_under_the_same_protocol_are_superseded_and_counted(toy_world: Path) -> None:
    store = run(toy_world)
    before = cells(store)
    run(toy_world, metrics=("bleu",), missing=())
    assert cells(store) == before
    (table,) = Leaderboard.of(store).tables
    assert table.older == 1
    assert "The store holds 1 older result that this table does not show" in markdown.render([table])


def test_other_metrics_of_the_same_protocol_complete_a_row(toy_world: Path) -> None:
    store = run(toy_world, metrics=("bleu",))
    run(toy_world, metrics=("cider",))
    (table,) = Leaderboard.of(store).tables
    (row,) = table.rows
    assert {"bleu_4", "cider"} <= set(row.full)
    assert len(row.keys) == 2
    assert table.older == 0
    assert table.seeds == 1


def test_other_masks_do_not_share_a_line(toy_world: Path) -> None:
    store = run(toy_world, metrics=("bleu",))
    run(toy_world, metrics=("cider",), mask_seeds=5)
    assert [set(table.metrics) for table in Leaderboard.of(store).tables] == [
        {"bleu_1", "bleu_2", "bleu_3", "bleu_4"},
        {"cider"},
    ]


def test_the_same_run_again_overwrites_its_own_result(toy_world: Path) -> None:
    store = run(toy_world)
    first = store_hash(store.root)
    run(toy_world)
    assert len(store.stored()) == 1
    assert store_hash(store.root) == first


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": ("bleu",)},
        {"tokenizer": "whitespace"},
        {"reference_words": 3},
        {"mask_seeds": 3},
        {"missing": (0.4,)},
        {"limit": 20},
    ],
)
def test_whatever_numbers_depend_on_is_in_the_key(toy_world: Path, change: dict[str, Any]) -> None:
    run(toy_world)
    assert len(run(toy_world, **change).stored()) == 2


def test_a_failure_hides_no_numbers(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = run(toy_world)
    before = cells(store)

    def fail(*_: object) -> None:
        raise HarnessError("no luck")

    monkeypatch.setattr("harness.evaluation.evaluate.predict", fail)
    for metrics in (("bleu", "cider"), ("bleu",)):
        rows, succeeded = run_serially(settings(toy_world, metrics=metrics), Quiet())
        assert not succeeded
        assert {row.status for row in rows} == {"failed"}
    assert len(store.stored()) == 2
    assert cells(store) == before


def test_newer_code_wins_and_is_not_mixed_with_older(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    old = add(store, "first", {"cider": 0.5, "bleu_4": 0.2}, cell="cells/old", unix_time=1)
    moved = store.root / "results" / f"{old}-11111111"
    for suffix in (".json", ".npz"):
        (store.root / "results" / f"{old}{suffix}").rename(moved.with_name(moved.name + suffix))
    add(store, "first", {"cider": 0.4}, rates=RATES[:2], cell="cells/new", unix_time=2)
    shown = {(row.metric, row.rate): row.value for each in current(store.stored()) for row in each.rows}
    assert shown["cider", 0.0] == 0.4
    assert ("cider", 0.8) not in shown
    tables = Leaderboard.of(store).tables
    assert sorted(table.metrics for table in tables) == [("bleu_4",), ("cider",)]
    lines = RobustnessReport.of(store.stored()).lines
    assert len({(line.method, line.metric) for line in lines}) == len(lines) == 2


def test_two_tables_of_the_users_are_two_datasets(tmp_path: Path) -> None:
    table = own(tmp_path)
    other = shutil.copy(table, table.with_name("other.csv"))
    Path(other).write_text(Path(other).read_text().replace("clear", "dark"))
    keep = {"dataset": "csv", "methods": ("template",), "metrics": ("bleu",), "missing": (), "drop": None}
    store = run(tmp_path, root=table, **keep)
    run(tmp_path, root=Path(other), set={"csv": {"image_size": 64}}, **keep)
    names = {row.dataset for row in store.results()}
    assert names == {f"csv:{table.stem}", "csv:other"}
    assert len({each.rows[0].dataset for each in current(store.stored())}) == 2
    assert {path.name for path in (store.root / "results").iterdir()} == {f"csv@{table.stem}", "csv@other"}


def test_ls_and_rm_from_the_command_line(toy_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = run(toy_world)
    run(toy_world, metrics=("bleu",), missing=())
    folder = ("--store", str(store.root))
    code, out, _ = invoke(capsys, "store", "ls", *folder, "--format", "json")
    assert code == 0
    rows = json.loads(out)["rows"]
    assert sorted(row["state"] for row in rows) == ["shown", "superseded"]
    assert {tuple(row["metrics"]) for row in rows} == {("bleu", "cider"), ("bleu",)}
    assert all(row["key"].endswith(row["identity"]) and row["identity"] for row in rows)
    code, out, _ = invoke(capsys, "store", "ls", *folder)
    assert code == 0
    assert all(row["key"] in out for row in rows)
    gone, stays = (
        next(row["key"] for row in rows if row["state"] == state) for state in ("superseded", "shown")
    )
    code, _, err = invoke(capsys, "store", "rm", gone, "toy/echo/nothing", *folder)
    assert code == 2
    assert "toy/echo/nothing" in err
    assert len(store.stored()) == 2
    code, out, _ = invoke(capsys, "store", "rm", gone, *folder)
    assert (code, out) == (0, f"removed {gone}\n")
    assert [each.key for each in store.stored()] == [stays]
    assert not list((store.root / "results").rglob(f"{Path(gone).name}.*"))


def test_reproduce_names_the_results_of_a_method_with_several(toy_world: Path) -> None:
    store = run(toy_world)
    run(toy_world, metrics=("bleu",))
    with pytest.raises(HarnessError) as caught:
        reproduce.find(store, "echo")
    assert all(each.key in str(caught.value) for each in store.stored())


def test_results_of_early_stores_are_read(toy_world: Path) -> None:
    store = run(toy_world)
    (result,) = store.stored()
    early = result.key.rpartition("-")[0]
    content = read_json(result.path)
    del content["manifest"]["identity"]
    write_json(store.root / "results" / f"{early}.json", content)
    store.remove_results([result.key])
    assert reproduce.find(store, "echo").key == early
    assert len(Leaderboard.of(store).tables) == 1
    run(toy_world)
    assert len(store.stored()) == 2
    assert len(set(cells(store))) == len(cells(store))
