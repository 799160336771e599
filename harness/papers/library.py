"""Finding and reading the papers' files, and rows of results that were exported earlier."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import yaml
from pydantic import ValidationError

from harness.errors import CorruptFileError, HarnessError, UnknownNameError
from harness.files import read_json
from harness.names import did_you_mean
from harness.papers.schema import Paper
from harness.results import SCHEMA, ResultRow

_FOLDERS = (
    Path(__file__).parents[2] / "reports" / "papers",
    Path(sys.prefix) / "share" / "missing-modality-harness" / "papers",
)
"""In a checkout, and where an installed package puts its data."""

ORDER = ("dia", "micar_vlmoe", "codi_xr", "vdgen", "kedr")
"""The papers that come with the harness, in the order of reports."""


def folder() -> Path:
    """Where the papers' files are.

    Raises:
        HarnessError: neither a checkout nor an installed package has them.
    """
    for candidate in _FOLDERS:
        if candidate.is_dir():
            return candidate
    raise HarnessError(f"no papers in {_FOLDERS[0]}", "install the package again")


def names() -> list[str]:
    """Papers that come with the harness, then any other file beside them."""
    found = {path.stem for path in folder().glob("*.yaml")}
    return [*(name for name in ORDER if name in found), *sorted(found - set(ORDER))]


def load(name: str) -> Paper:
    """A paper by name, or by the path of a YAML file of the same form.

    Raises:
        UnknownNameError: no paper of that name.
        HarnessError: the file is missing or is not a paper's; the message names the place in it.
    """
    if name.endswith((".yaml", ".yml")):
        return read(Path(name))
    known = names()
    if name not in known:
        raise UnknownNameError(f"unknown paper {name!r}", did_you_mean(name, known))
    return read(folder() / f"{name}.yaml")


def read(path: Path) -> Paper:
    """A paper from a YAML file."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from error
    try:
        return Paper.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise HarnessError(f"{path}: {place + ': ' if place else ''}{reason}") from None


def _loader() -> type:
    """libyaml's loader where it was built, which is ten times faster."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_rows(path: Path) -> list[ResultRow]:
    """Rows of a file that ``harness leaderboard --format json`` wrote.

    Raises:
        HarnessError: no such file, or one of another schema.
        CorruptFileError: not such a file.
    """
    if not path.is_file():
        raise HarnessError(f"--results {path}: no such file", "harness leaderboard --format json writes one")
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
        raise CorruptFileError(
            f"--results {path}: no rows in it", "harness leaderboard --format json writes such"
        )
    if content.get("schema") != SCHEMA:
        raise HarnessError(
            f"--results {path}: of schema {content.get('schema')}, but this version reads schema {SCHEMA}",
            "export it again",
        )
    known = {field.name for field in fields(ResultRow)}
    rows = []
    for number, row in enumerate(content["rows"], start=1):
        try:
            ci95 = None if row["ci95"] is None else (float(row["ci95"][0]), float(row["ci95"][1]))
            rows.append(ResultRow(**{key: row[key] for key in row if key in known} | {"ci95": ci95}))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CorruptFileError(f"--results {path}: row {number}: {error!r}", "export it again") from error
    return rows
