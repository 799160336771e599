"""``harness new``: a plugin in one file, with its test and the metadata that registers it."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.output import report_written, write
from harness.core import registry
from harness.core.errors import HarnessError

TASKS = ("report", "diagnose")
KINDS = ("method", "dataset", "metric")

_NAMES = {
    "": (r"[a-z][a-z0-9_-]*", "lower-case letters, digits, - and _, e.g. my-method"),
    "metric": (r"[a-z][a-z0-9_]*", "lower-case letters, digits and _, e.g. my_metric"),
}

new = typer.Typer(help="Write the files of something new.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its name in every table, e.g. my-method.")]
Out = Annotated[Path, typer.Option(help="Folder in which the folder of the plugin is created.")]
Task = Annotated[str, typer.Option(help="What it is about: report or diagnose.")]


@new.command("method")
def method(name: Name, task: Task = "report", out: Out = Path()) -> None:
    """Write a runnable method in one file, with its test and the metadata that registers it."""
    _write(Plugin("method", name, task), out, f"harness audit --methods {name}")


@new.command("dataset")
def dataset(name: Name, task: Task = "report", out: Out = Path()) -> None:
    """Write a dataset that reads a folder of images and a table, with its test and its metadata."""
    _write(Plugin("dataset", name, task), out, f"harness data check {name} --root FOLDER")


@new.command("metric")
def metric(name: Name, task: Task = "report", out: Out = Path()) -> None:
    """Write a metric of reports or of probabilities, with its test and its metadata."""
    _write(Plugin("metric", name, task), out, f"harness run --metrics {name}")


@dataclass(frozen=True, slots=True)
class Plugin:
    """What is to be written.

    Attributes:
        kind: ``method``, ``dataset`` or ``metric``.
        name: registry name: lower-case letters, digits, "-" and "_"; also the folder's.
        task: ``report`` or ``diagnose``.
    """

    kind: str
    name: str
    task: str = "report"

    @property
    def module(self) -> str:
        """Name of its Python module."""
        return self.name.replace("-", "_")

    def check(self) -> None:
        """Raise ``HarnessError`` where the name is taken or no name, or the task has no template."""
        # A metric's name begins its signature and names its column: a hyphen is no part of either.
        pattern, rule = _NAMES["metric" if self.kind == "metric" else ""]
        if not re.fullmatch(pattern, self.name) or keyword.iskeyword(self.module):
            raise HarnessError(f"{self.name!r} is not a name for a {self.kind}", rule)
        if self.name in registry.names(f"{self.kind}s"):
            raise HarnessError(f"a {self.kind} {self.name!r} is registered already", "choose another name")
        if find_spec(self.module) is not None:
            raise HarnessError(
                f"{self.name!r}: Python has a module of this name, {self.module}", "choose another name"
            )
        if self.task not in TASKS:
            raise HarnessError(f"--task {self.task}: no such template", f"available: {', '.join(TASKS)}")

    @property
    def templates(self) -> dict[str, str]:
        """Template -> file, the plugin itself first."""
        return {
            f"{self.kind}_{self.task}.py.j2": f"{self.module}.py",
            f"test_{self.kind}.py.j2": f"test_{self.module}.py",
            "pyproject.toml.j2": "pyproject.toml",
        }

    @property
    def values(self) -> dict[str, str]:
        """What the templates are filled with."""
        words = re.split(r"[-_]+", self.name)
        return {
            "kind": self.kind,
            "name": self.name,
            "module": self.module,
            "task": self.task,
            "class_name": "".join(word.capitalize() for word in words),
            "title": " ".join(words).capitalize(),
        }


def new_plugin(plugin: Plugin, out: Path) -> list[Path]:
    """Write a runnable plugin into the folder ``out / NAME``.

    Returns:
        The files: the plugin, its test, the package's metadata.

    Raises:
        HarnessError: the name is taken or not a name, the task unknown, the folder exists.
    """
    plugin.check()
    folder = out / plugin.name
    if folder.exists():
        raise HarnessError(f"{folder} exists", "choose another name or --out")
    texts = {
        folder / target: _filled(template, plugin.values) for template, target in plugin.templates.items()
    }
    return [write(path, text) for path, text in texts.items()]


def _write(plugin: Plugin, out: Path, then: str) -> None:
    paths = new_plugin(plugin, out)
    report_written(paths)
    typer.echo(f"next: pip install --editable {paths[0].parent}, then {then}")


def _filled(template: str, values: dict[str, str]) -> str:
    from jinja2 import Environment, StrictUndefined

    source = files("harness.cli").joinpath("templates", template).read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(source).render(values)
