"""Finding and reading the papers' files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from harness.core import user_yaml
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.papers.schema import Paper
from harness.store.results import visible

PUBLISHED = Path(__file__).with_name("published")
"""The folder of the papers that come with the harness: package data."""

ORDER = ("dia", "micar_vlmoe", "codi_xr", "vdgen", "kedr")
"""The papers that come with the harness, in the order of reports."""


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
        return read(Path(name), user_yaml.read)
    available = names()
    if name not in available:
        raise UnknownNameError(f"unknown paper {name!r}", did_you_mean(name, available))
    return read(PUBLISHED / f"{name}.yaml")


def _of_package(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())


def read(path: Path, content_of: Callable[[Path], Any] = _of_package) -> Paper:
    """A paper from a YAML file.

    Args:
        path: of the file.
        content_of: reads it.
    """
    try:
        content = content_of(path)
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from error
    try:
        return Paper.model_validate(visible(content, also="\n"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise HarnessError(f"{path}: {place + ': ' if place else ''}{reason}") from None


def _loader() -> type:
    """libyaml's loader where it was built, which is ten times faster."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
