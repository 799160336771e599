"""Results accumulate: what another run leaves, what tables show of it, and what only a command removes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.cli import tables
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.files import read_checked_json, write_checked_json
from harness.evaluation import reproduce
from harness.evaluation.run import run_serially
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import formats, markdown, robustness, terminal
from harness.leaderboard.render.blocks import Screen
from harness.leaderboard.render.gallery import write_figures
from harness.leaderboard.robustness import RobustnessReport
from harness.leaderboard.selection import current, select
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
        (table.heading, table.group, table.test_set, table.signatures[metric], row.method, metric, rate)
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
    new = set(after) - set(before)
    assert {"bleu|order:4|norm:none|tok:whitespace" in str(place[3]) for place in new} == {True}


def test_fewer_metrics_under_the_same_protocol_are_superseded_and_counted(toy_world: Path) -> None:
    store = run(toy_world)
    before = cells(store)
    run(toy_world, metrics=("bleu",), missing=())
    assert cells(store) == before
    (table,) = Leaderboard.of(store).tables
    (sentence,) = table.beside
    assert sentence == "The store holds 1 older result that this table does not show: harness store ls."
    assert sentence in markdown.render([table])


def test_other_metrics_of_the_same_protocol_complete_a_row(toy_world: Path) -> None:
    store = run(toy_world, metrics=("bleu",))
    run(toy_world, metrics=("cider",))
    (table,) = Leaderboard.of(store).tables
    (row,) = table.rows
    assert {"bleu_4", "cider"} <= set(row.full)
    assert len(row.keys) == 2
    assert table.beside == ()
    assert table.seeds == 1


def test_other_masks_do_not_share_a_table(toy_world: Path) -> None:
    store = run(toy_world, metrics=("bleu",))
    run(toy_world, metrics=("cider",), mask_seeds=5)
    heading = "toy, 40 test studies, any missing (mcar)"
    assert {table.title: set(table.metrics) for table in Leaderboard.of(store).tables} == {
        f"{heading}, 2 mask seeds: report text": {"bleu_1", "bleu_2", "bleu_3", "bleu_4"},
        f"{heading}, 5 mask seeds: report text": {"cider"},
    }


def test_a_table_has_the_masks_that_all_methods_have(tmp_path: Path) -> None:
    store, three, four = Store(tmp_path / "store"), seeds(3), seeds(4)
    for time, (method, heights, masks) in enumerate(
        [
            ("first", {"bleu_4": 0.2}, three),
            ("second", {"bleu_4": 0.1}, three),
            ("first", {"bleu_4": 0.9}, four),
            ("first", {"cider": 0.5}, three),
            ("second", {"cider": 0.4}, three),
        ]
    ):
        place(store, add(store, method, heights, unix_time=time, **masks), str(time))
    (table,) = Leaderboard.of(store).tables
    assert {row.method: row.full["bleu_4"].value for row in table.rows} == {"first": 0.2, "second": 0.1}
    assert {row.method: row.full["cider"].value for row in table.rows} == {"first": 0.5, "second": 0.4}
    assert table.beside == (
        "The store holds 1 result under other masks (4 mask seeds) that this table does not show: "
        "harness store ls.",
    )
    text = markdown.render([table])
    assert all(f"-{time}`" in text for time in "0134"), "every key that is shown has its place"
    lines = RobustnessReport.of(store.stored()).lines
    assert {(line.method, line.masks.seeds) for line in lines} == {("first", 3), ("second", 3)}
    # As soon as all methods have the newer masks, tables show those.
    place(store, add(store, "second", {"bleu_4": 0.8}, unix_time=9, **four), "9")
    shown = {table.title: table for table in Leaderboard.of(store).tables}
    assert {title.partition(", ")[2].partition("), ")[2] for title in shown} == {
        "3 mask seeds: report text",
        "4 mask seeds: report text",
    }
    newer = next(table for title, table in shown.items() if "4 mask seeds" in title)
    assert {row.method: row.full["bleu_4"].value for row in newer.rows} == {"first": 0.9, "second": 0.8}


def test_a_method_with_other_masks_only_is_named_with_its_key(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for method in ("first", "second"):
        add(store, method, {"cider": 0.5}, unix_time=1, **seeds(3))
    key = add(store, "third", {"cider": 0.9}, rates=RATES[:2], unix_time=2, **seeds(3, "other"))
    leaderboard = Leaderboard.of(store)
    (table,) = leaderboard.tables
    assert [row.method for row in table.rows] == ["first", "second"]
    named = f"Measured under other masks only: third (missing rate 0.2): {key}."
    assert table.beside[1] == named
    screen = "".join(str(part) for part in terminal.render(table, Screen(80)))
    for text in (markdown.render([table]), formats.render(leaderboard, "html").decode(), screen):
        assert named in text
    assert [each.key for each in select(store.stored()).other_masks] == [key]


def test_the_end_of_a_run_says_where_tables_show_other_masks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "store")
    for method in ("first", "second"):
        add(store, method, {"cider": 0.5}, unix_time=1, **seeds(3))
    key = add(store, "third", {"cider": 0.9}, unix_time=2, **seeds(4))
    note = "leaderboard.md shows other masks than those of this run"
    for keys, says in (({key}, True), ({each.key for each in store.stored()} - {key}, False)):
        rows = [row for row in store.results() if row.key in keys]
        tables.print_first_tables(store.root, rows, Path("t"))
        assert (note in " ".join(capsys.readouterr().out.split())) is says


def test_numbers_at_rate_0_fit_all_masks(toy_world: Path) -> None:
    store = run(toy_world)
    run(toy_world, methods=("template",), missing=(), mask_seeds=5)
    (table,) = Leaderboard.of(store).tables
    assert {row.method for row in table.rows} == {"echo", "template"}
    assert table.beside == ()


def seeds(number: int, digest: str = "") -> dict[str, Any]:
    """What a manifest says of masks."""
    return {"mask_seeds": number, "masks": digest or f"digest{number}"}


def place(store: Store, key: str, identity: str) -> None:
    """Give a result the key of another identity."""
    moved = store.root / "results" / f"{key}-{identity}"
    for suffix in (".json", ".npz"):
        (store.root / "results" / f"{key}{suffix}").rename(moved.with_name(moved.name + suffix))


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


def test_a_metric_that_fails_later_keeps_its_number(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = run(toy_world)
    (before,) = store.stored()
    replicates = before.replicates()
    shutil.rmtree(store.root / before.manifest.cell / "statistics")

    def fail(*_: object) -> None:
        raise HarnessError("no memory")

    monkeypatch.setattr("harness.metrics.text.cider.Cider.statistics", fail)
    for _ in range(2):
        reporter = Quiet()
        rows, succeeded = run_serially(settings(toy_world), reporter)
        assert not succeeded
        assert {row.status for row in rows if row.metric == "cider"} == {"failed"}
        (after,) = store.stored()
        assert [(row.metric, row.rate, row.value, row.ci95, row.status) for row in after.rows] == [
            (row.metric, row.rate, row.value, row.ci95, row.status) for row in before.rows
        ]
        assert {row.detail.split("; ")[-1] for row in after.rows if row.metric == "cider"} == {
            "from an earlier run, because the newest has no value: no memory"
        }
        assert {name: each.tolist() for name, each in after.replicates().items()} == {
            name: each.tolist() for name, each in replicates.items()
        }
        assert after.manifest.reliance == before.manifest.reliance
    monkeypatch.undo()
    (table,) = Leaderboard.of(store).tables
    assert "from an earlier run, because" in markdown.render([table])


def test_newer_code_wins_and_is_not_mixed_with_older(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    old = add(store, "first", {"cider": 0.5, "bleu_4": 0.2}, cell="cells/old", unix_time=1)
    place(store, old, "11111111")
    add(store, "first", {"cider": 0.4}, rates=RATES[:2], cell="cells/new", unix_time=2)
    shown = {(row.metric, row.rate): row.value for each in current(store.stored()) for row in each.rows}
    assert shown["cider", 0.0] == 0.4
    assert ("cider", 0.8) not in shown
    shown_tables = Leaderboard.of(store).tables
    assert sorted(table.metrics for table in shown_tables) == [("bleu_4",), ("cider",)]
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
    assert len({table.title for table in Leaderboard.of(store).tables}) == 2
    assert {path.name for path in (store.root / "results").iterdir()} == {f"csv@{table.stem}", "csv@other"}


def test_two_tables_of_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = own(tmp_path)
    other = tmp_path / "other" / table.name
    shutil.copytree(table.parent, other.parent, ignore=shutil.ignore_patterns("other", "store"))
    other.write_text(other.read_text().replace("clear", "dark"))
    keep = {"dataset": "csv", "methods": ("template",), "metrics": ("bleu",), "missing": (0.5,)}
    for root in (table, other):
        store = run(tmp_path, root=root, drop="frontal", **keep)
    data = {result.manifest.test_set[:8]: result.manifest.config["root"] for result in store.stored()}
    titles = [table.title for table in Leaderboard.of(store).tables]
    assert len(data) == len(titles) == 2
    assert {title.partition(", data ")[2].partition(":")[0] for title in titles} == set(data)
    text = markdown.render(Leaderboard.of(store).tables)
    assert len({line for line in text.splitlines() if line.startswith("#")}) == 4
    drawn = write_figures(store.stored(), RobustnessReport.of(store.stored()), tmp_path / "figures", ["png"])
    folders = {path.parent.name for path in drawn}
    assert {name.partition("-data-")[2] for name in folders} == set(data)
    empty = Store(store.root.parent / "empty").root
    assert invoke(capsys, "store", "ls", "--store", str(empty)) == (
        0,
        "",
        f"{empty} holds no results: harness run makes some\n",
    )
    code, out, _ = invoke(capsys, "store", "ls", "--store", str(store.root))
    assert code == 0
    for digest, root in data.items():
        assert f"csv:{table.stem}, data {digest}: {root}" in out
        assert out.count(f"data {digest}") == 2


def test_two_tokenizers_have_their_own_titles_and_figures(toy_world: Path) -> None:
    store = run(toy_world)
    run(toy_world, tokenizer="whitespace")
    titles = [table.title for table in Leaderboard.of(store).tables]
    assert sorted(title.rpartition(", ")[2] for title in titles) == [
        "tok:r2gen-iu: report text",
        "tok:whitespace: report text",
    ]
    report = RobustnessReport.of(store.stored())
    assert len({line for line in robustness.markdown(report).splitlines() if line.startswith("#")}) == 2
    drawn = write_figures(store.stored(), report, toy_world / "figures", ["png"])
    assert len({path for path in drawn if path.stem == "curves-bleu_4"}) == 2


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
    content = read_checked_json(result.path)
    del content["manifest"]["identity"]
    content["rows"] = [row | {"key": early} for row in content["rows"]]
    write_checked_json(store.root / "results" / f"{early}.json", content)
    store.remove_results([result.key])
    assert reproduce.find(store, "echo").key == early
    assert len(Leaderboard.of(store).tables) == 1
    run(toy_world)
    assert len(store.stored()) == 2
    assert len(set(cells(store))) == len(cells(store))


def test_a_folder_in_the_place_of_a_result_is_set_aside_by_rm(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add(store, "dia", {"bleu_4": 0.2})
    (result,) = store.stored()
    result.path.unlink()
    result.path.mkdir()
    (result.path / "note").touch()
    store.remove_results([result.key])
    assert store.stored() == []
    assert result.path.with_name(f"{result.path.name}.damaged").is_dir()
