"""Results of others: what their texts could do to a terminal, a page or a reader is taken from them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from rich.console import Console

from harness.core.errors import CorruptFileError, HarnessError
from harness.leaderboard import bundle
from harness.leaderboard.leaderboard import UNCHECKED, Leaderboard, _digest
from harness.leaderboard.render import formats, robustness, terminal
from harness.leaderboard.render.blocks import Screen
from harness.leaderboard.robustness import RobustnessReport
from harness.store.row_labels import label_of
from harness.store.store import Store
from tests.helpers.leaderboards import RATES, add, manifest_values, small_store

HOSTILE = "\x1b[31mred\x1b[0m\u202e\u200d\u200b\u2066abc<img src=x onerror=alert(1)>[/]`a`\x07"
FIELDS = (
    "metric",
    "method",
    "dataset",
    "preset",
    "drop",
    "mechanism",
    "signature",
    "detail",
    "device",
    "command",
)


def planted(value: Any, field: str) -> Any:
    """A copy in which every text under a name is hostile."""
    if isinstance(value, dict):
        return {
            name: HOSTILE if name == field and isinstance(each, str) else planted(each, field)
            for name, each in value.items()
        }
    return [planted(each, field) for each in value] if isinstance(value, list) else value


def signed(content: dict[str, Any]) -> dict[str, Any]:
    """As of a file that others wrote, who know how a checksum is made."""
    return content | {"sha256": _digest(content)}


@pytest.mark.parametrize("format_", ["markdown", "html", "csv", "latex", "json"])
@pytest.mark.parametrize("field", FIELDS)
def test_no_escape_code_no_direction_and_no_tag_is_shown(field: str, format_: str, tmp_path: Path) -> None:
    content = json.loads(Leaderboard.of(small_store(tmp_path / "store")).to_json())
    file = tmp_path / "foreign.json"
    file.write_text(json.dumps(signed(planted(content, field) | {"tables": [], "states": []})))
    rendered = formats.render(Leaderboard.from_json(file), format_)
    text = rendered.decode() if isinstance(rendered, bytes) else rendered
    assert not {"\x1b", "\u202e", "\u200d", "\u200b", "\u2066", "\x07"} & set(text)
    if format_ in ("markdown", "html"):
        bare = text.replace("\\<", "")
        assert not any("<img" in part for part in bare.split("`")[::2])


@pytest.mark.parametrize("field", FIELDS)
def test_no_escape_code_reaches_a_terminal(field: str, tmp_path: Path) -> None:
    content = json.loads(Leaderboard.of(small_store(tmp_path / "store")).to_json())
    file = tmp_path / "foreign.json"
    file.write_text(json.dumps(signed(planted(content, field) | {"tables": [], "states": []})))
    board = Leaderboard.from_json(file)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=400, color_system=None)
    for table in board.tables:
        for part in (
            *terminal.render(table, Screen.of(console)),
            *terminal.render_first([table], Screen(80)),
        ):
            console.print(part)
    for part in terminal.render_costs(board.tables, Screen.of(console)):
        console.print(part)
    shown = stream.getvalue()
    assert shown
    assert not {"\u202e", "\u200d", "\u200b", "\u2066", "\x07"} & set(shown)
    assert "\x1b[31mred" not in shown


SECRET = "/data/hospital/llama"


@pytest.mark.parametrize("format_", ["markdown", "html", "csv", "latex", "json", "model-index"])
def test_no_format_shows_a_path_of_the_machine(format_: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    digest = {SECRET: "0123456789ab"}
    settings = {"llm": SECRET, "parts": [SECRET], "nested": {"weights": SECRET}}
    card = manifest_values("vdgen", 0, RATES)["card"] | {"settings": settings, "weights": [SECRET]}
    config = {"methods": ["vdgen"], "dataset": "toy", "root": SECRET, "masks": SECRET, "store": SECRET}
    config |= {"missing": [0.2], "seeds": [0], "set": {"vdgen": settings, "toy": {"profile": SECRET}}}
    facts = {"files": digest, "changed": {"llm": ("tiny", SECRET)}, "card": card, "config": config}
    facts |= {"execution": {"store": SECRET, "address": None}, "checkpoint": "abc"}
    label = label_of("vdgen", {"llm": SECRET})
    add(store, label, {"cider": 0.5, "auroc_macro": 0.8}, **facts)
    assert SECRET not in label
    board = Leaderboard.of(store)
    rendered = formats.render(board, format_, store.root)
    assert SECRET not in rendered.decode()
    assert "hospital" not in json.dumps(json.loads(bundle.make(board)))
    if format_ == "markdown":
        report = RobustnessReport.of(store.stored())
        assert "hospital" not in robustness.markdown(report) + json.dumps(report.to_json())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": 1e400}, "row 1: .*finite|no number of JSON"),
        ({"ci95": [0.9, 0.1]}, "row 1: an interval whose lower end is above its upper end"),
        ({"n": -5}, "row 1: n is -5"),
        ({"rate": 5.0}, "row 1: a missing rate of 5"),
        ({}, "row 2: its place is that of a row before"),
    ],
)
def test_numbers_that_no_run_writes_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = json.loads(Leaderboard.of(small_store(tmp_path / "store")).to_json())
    rows = content["rows"]
    rows[0] |= change
    if not change:
        rows.insert(1, rows[0])
    file = tmp_path / "foreign.json"
    file.write_text(json.dumps(signed(content)))
    with pytest.raises(CorruptFileError, match=message):
        Leaderboard.from_json(file)


def test_a_digit_changed_by_hand_is_refused_in_either_half(tmp_path: Path) -> None:
    text = Leaderboard.of(small_store(tmp_path / "store")).to_json()
    file = tmp_path / "leaderboard.json"
    file.write_text(text)
    Leaderboard.from_json(file)
    half = text.index('"tables"')
    for place in (text.index('"value":') + 10, text.index('"value":', half) + 11):
        digit = text[place]
        file.write_text(f"{text[:place]}{'1' if digit != '1' else '2'}{text[place + 1 :]}")
        with pytest.raises(CorruptFileError, match=r"checksum mismatch|not a leaderboard"):
            Leaderboard.from_json(file)
    file.write_text(json.dumps(json.loads(text), indent=4))
    assert Leaderboard.from_json(file).rows  # the layout of a file is free


def test_own_numbers_without_a_checksum_are_refused_and_foreign_ones_have_a_remark(tmp_path: Path) -> None:
    content = json.loads(Leaderboard.of(small_store(tmp_path / "store")).to_json())
    del content["sha256"]
    file = tmp_path / "leaderboard.json"
    file.write_text(json.dumps(content))
    with pytest.raises(CorruptFileError, match=r"its checksum \(sha256\) is gone"):
        Leaderboard.from_json(file)
    file.write_text(json.dumps({"schema": content["schema"], "rows": content["rows"]}))
    tables = Leaderboard.from_json(file).tables
    assert tables
    assert all(UNCHECKED in table.beside for table in tables)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("bundle", "a bundle, not a leaderboard's JSON (harness bundle check"),
        ("result", "the result of one row, not a leaderboard's JSON (harness leaderboard --store"),
        ("store", "a results store, no file (harness leaderboard --store"),
        ("folder", "a folder, no file"),
        ("archive", "a ZIP archive (unpack it"),
        ("robustness", "not a leaderboard's JSON (harness leaderboard --format json writes"),
    ],
)
def test_what_another_command_reads_is_named_in_one_line(tmp_path: Path, kind: str, message: str) -> None:
    store = small_store(tmp_path / "store")
    written = tmp_path / "bundle.json"
    bundle.write(Leaderboard.of(store), written, None)
    archive = tmp_path / "bundle.zip"
    with ZipFile(archive, "w") as packed:
        packed.write(written)
    other = tmp_path / "robustness.json"
    other.write_text(json.dumps(RobustnessReport.of(store.stored()).to_json()))
    path = {
        "bundle": written,
        "result": next((store.root / "results").rglob("*.json")),
        "store": store.root,
        "folder": store.root / "results",
        "archive": archive,
        "robustness": other,
    }[kind]
    with pytest.raises(HarnessError) as error:
        Leaderboard.from_json(path)
    assert f"{path}: {message}" in str(error.value)
    assert error.value.exit_code == 2
