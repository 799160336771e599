"""Does a command that a page prints parse, with the methods, settings, presets and profiles that it names?"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import typer


def checker(context: typer.Context) -> Callable[[str], None]:
    """A function that raises a HarnessError where a command line would be refused before any data is read.

    Args:
        context: of any command of the program.
    """
    program: Any = context.find_root()
    from harness.core.errors import HarnessError

    def check(line: str) -> None:
        name, *words = shlex.split(line)
        command = program.command.get_command(program, words[0]) if name == "harness" and words else None
        if command is None:
            raise HarnessError(f"{line}: no command of this program")
        try:
            parsed = command.make_context(words[0], words[1:], parent=program)
        except HarnessError:
            raise
        except Exception as error:  # typer brings a parser of its own, whose errors have no common name
            if not hasattr(error, "format_message"):
                raise
            raise HarnessError(error.format_message()) from None
        _check(words[0], parsed.params)

    return check


def _check(command: str, values: Mapping[str, Any]) -> None:
    from harness.cli.options import values_of
    from harness.core.config import FIELDS, RunSettings, parse_overrides, split_list

    if command == "run":
        flags = values_of({name: value for name, value in values.items() if name in FIELDS})
        _check_settings(RunSettings.build({**flags, "root": _anywhere(flags.get("root"))}))
    elif command == "describe":
        _configured(values["method"], values["preset"] or "paper", {})
    elif command == "downstream":
        methods = split_list(values["generator"], "--generator")
        _check_settings(
            RunSettings.build(
                {
                    "methods": methods,
                    "dataset": values["dataset"],
                    "preset": values["preset"],
                    "set": parse_overrides(values["set_"]) if values["set_"] else None,
                }
            )
        )


def _anywhere(root: Path | None) -> Path | None:
    """A page says ``DIR`` for a folder of the reader's."""
    return None if root is None or not root.exists() else root


def _check_settings(settings: Any) -> None:
    """Everything of a run that can be checked without its data."""
    from harness.core import registry
    from harness.core.errors import UnknownNameError
    from harness.core.names import did_you_mean
    from harness.datasets.readers.profiles import profile_of
    from harness.evaluation.entries import entries
    from harness.method.pretrained import require_weights

    config = settings.config
    dataset = registry.load("datasets", config.dataset)
    options = set(signature(dataset.open).parameters) - {"root"}
    for key, value in config.set.get(config.dataset, {}).items():
        if key not in options:
            raise UnknownNameError(
                f"--set {config.dataset}.{key}: {config.dataset} has no such option",
                did_you_mean(key, options),
            )
        if key == "profile":
            profile_of(config.dataset, dataset.profiles, value)
    for entry in entries(config):
        require_weights(_configured(entry.full_name, config.preset, entry.overrides).pretrained)


def _configured(full_name: str, preset: str, overrides: Mapping[str, Any]) -> Any:
    from harness.core import registry

    name, variant = registry.split_variant(full_name)
    method = registry.load("methods", name)
    return method.configured(variant=variant, preset=preset, overrides=overrides)
