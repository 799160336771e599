"""Tables that fit a terminal: columns in blocks, so that no value and no header is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from harness.leaderboard.render.short_names import short_names

_GAP = 2
"""Blanks between two columns."""
_NARROWEST = 8
"""Characters that a label has at least before it goes on in the next line."""
_ASCII = str.maketrans(
    {
        "\N{UPWARDS ARROW}": "^",
        "\N{DOWNWARDS ARROW}": "v",
        "\N{EN DASH}": "-",
        "\N{MINUS SIGN}": "-",
    }
)
_UP, _DOWN = "\N{UPWARDS ARROW}", "\N{DOWNWARDS ARROW}"
DIRECTIONS = f"{_UP} higher is better, {_DOWN} lower is better"


@dataclass(frozen=True, slots=True)
class Screen:
    """Where tables are printed.

    Attributes:
        width: characters of a line.
        unicode: whether its encoding has arrows and dashes.
    """

    width: int
    unicode: bool = True

    @classmethod
    def of(cls, console: Console) -> Screen:
        """The screen of a console."""
        return cls(console.width, console.encoding.lower().startswith("utf"))

    def text(self, content: str, style: str = "") -> Text:
        """Text in characters that the screen can show; others, as those of escape codes, by their numbers."""
        if not content.replace("\n", "").isprintable():
            content = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in content)
        if not self.unicode:
            content = content.translate(_ASCII).encode("ascii", "backslashreplace").decode()
        return Text(content, style)


def directed(name: str, higher_is_better: bool | None) -> str:
    """A metric's name with an arrow: up where higher is better, down where lower is, else none."""
    if higher_is_better is None:
        return name
    return f"{name} {_UP if higher_is_better else _DOWN}"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        header: its name.
        cells: one per row.
        styles: one per row, or none at all.
        right: whether cells end at the same place; else they begin at the same place.
    """

    header: str
    cells: Sequence[str]
    styles: Sequence[str] = ()
    right: bool = True

    @property
    def width(self) -> int:
        """Characters of the longest cell or the header."""
        return max(map(cell_len, (self.header, *self.cells)))


@dataclass(frozen=True, slots=True)
class Lines:
    """What the rows of a table have beside their cells.

    Attributes:
        styles: one per row, or none at all.
        ends: rows below which there is a blank line.
    """

    styles: Sequence[str] = ()
    ends: frozenset[int] = frozenset()


def blocks(
    labels: Sequence[Column], columns: Sequence[Column], screen: Screen, lines: Lines | None = None
) -> list[RenderableType]:
    """Tables one below the other; each has all labels and as many columns as fit the width.

    Args:
        labels: columns that every block repeats; the last of them goes on in the next line where it is too
            long for the screen.
        columns: the others. A block has at least one.
        screen: where the tables are printed.
        lines: styles and sections of the rows.
    """
    widths = _widths(labels, columns, screen)
    parts = _parts(labels, columns, screen)
    return [_grid(list(zip(labels, widths, strict=True)), part, screen, lines or Lines()) for part in parts]


def block_count(labels: Sequence[Column], columns: Sequence[Column], screen: Screen) -> int:
    """How many tables ``blocks`` makes of these columns."""
    return len(_parts(labels, columns, screen))


def _widths(labels: Sequence[Column], columns: Sequence[Column], screen: Screen) -> list[int]:
    """Characters of each label: as many as it has; of the last one, as many as the widest column leaves."""
    *others, last = [each.width for each in labels]
    widest = max((each.width for each in columns), default=0)
    room = screen.width - sum(width + _GAP for width in others) - widest - _GAP
    return [*others, min(last, max(_NARROWEST, room))]


def _parts(labels: Sequence[Column], columns: Sequence[Column], screen: Screen) -> list[list[Column]]:
    """The columns of each block."""
    *others, last = _widths(labels, columns, screen)
    room = screen.width - sum(width + _GAP for width in others) - last
    parts: list[list[Column]] = [[]]
    for column in columns:
        if parts[-1] and sum(each.width + _GAP for each in (*parts[-1], column)) > room:
            parts.append([])
        parts[-1].append(column)
    return parts


def _grid(
    labels: Sequence[tuple[Column, int]], columns: Sequence[Column], screen: Screen, lines: Lines
) -> RichTable:
    grid = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    shown = [*labels, *((column, column.width) for column in columns)]
    for column, width in shown:
        justify = "right" if column.right else "left"
        header = screen.text(column.header, "bold")
        grid.add_column(header, justify=justify, overflow="fold", width=width)  # type: ignore[arg-type]
    for number in range(len(labels[0][0].cells)):
        cells = [
            screen.text(column.cells[number], column.styles[number] if column.styles else "")
            for column, _ in shown
        ]
        style = lines.styles[number] if lines.styles else None
        grid.add_row(*cells, style=style, end_section=number in lines.ends)
    return grid


def signature_lines(signatures: Mapping[str, str], screen: Screen) -> list[Text]:
    """One line per signature, behind the columns that have it; a shortened name with its full name.

    Args:
        signatures: metric -> its signature, in the order of the columns.
        screen: where the lines are printed.
    """
    short = short_names(signatures)
    by_signature: dict[str, list[str]] = {}
    for name, signature in signatures.items():
        shown = name if short[name] == name else f"{short[name]} ({name})"
        by_signature.setdefault(signature, []).append(shown)
    return [
        screen.text(f"{', '.join(names)}: {signature}", "dim") for signature, names in by_signature.items()
    ]


def not_computed(reasons: Mapping[str, str], screen: Screen) -> list[Text]:
    """One line per reason for which metrics have no value.

    Args:
        reasons: metric -> why it could not run.
        screen: where the lines are printed.
    """
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    return [
        screen.text(f"not computed: {family(names)} ({reason})", "dim") for reason, names in by_reason.items()
    ]


def family(names: Sequence[str]) -> str:
    """``chexbert_f1 (8 values)``: the words that all names begin with; without any, the names."""
    words = [name.split("_") for name in names]
    shared = 0
    while all(len(each) > shared for each in words) and len({each[shared] for each in words}) == 1:
        shared += 1
    if len(names) == 1 or not shared:
        return ", ".join(names)
    return f"{'_'.join(words[0][:shared])} ({len(names)} values)"
