"""What commands print: the consoles, the ``--format`` option, tables of facts and JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from textwrap import wrap
from typing import IO, TYPE_CHECKING, Any

import typer

from harness.core.errors import HarnessError
from harness.core.files import STORE_MARKER
from harness.store import OWN_FOLDERS

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from harness.leaderboard.render.blocks import Screen


_ERR = 2


class Format(StrEnum):
    """Formats of what commands print; each command takes some of them."""

    table = "table"
    markdown = "markdown"
    latex = "latex"
    html = "html"
    csv = "csv"
    json = "json"
    parquet = "parquet"
    model_index = "model-index"


def format_option(*formats: Format, panel: str | None = None) -> Any:
    """The option ``--format`` of a command that prints in these formats; the first is the default.

    ``panel`` is where the command's help shows it, of a command whose help has panels.
    """
    names = "|".join(formats)

    def parse(text: str) -> Format:
        if text not in formats:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, map(str, formats)))}.")
        return Format(text)

    return typer.Option(
        "--format", parser=parse, metavar=f"[{names}]", help="Output format.", rich_help_panel=panel
    )


def stderr() -> Console:
    """Standard error, for progress and notes: where it leads now, whatever is led elsewhere meanwhile.

    Nothing fails where it can no longer be written, as on a full disk: a run goes on without a word.
    """
    from rich.console import Console

    file = _stderr_of_now()
    console = Console(file=file)
    if file is not sys.stderr:
        weakref.finalize(console, file.close)
    return console


def _stderr_of_now() -> IO[str]:
    try:
        if sys.stderr.fileno() == _ERR:
            raw = _Lenient(os.dup(_ERR), "w")
            return io.TextIOWrapper(
                io.BufferedWriter(raw), sys.stderr.encoding, "backslashreplace", line_buffering=True
            )
    except (OSError, ValueError, AttributeError):  # closed, or no file, as in a notebook
        pass
    return sys.stderr


class _Lenient(io.FileIO):
    """A file to which writing never fails: what it does not take is lost."""

    def write(self, content: Any, /) -> int:
        """As many bytes as there are."""
        with suppress(OSError):
            super().write(content)
        return len(memoryview(content).cast("B"))


def stdout() -> Console:
    """Standard output; wide where it is no terminal and $COLUMNS is not set, so that a log keeps lines."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() or os.environ.get("COLUMNS") else Console(width=200)


def print_parts(parts: Callable[[Screen], Sequence[RenderableType]]) -> None:
    """Print tables and lines, made for the width and the encoding of standard output."""
    from harness.leaderboard.render.blocks import Screen

    console = stdout()
    for part in parts(Screen.of(console)):
        console.print(part)


def output_error(show: Callable[[], None]) -> OSError | SystemExit | None:
    """Print, and return the error of a standard output that is full or closed, for later."""
    try:
        show()
    except SystemExit as error:  # so Rich ends where no process reads on
        return error
    except OSError as error:
        if error.filename is not None:  # of a file that is read meanwhile
            raise
        return error
    return None


def print_rows(rows: Sequence[Mapping[str, Any]], format_: Format) -> None:
    """Facts as a table, as CSV, or as JSON: ``{"rows": [..]}``."""
    if format_ is Format.json:
        print_json({"rows": list(rows)})
    elif format_ is Format.csv:
        typer.echo(as_csv(rows), nl=False)
    else:
        print_table(rows)


def print_json(content: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON object, indented."""
    typer.echo(json.dumps(content, indent=1))


def print_table(rows: Sequence[Mapping[str, Any]], right: Sequence[str] = ()) -> None:
    """Rows as a table without lines; the columns in ``right`` are aligned to the right."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in _columns(rows):
        table.add_column(column, overflow="fold", justify="right" if column in right else "left")
    for row in rows:
        table.add_row(*(escape(as_text(row.get(column))) for column in _columns(rows)))
    stdout().print(table)


def print_entries(entries: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Names with labelled facts below each; long facts go on in the next line, at a blank or a ``|``."""
    width = stdout().width
    for name, facts in entries:
        typer.echo(name)
        indent = " " * (2 + max((len(label) for label in facts), default=0) + 2)
        for label, fact in facts.items():
            lines = wrap(fact.replace("|", "| "), width - len(indent), break_on_hyphens=False)
            for number, line in enumerate(lines):
                head = f"  {label}" if number == 0 else ""
                typer.echo(f"{head:<{len(indent)}}{line.replace('| ', '|')}")


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """One line per row below a line of column names; by default the columns of the rows."""
    from harness.leaderboard.render.text import spreadsheet

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = _columns(rows) if columns is None else columns
    writer.writerow(names)
    writer.writerows([spreadsheet(_joined(row.get(name))) for name in names] for row in rows)
    return stream.getvalue()


def as_text(value: Any) -> str:
    """A cell: lists joined by commas, ``yes`` and ``NO`` for booleans, nothing for None."""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(as_text, value))
    return "" if value is None else str(value)


def _joined(value: Any) -> Any:
    return as_text(value) if isinstance(value, (list, tuple)) else value


def write(path: Path, content: str | bytes) -> Path:
    """Write a file as ``write_user_file`` does, and return its path."""
    from harness.core.user_files import write_user_file

    write_user_file(path, content.encode() if isinstance(content, str) else content)
    return path


_ELSE = "choose another place"


def writable_file(path: Path | None) -> Path | None:
    """The file of an option, if it can be written; for a callback, so that the check comes before the work.

    Raises:
        HarnessError: it is a folder, a loop of links or too long a name, or its folder cannot be made or
            written to.
    """
    if path is not None:
        try:
            _check_file(path)
        except OSError as error:
            raise HarnessError(f"{_shortened(path)} cannot be written: {error.strerror}", _ELSE) from error
    return path


def _check_file(path: Path) -> None:
    try:
        state = path.stat()  # a loop of links is an error of its own
    except (FileNotFoundError, NotADirectoryError):
        state = None
    if state is not None and stat.S_ISDIR(state.st_mode):
        raise HarnessError(f"{path} is a folder", "name a file")
    if state is not None and not os.access(path, os.W_OK):
        raise HarnessError(f"{path} cannot be written", "choose another file")
    if state is not None and not stat.S_ISREG(state.st_mode):
        return  # a device or a pipe
    target = Path(os.path.realpath(path, strict=state is not None))
    _check_outside_stores(target)
    nearest = _check_parents(target)
    # Names may be too long, and some file systems allow no files: only a try shows it.
    trial = nearest / f".{target.name}.{os.getpid()}.tmp"
    with open(trial, "xb"):
        pass
    trial.unlink()


def _check_outside_stores(target: Path) -> None:
    """Refuse a file among those that a store keeps for itself; its tables are made for people."""
    for folder in target.parents:
        inside = target.relative_to(folder).parts
        if (folder / STORE_MARKER).is_file() and inside[0] in (STORE_MARKER, *OWN_FOLDERS):
            raise HarnessError(f"{target} is a file of the store {folder} itself", _ELSE)


def other_than(path: Path | None, source: Path, option: str, what: str = "a file of reports") -> None:
    """Refuse an output that would replace what it is made of.

    Args:
        path: of the output.
        source: what it is made of.
        option: that names the output.
        what: the source in words.

    Raises:
        HarnessError: ``path`` is the same file as ``source``.
    """
    if path is not None and path.exists() and source.exists() and path.samefile(source):
        raise HarnessError(f"{option} {path} is {what}", "choose another name")


def _shortened(path: Path, most: int = 100) -> str:
    return str(path) if len(str(path)) <= most else f"{str(path)[:most]}.."


def writable_folder(path: Path | None) -> Path | None:
    """The folder of an option, if it can be made or written to; for a callback.

    Raises:
        HarnessError: it is a file, or cannot be made or written to.
    """
    if path is not None and path.exists() and not path.is_dir():
        raise HarnessError(f"{path} is a file", "name a folder")
    if path is not None:
        _check_outside_stores(Path(os.path.realpath(path), "file"))
        _check_parents(path / "file")
    return path


def _check_parents(path: Path) -> Path:
    """The nearest folder above that exists, if it can be written to."""
    nearest = next(each for each in path.absolute().parents if each.exists())
    if not nearest.is_dir():
        raise HarnessError(f"{path} cannot be written: {nearest} is no folder", _ELSE)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise HarnessError(f"{path} cannot be written: no permission in {nearest}", _ELSE)
    return nearest


def report_written(paths: Sequence[Path], say: Callable[[str], None] = typer.echo) -> None:
    """One line per file that a command wrote."""
    for path in paths:
        say(f"wrote {path}")


def report_failures(failed: Mapping[str, str]) -> None:
    """One line on stderr per metric that failed, and exit code 1 if there is one."""
    for name, reason in failed.items():
        typer.echo(reason if reason.startswith("metric ") else f"metric {name}: {reason}", err=True)
    if failed:
        raise typer.Exit(1)


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))
