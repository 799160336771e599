"""Finding and reading the papers' files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.papers.schema import Paper
from harness.store.results import visible

PUBLISHED = Path(__file__).with_name("published")
"""The folder of the papers that come with the harness: package data."""

ORDER = ("dia", "micar_vlmoe", "codi_xr", "vdgen", "kedr")
"""The papers that come with the harness, in the order of reports."""


_MOST = 1_000_000
"""Values of a file, with those that aliases repeat."""


def names() -> list[str]:
    """Papers that come with the harness, then any other file beside them."""
    stems = {path.stem for path in PUBLISHED.glob("*.yaml")}
    return [*(name for name in ORDER if name in stems), *sorted(stems - set(ORDER))]


def load(name: str) -> Paper:
    """A paper by name, or by the path of a YAML file of the same form.

    Raises:
        UnknownNameError: no paper of that name.
        HarnessError: the file is missing or is not a paper's; the message names the place in it.
    """
    if name.endswith((".yaml", ".yml")):
        return read(Path(name))
    available = names()
    if name not in available:
        raise UnknownNameError(f"unknown paper {name!r}", did_you_mean(name, available))
    return read(PUBLISHED / f"{name}.yaml")


def read(path: Path) -> Paper:
    """A paper from a YAML file."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader(path))
        if _size(content, {}) > _MOST:
            raise HarnessError(f"{path}: its aliases stand for more than {_MOST:,} values")
        content = visible(content, also="\n")
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}") from error
    except RecursionError:
        raise HarnessError(f"{path}: not valid YAML: nested too deep") from None
    except (yaml.YAMLError, ValueError) as error:  # such as a date that there is not
        raise HarnessError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from error
    try:
        return Paper.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise HarnessError(f"{path}: {place + ': ' if place else ''}{reason}") from None


def _size(value: Any, sizes: dict[int, int]) -> int:
    """Values in a tree, each as often as aliases name it."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if id(value) not in sizes:
        sizes[id(value)] = 1 + sum(_size(each, sizes) for each in inside)
    return sizes[id(value)]


def _loader(path: Path) -> type:
    """libyaml's loader where it was built, which is ten times faster; deep nesting crashes it."""
    if path.parent != PUBLISHED:
        return yaml.SafeLoader
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
