"""The tables of a store: what ``harness run``, ``harness leaderboard`` and ``harness papers`` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.output import Format, print_parts, write
from harness.core.errors import HarnessError
from harness.core.packages import absent, install

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from harness.leaderboard.leaderboard import Leaderboard
    from harness.leaderboard.render.blocks import Screen
    from harness.store.results import Measurement
    from harness.store.store import Store

RUN_FORMATS = (Format.markdown, Format.json, Format.html)
"""Formats in which every run leaves its leaderboard in the store."""


def open_store(store: Path) -> Store:
    """A store that exists; reading never makes one.

    Raises:
        HarnessError: there is none.
    """
    from harness.store.store import Store

    if not any((store / name).exists() for name in ("store.json", "results")):
        raise HarnessError(f"--store {store}: no results store there", "harness run makes one")
    return Store(store)


def read_leaderboard(
    store: Path, results: Path | None = None, specs: Sequence[Path] | None = None
) -> Leaderboard:
    """The leaderboard of a JSON file, else of a store."""
    from harness.leaderboard.leaderboard import Leaderboard
    from harness.leaderboard.spec import load_all

    loaded = load_all(specs or ())
    return Leaderboard.from_json(results, loaded) if results else Leaderboard.of(open_store(store), loaded)


def print_leaderboard(leaderboard: Leaderboard, store: Path | None) -> None:
    """Every table of a leaderboard: all columns, curves, cost and audit; of a store, robustness too."""
    from harness.leaderboard.render import robustness, states, terminal, training_grids
    from harness.leaderboard.robustness import RobustnessReport

    report = None if store is None else RobustnessReport.of(open_store(store).stored())

    def parts(screen: Screen) -> list[RenderableType]:
        tables = [part for table in leaderboard.states for part in states.terminal(table, screen)]
        tables += training_grids.terminal(leaderboard.tables, screen)
        tables += [part for table in leaderboard.tables for part in terminal.render(table, screen)]
        if leaderboard.tables:
            tables += terminal.render_costs(leaderboard.tables, screen)
        return tables if report is None else [*tables, *robustness.rich(report, screen)]

    print_parts(parts)


def print_first_tables(store: Path, rows: Sequence[Measurement], folder: Path) -> None:
    """The first table of each task of one run's rows, then one line per further table in ``folder``."""
    from harness.leaderboard.leaderboard import Leaderboard
    from harness.leaderboard.render import states, terminal
    from harness.leaderboard.selection import select
    from harness.leaderboard.spec import load_all

    keys, opened = {row.key for row in rows}, open_store(store)
    leaderboard = Leaderboard.of(opened, load_all(), only=keys)
    tables, first_states = leaderboard.tables, states.first_of_tasks(leaderboard.states)
    aside = keys.intersection(each.key for each in select(opened.stored()).other_masks)

    def parts(screen: Screen) -> list[RenderableType]:
        covered = {each.task for each in first_states}
        rendered = [states.short_note(screen)] if first_states else []
        rendered += [part for each in first_states for part in states.terminal_short(each, screen)]
        first = [table for table in terminal.first_of_tasks(tables) if table.task not in covered]
        behind = [table for table in tables if table.task in covered]
        rendered += terminal.remarks_of(behind, screen)
        rendered += terminal.render_first(first, screen)
        rendered += terminal.further(tables, first, str(folder / "leaderboard.md"), screen)
        if any(table.rates for table in tables):
            rendered.append(screen.text(f"{folder / 'robustness.md'}: robustness as modalities go missing"))
        if aside:
            why = "shows other masks than those of this run, because more methods have them"
            rendered.append(screen.text(f"{folder / 'leaderboard.md'} {why}: harness store ls"))
        return rendered

    print_parts(parts)


def write_leaderboard(
    leaderboard: Leaderboard, out: Path, store: Path | None, formats: Sequence[Format] = RUN_FORMATS
) -> list[Path]:
    """Files of a leaderboard; ``store`` has the sample sheets that its page shows."""
    from harness.leaderboard.render.formats import SUFFIXES, render

    paths = []
    for each in formats:
        path = write(out / f"leaderboard.{SUFFIXES[each.value]}", render(leaderboard, each.value, store))
        paths.append(path)
        if each is Format.latex:
            from harness.leaderboard.render.leaderboard_latex import standalone

            paths.append(write(out / "leaderboard-document.tex", standalone(path.stem)))
    return paths


def write_robustness(
    store: Path, out: Path, figures: bool, rows: Sequence[Measurement] | None = None, workers: int | None = 1
) -> list[Path]:
    """``robustness.md`` and ``.json``, and the figures; one line for those, there are many.

    Args:
        store: results store.
        out: folder to write to.
        figures: whether to draw figures; without matplotlib a line says that they are left out.
        rows: draw only protocols of these; by default everything.
        workers: processes that draw; None is what suits the machine.
    """
    from harness.leaderboard.render import robustness
    from harness.leaderboard.robustness import RobustnessReport

    stored = open_store(store).stored()
    report = RobustnessReport.of(stored)
    paths = [
        write(out / "robustness.md", robustness.markdown(report)),
        write(out / "robustness.json", report.to_json()),
    ]
    if figures and absent("matplotlib"):
        typer.echo(f"figures are left out: matplotlib is not installed: {install('figures')}", err=True)
    elif figures:
        from harness.distributed import processes
        from harness.leaderboard.render.gallery import KINDS, write_figures

        with processes.several(workers) as over:
            files = write_figures(stored, report, out / "figures", KINDS, rows, over)
        paths += sorted({path.parent for path in files})
    return paths
