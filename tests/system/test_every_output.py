"""Of each command: standard output that is full, unread or Latin-1, and a deleted working folder."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer

from harness.cli import main as cli
from harness.cli.app import app
from harness.core import registry
from harness.store.store import Store
from tests.helpers import caption_trees, toys

ANYTHING = "\u2265 \u4e2d\u6587"
"""Characters that Latin-1 lacks."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A store with a result, a bundle and files to score; toys stay registered."""
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        toys.register(patch.setitem)
        patch.setenv("TOY_LOG", str(folder / "work.log"))
        patch.setattr(sys, "stdout", io.StringIO())
        registry._table.cache_clear()
        places = {
            "store": str(folder / "store"),
            "table": str(caption_trees.own(folder / "csv")),
            "folder": str(folder),
        }
        for name in ("truth", "system"):
            places[name] = str(folder / f"{name}.csv")
            Path(places[name]).write_text(f"id,report\na,the heart is {ANYTHING}\nb,no effusion\n")
        places["bundle"] = str(folder / "bundle.json")
        with open(os.devnull, "w") as nothing:
            assert ended(patch, nothing, RUN.format_map(places)) == 0
            assert ended(patch, nothing, "bundle write {bundle} --store {store}".format_map(places)) == 0
        places["row"] = Store(folder / "store").stored()[0].key
        yield places
    registry._table.cache_clear()


RUN = "run --dataset toy --methods echo --metrics bleu --no-figures --store {store}"
COMMANDS = {
    "ablate": "ablate --help",
    "audit": "audit --help",
    "bench": "bench --help",
    "bundle check": "bundle check {bundle}",
    "bundle write": "bundle write {bundle} --store {store}",
    "cases": "cases {folder}/cases.html --with-cases --store {store} --dataset toy",
    "compare": "compare --references {truth} --system \u2265={system} --system b={system} --metrics bleu",
    "data check": "data check csv --root {table}",
    "describe": "describe template",
    "doctor": "doctor --help",
    "downstream": "downstream --help",
    "label": "label {truth}",
    "latents": "latents --help",
    "leaderboard": "leaderboard --store {store} --format markdown",
    "list": "list metrics",
    "new dataset": "new dataset of_mine --help",
    "new method": "new method of_mine --help",
    "new metric": "new metric of_mine --help",
    "papers": "papers dia",
    "report": "report --help",
    "reproduce": "reproduce {row} --store {store}",
    "run": RUN,
    "score": "score {truth} {system} --metrics bleu",
    "share": "share {bundle}",
    "store ls": "store ls --store {store}",
    "store rm": "store rm --help",
}
"""Command -> the least that it prints; of those that train or write folders, its help."""


def ended(patch: pytest.MonkeyPatch, stream: Any, arguments: str) -> int:
    """Exit code of the program; any other exception than its end fails the test."""
    patch.setattr(sys, "argv", ["harness", *arguments.split()])
    patch.setattr(sys, "stdout", stream)
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def names(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if not hasattr(command, "commands"):
        yield " ".join(path)
        return
    for name, inner in command.commands.items():
        yield from names(inner, (*path, name))


def test_every_command_is_here() -> None:
    assert set(names(typer.main.get_command(app))) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_ends_in_one_line(
    world: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
) -> None:
    arguments = COMMANDS[command].format_map(world)
    with open(tmp_path / "latin-1.txt", "w", encoding="latin-1") as stream:
        code = ended(monkeypatch, stream, arguments)
        printed = stream.buffer.tell()
    err = capfd.readouterr().err
    assert (code, printed > 0) == (0, True), err
    assert "Traceback" not in err
    with open("/dev/full", "w") as stream:
        code = ended(monkeypatch, stream, arguments)
    err = capfd.readouterr().err
    assert code == 1, err
    assert err.splitlines()[-1] == "error: standard output cannot be written: No space left on device"
    assert "Traceback" not in err
    reader, writer = os.pipe()
    os.close(reader)
    with suppress(BrokenPipeError), os.fdopen(writer, "w") as stream:
        ended(monkeypatch, stream, arguments)
    err = capfd.readouterr().err
    assert "Traceback" not in err
    assert "error" not in err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_a_deleted_folder_is_one_line(
    world: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with open(os.devnull, "w") as stream:
        code = ended(monkeypatch, stream, COMMANDS[command].format_map(world))
    err = capfd.readouterr().err
    assert (code, err) == (2, "error: the working folder was deleted (change to another folder)\n")
