"""Tables and figures with one title say in what they differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.protocol import NOTHING_DROPPED, Masks, Variant, told_apart
from harness.leaderboard.render import formats, markdown
from harness.store.store import Store
from tests.helpers.leaderboards import RATES, add

THREE, FOUR = Masks("a" * 16, 3, (0.5,)), Masks("b" * 16, 4, (0.5,))
PLAIN, WHITESPACE = {"bleu_4": "bleu|tok:ptb|v:1"}, {"bleu_4": "bleu|tok:whitespace|v:1"}


@pytest.mark.parametrize(
    ("variants", "texts"),
    [
        ([Variant("a", "data"), Variant("b", "data")], ["", ""]),
        ([Variant("a", "1" * 16), Variant("a", "2" * 16)], ["data 11111111", "data 22222222"]),
        ([Variant("a", "t", THREE), Variant("a", "t", FOUR)], ["3 mask seeds", "4 mask seeds"]),
        ([Variant("a", "t", signatures=s) for s in (PLAIN, WHITESPACE)], ["tok:ptb", "tok:whitespace"]),
        (
            [Variant("a", "t", signatures=s) for s in (PLAIN, WHITESPACE, {"cider": "cider|v:1"})],
            ["tok:ptb", "tok:whitespace", "cider"],
        ),
        (
            # Other data have other masks, too; only what is needed is said.
            [Variant("a", "1" * 16, THREE), Variant("a", "2" * 16, FOUR), Variant("b", "1" * 16, FOUR)],
            ["data 11111111", "data 22222222", ""],
        ),
    ],
)
def test_what_differs_is_said_and_nothing_else(variants: list[Variant], texts: list[str]) -> None:
    assert told_apart(variants) == texts


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (FOUR, "3 mask seeds"),
        (Masks("c" * 16, 3, (0.2, 0.5)), "missing rate 0.5"),
        (Masks("c" * 16, 1, (0.2,)), "3 mask seeds, missing rate 0.5"),
        (Masks("c" * 16, 3, (0.5,)), "masks aaaaaaaa"),
        (NOTHING_DROPPED, "missing rate 0.5"),
    ],
)
def test_masks_in_words(other: Masks, text: str) -> None:
    assert THREE.unlike([other]) == text
    assert NOTHING_DROPPED.unlike([THREE]) == "nothing dropped"


def test_titles_and_footnotes_are_those_of_the_json(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add(store, "first", {"cider": 0.5}, mask_seeds=3, masks="three")
    add(store, "second", {"cider": 0.5}, mask_seeds=3, masks="three")
    add(store, "third", {"cider": 0.9, "bleu_4": 0.2}, rates=RATES[:2], mask_seeds=4, masks="four")
    leaderboard = Leaderboard.of(store)
    assert len({table.title for table in leaderboard.tables}) == len(leaderboard.tables) == 2
    assert sum(len(table.beside) for table in leaderboard.tables) == 2
    file = tmp_path / "leaderboard.json"
    file.write_text(leaderboard.to_json())
    assert Leaderboard.from_json(file) == leaderboard
    costs = [line for line in markdown.render(leaderboard.tables).splitlines() if "cost and audit" in line]
    assert len(set(costs)) == 2
    latex = formats.render(leaderboard, "latex").decode()
    assert "Measured under other masks only: third" in latex


def test_numbers_of_several_versions_of_a_metric_are_not_compared_without_a_note(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made = {"code": "1", "a/table": "2"}
    add(store, "first", {"cider": 0.5}, measured_by={"cider": made})
    add(store, "second", {"cider": 0.4}, measured_by={"cider": made | {"a/log": "5"}})
    (table,) = Leaderboard.of(store).tables
    assert not table.beside
    add(store, "third", {"cider": 0.3}, measured_by={"cider": made | {"a/table": "3"}})
    (table,) = Leaderboard.of(store).tables
    note = (
        "cider had other code or files when it measured some rows, and ranks compare them all the same: "
        "first, second; third. Run these methods again."
    )
    assert note in table.beside
    assert "a/table" not in formats.render(Leaderboard.of(store), "json", None).decode()


def test_rows_of_several_protocols_are_not_compared_without_a_note(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add(store, "first", {"cider": 0.5})
    add(store, "second", {"cider": 0.4})
    for table in Leaderboard.of(store).tables:
        assert not any("protocols" in line for line in table.beside)
    add(store, "third", {"cider": 0.3}, protocol=2)
    (table,) = Leaderboard.of(store).tables
    note = "Rows are of several protocols, and ranks compare them all the same: 1: first, second; 2: third."
    assert note in table.beside
    assert note in formats.render(Leaderboard.of(store), "markdown", None).decode().replace("\\", "")
