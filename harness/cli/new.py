"""``harness new method``: a plugin in one file, with its test and the metadata that registers it."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.output import report_written, write
from harness.core import registry
from harness.core.errors import HarnessError

TASKS = ("report", "diagnose")

new = typer.Typer(help="Write the files of something new.", no_args_is_help=True)


@new.command("method")
def method(
    name: Annotated[str, typer.Argument(help="Name of the method, e.g. my-method.")],
    task: Annotated[str, typer.Option(help="What the method produces: report or diagnose.")] = "report",
    out: Annotated[Path, typer.Option(help="Folder in which the folder of the method is created.")] = Path(),
) -> None:
    """Write a runnable method in one file, with its test and the metadata that registers it."""
    paths = new_method(name, out, task)
    report_written(paths)
    folder = paths[0].parent
    typer.echo(f"next: pip install --editable {folder}, then harness audit --methods {name}")


def new_method(name: str, out: Path, task: str = "report") -> list[Path]:
    """Write a runnable plugin into the folder ``out / NAME``.

    Args:
        name: registry name: lower-case letters, digits, "-" and "_"; also the folder's.
        out: where the folder is created.
        task: what the method produces: ``report`` or ``diagnose``.

    Returns:
        The files: the method, its test, the package's metadata.

    Raises:
        HarnessError: the name is taken or not a name, the task unknown, the folder exists.
    """
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or keyword.iskeyword(module):
        raise HarnessError(
            f"{name!r} is not a name for a method", "lower-case letters, digits, - and _, e.g. my-method"
        )
    if name in registry.names("methods"):
        raise HarnessError(f"a method {name!r} is registered already", "choose another name")
    if task not in TASKS:
        raise HarnessError(f"--task {task}: no such template", f"available: {', '.join(TASKS)}")
    folder = out / name
    if folder.exists():
        raise HarnessError(f"{folder} exists", "choose another name or --out")
    words = re.split(r"[-_]+", name)
    values = {
        "name": name,
        "module": module,
        "task": task,
        "class_name": "".join(word.capitalize() for word in words),
        "title": " ".join(words).capitalize(),
    }
    targets = {
        f"{task}.py.j2": f"{module}.py",
        "test.py.j2": f"test_{module}.py",
        "pyproject.toml.j2": "pyproject.toml",
    }
    texts = {folder / target: _filled(template, values) for template, target in targets.items()}
    return [write(path, text) for path, text in texts.items()]


def _filled(template: str, values: dict[str, str]) -> str:
    from jinja2 import Environment, StrictUndefined

    source = files("harness.cli").joinpath("templates", template).read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(source).render(values)
