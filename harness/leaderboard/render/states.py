"""Tables of modality states in every format: values, then two paired differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import RenderableType

from harness.leaderboard.render.blocks import Column, Lines, Screen, blocks, directed
from harness.leaderboard.render.latex import Float, escape
from harness.leaderboard.render.text import SAME, between, code
from harness.leaderboard.render.text import markdown as plain
from harness.leaderboard.states import StateNumber, StateTable
from harness.missingness.corrupted import corrupted_state
from harness.missingness.corruptions import corruption_named
from harness.missingness.states import FULL, is_corrupted, names_in
from harness.statistics.estimate import Estimate
from harness.store.row_labels import SHUFFLED

_ABSENT = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class StateCell:
    """What stands in a cell.

    Attributes:
        text: value and interval, ``=`` or a dash.
        clear: it is a paired difference whose interval excludes 0.
        amount: the difference itself, for a bar; None where the cell has none.
    """

    text: str
    clear: bool = False
    amount: float | None = None


@dataclass(frozen=True, slots=True)
class StateGrid:
    """One of the three parts of a table of states.

    Attributes:
        title: what its numbers are.
        header: names of the columns.
        rows: label, whether it is a control, and the cells.
        first: heading of the labels.
        lower_is_better: of the metric.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, bool, tuple[StateCell, ...]], ...]
    first: str = "method"
    lower_is_better: bool = False

    @property
    def scale(self) -> float:
        """The largest difference in the grid, which has the longest bar; 0 where no cell has one."""
        amounts = [cell.amount for _, _, cells in self.rows for cell in cells if cell.amount is not None]
        return max(map(abs, amounts), default=0.0)

    def bar(self, cell: StateCell) -> tuple[float, float, bool] | None:
        """Start and length of a cell's bar, of 100 with 0 in the middle, and whether it is a loss."""
        if cell.amount is None or not self.scale:
            return None
        length = round(50 * abs(cell.amount) / self.scale, 1)
        return (50.0 if cell.amount > 0 else 50.0 - length, length, (cell.amount > 0) == self.lower_is_better)


def state_title(state: str) -> str:
    """``full``, ``without frontal``, ``without frontal and context``, ``blur 3``."""
    corrupted = corrupted_state(state)
    if corrupted is not None:
        return corrupted.label
    return FULL if state == FULL else f"without {' and '.join(names_in(state))}"


def grids(table: StateTable) -> list[StateGrid]:
    """Values; each less the same method's value with nothing dropped; each less its shuffled rerun's.

    In a table of a corruption, each less the value without the whole modality comes last. A part without any
    number is left out.
    """
    states = [state_title(state) for state in table.states]
    values = tuple(states) if table.corruption else (*states, "mean", "worst")
    parts = [
        StateGrid(table.title, values, _rows(table, lambda each: each.estimate, named=True)),
        StateGrid(
            f"{table.metric}: minus the method's own value with nothing dropped, paired",
            values[1:],
            _rows(table, lambda each: each.minus_full, first=1),
        ),
        StateGrid(
            f"{table.metric}: minus the same method on other studies' images, paired",
            values,
            _rows(table, lambda each: each.minus_shuffled, controls=False),
        ),
    ]
    if table.corruption:
        modality = table.corruption.partition(":")[0]
        parts[2] = StateGrid(
            f"{table.metric}: minus the method's own value without {modality}, paired",
            values,
            _rows(table, lambda each: each.minus_without),
        )
    lower = table.higher_is_better is False
    differences = [replace(grid, lower_is_better=lower) for grid in parts]
    return [grid for grid in (*differences, _contributions(table)) if grid.rows]


def _contributions(table: StateTable) -> StateGrid:
    """Shapley values of the modalities, and their equity."""
    shown = [(row, row.contributions) for row in table.rows if row.contributions]
    read = {name for _, each in shown for name in each.shapley}
    # A table from a store without natural shares still has the modalities of its rows.
    names = [name for name in table.natural if name in read] or sorted(read)
    rows = []
    for row, each in shown:
        cells = [
            StateCell(_ABSENT) if name not in each.shapley else _difference(each.shapley[name])
            for name in names
        ]
        cells.append(StateCell(_ABSENT if each.equity is None else _number(each.equity)))
        rows.append((row.method, row.control, tuple(cells)))
    title = f"{table.metric}: Shapley value of each modality that a method reads"
    return StateGrid(title, (*names, "equity"), tuple(rows))


def notes(table: StateTable) -> Iterator[str]:
    """How to read the three parts."""
    if table.left_out:
        yield table.left_out
    if table.corruption:
        yield from _corruption_notes(table)
        return
    yield (
        f"Each column has the whole test set in one modality state. {SAME}: every prediction is the one with "
        "nothing dropped, so the method does not read what is missing. Mean: of all states shown. Brackets: "
        "95 % intervals over patients" + (" and training seeds" if table.seeds > 1 else "") + ". Judge a "
        "loss by the paired differences, not by overlapping intervals."
    )
    lacking = [f"{name} {share:.1%}" for name, share in table.natural.items() if share]
    if lacking:
        yield f"Studies that lack a modality anyway: {', '.join(lacking)}."
    empty = [
        f"{row.method} {state_title(state)} {count}"
        for row in table.rows
        if not row.control
        for state, count in row.without_input.items()
    ]
    if any(row.contributions for row in table.rows):
        yield (
            "Shapley values: the lead over the template, which answers alike for all studies, divided "
            "exactly among the modalities that a method reads; positive is better. Equity: smallest over "
            "largest of them, where the largest is clearly above 0."
        )
    if empty:
        yield f"Studies that are left with nothing that the method reads: {', '.join(empty)} of {table.n}."


def _corruption_notes(table: StateTable) -> Iterator[str]:
    modality, _, name = table.corruption.partition(":")
    corruption = corruption_named(name)
    amounts = ", ".join(f"{amount:g}" for amount in corruption.amounts)
    yield (
        f"In each column, {modality} of all test studies that have it is at one level of {name}: "
        f"{corruption.about}. Levels 1 to {len(corruption.amounts)}: {amounts} ({corruption.unit}). "
        f"Training saw none of it. {SAME}: the number is that of whole studies; where it is so at all "
        f"levels, the method does not read the {modality}. Brackets: 95 % intervals over patients"
        + (" and training seeds" if table.seeds > 1 else "")
        + f". A value below that without {modality}, paired, says that the method is better off without it."
    )


def markdown(tables: Sequence[StateTable]) -> str:
    """All tables, one below the other."""
    lines: list[str] = []
    for table in tables:
        for grid in grids(table):
            lines += grid_markdown(grid)
        lines += [*map(plain, notes(table)), "", f"- {plain(table.metric)}: {code(table.signature)}", ""]
    return "\n".join(lines) + "\n" if lines else ""


def grid_markdown(grid: StateGrid) -> list[str]:
    """The lines of one grid, a blank one at the end."""
    lines = [f"### {plain(grid.title)}", "", _line([grid.first, *map(plain, grid.header)])]
    lines.append("|" + "|".join([":--"] + ["--:"] * len(grid.header)) + "|")
    for label, control, cells in grid.rows:
        name = f"*{plain(label)}*" if control else plain(label)
        lines.append(_line([name, *(f"**{c.text}**" if c.clear else c.text for c in cells)]))
    return [*lines, ""]


def terminal(table: StateTable, screen: Screen) -> list[RenderableType]:
    """All three parts."""
    parts: list[RenderableType] = []
    for grid in grids(table):
        parts += [screen.text(grid.title, "bold"), *grid_blocks(grid, screen), ""]
    return [*parts, *(screen.text(note, "dim") for note in notes(table)), ""]


def short_note(screen: Screen) -> RenderableType:
    """How to read what ``terminal_short`` prints."""
    note = f"! clearly worse than full, paired; {SAME} not read; shuffled: on other studies' images"
    return screen.text(note, "dim")


def first_of_tasks(tables: Sequence[StateTable]) -> list[StateTable]:
    """The first table of each task, then its first table of each corruption."""
    first: dict[object, StateTable] = {}
    for table in tables:
        first.setdefault((table.task, table.corruption), table)
    return list(first.values())


def terminal_short(table: StateTable, screen: Screen) -> list[RenderableType]:
    """One part: values, intervals of the first alone; marks show which losses are clear.

    Reruns on other studies' images have a column instead of rows.
    """
    rows = [row for row in table.rows if not row.method.endswith(SHUFFLED)]
    columns = [
        Column(
            directed(FULL, table.higher_is_better),
            [_number(row.numbers[FULL].estimate) for row in rows],
        )
    ]
    for state in table.states[1:]:
        cells = [_marked(row.numbers.get(state), table) for row in rows]
        heading = state_title(state) if is_corrupted(state) else f"-{'-'.join(names_in(state))}"
        columns.append(Column(heading, cells))
    if not table.corruption:
        columns.append(Column("mean", [_marked(row.mean, table) for row in rows]))
    shuffled = [] if table.corruption else [row.numbers[FULL].minus_shuffled for row in rows]
    if any(shuffled):
        columns.append(Column("full minus shuffled", ["" if e is None else _signed(e) for e in shuffled]))
    labels = [Column("method", [row.method for row in rows], right=False)]
    return [
        screen.text(table.title, "bold"),
        *blocks(labels, columns, screen, _lines([row.control for row in rows])),
        "",
    ]


def floats(tables: Sequence[StateTable]) -> Iterator[Float]:
    """LaTeX floats, one per part of a table."""
    for place, table in enumerate(tables, start=1):
        parts = grids(table)
        for index, grid in enumerate(parts, start=1):
            last = index == len(parts)
            below = tuple(map(escape, notes(table))) if last else ()
            yield grid_float(grid, f"tab:states-{place}-{index}", below)


def grid_float(grid: StateGrid, label: str, notes: tuple[str, ...]) -> Float:
    """One grid with notes below it that are LaTeX already."""
    return Float(
        caption=f"{escape(grid.title)}.",
        label=label,
        headers=(escape(grid.first), *map(escape, grid.header)),
        groups=(),
        columns=(),
        formats=(),
        lines=tuple((escape(name), *(_bold(cell) for cell in cells)) for name, _, cells in grid.rows),
        notes=notes,
    )


def _bold(cell: StateCell) -> str:
    text = escape(cell.text)
    return rf"\textbf{{{text}}}" if cell.clear else text


def _rows(
    table: StateTable,
    of: Callable[[StateNumber], Estimate | None],
    *,
    first: int = 0,
    controls: bool = True,
    named: bool = False,
) -> tuple[tuple[str, bool, tuple[StateCell, ...]], ...]:
    """Rows of a grid; those without any number are left out."""
    rows = []
    for row in table.rows:
        numbers = [row.numbers.get(state) for state in table.states[first:]]
        cells = [_cell(number, None if number is None else of(number), named) for number in numbers]
        if not table.corruption:
            cells += [_cell(row.mean, of(row.mean), named)]
            worst = _cell(row.worst, of(row.worst), named)
            label = f"{worst.text} ({state_title(row.worst_state)})" if named else worst.text
            cells.append(replace(worst, text=label))
        if (controls or not row.control) and any(number and of(number) for number in numbers):
            rows.append((row.method, row.control, tuple(cells)))
    return tuple(rows)


def _cell(number: StateNumber | None, estimate: Estimate | None, value: bool) -> StateCell:
    if number is None or estimate is None:
        return StateCell(_ABSENT)
    if value:
        return StateCell(SAME if number.unchanged else _number(estimate))
    if number.unchanged and estimate.value == 0:
        return StateCell(SAME)
    return _difference(estimate)


def _difference(estimate: Estimate) -> StateCell:
    clear = estimate.has_interval and not estimate.covers(0.0)
    return StateCell(_signed(estimate), clear, estimate.value if estimate.is_defined else None)


def _marked(number: StateNumber | None, table: StateTable) -> str:
    if number is None:
        return _ABSENT
    if number.unchanged:
        return SAME
    loss = number.minus_full
    sign = -1.0 if table.higher_is_better is False else 1.0
    clear = loss is not None and loss.has_interval and max(sign * loss.lo, sign * loss.hi) < 0
    return f"{number.estimate.value:.3f}{'!' if clear else ' '}"


def _number(estimate: Estimate) -> str:
    if not estimate.is_defined:
        return _ABSENT
    return f"{estimate.value:.3f} {between(estimate.ci95, estimate.n)}"


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.3f} {between(estimate.ci95, estimate.n)}"


def grid_blocks(grid: StateGrid, screen: Screen) -> list[RenderableType]:
    """One grid in blocks of columns that fit the screen."""
    labels = [Column(grid.first, [label for label, _, _ in grid.rows], right=False)]
    columns = [
        Column(
            name,
            [cells[index].text for _, _, cells in grid.rows],
            ["bold" if cells[index].clear else "" for _, _, cells in grid.rows],
        )
        for index, name in enumerate(grid.header)
    ]
    return blocks(labels, columns, screen, _lines([control for _, control, _ in grid.rows]))


def _lines(controls: Sequence[bool]) -> Lines:
    ends = frozenset(i for i in range(len(controls) - 1) if controls[i] != controls[i + 1])
    return Lines(["dim" if control else "" for control in controls], ends)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
