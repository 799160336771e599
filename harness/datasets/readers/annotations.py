"""R2Gen's ``annotation.json``: studies by split, each with id, report text and paths of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.names import did_you_mean
from harness.datasets.base import SPLITS
from harness.datasets.readers.records import Problem
from harness.datasets.readers.tables import read_json

FILE = "annotation.json"
IMAGES = "images"


@dataclass(frozen=True, slots=True)
class Item:
    """One entry.

    Attributes:
        paths: images relative to the folder of images.
        more: the entry's other keys, e.g. ``study_id``.
        where: the file, split and position that hold it.
    """

    id: str
    split: str
    report: str
    paths: tuple[str, ...]
    more: dict[str, Any]
    where: str


def read_items(root: Path) -> Iterator[Item | Problem]:
    """Entries of ``root/annotation.json`` in the order of the file, and what is wrong with others.

    Raises:
        HarnessError: no such file, not UTF-8, no JSON, no object of lists.
    """
    path = root / FILE
    content = read_json(path)
    if not isinstance(content, dict):
        raise HarnessError(f"{path}: holds no object", f"expected the keys {', '.join(SPLITS)}")
    for split, entries in content.items():
        if split not in SPLITS:
            hint = did_you_mean(split, SPLITS)
            yield Problem("wrong-split", str(path), f"unknown split {split!r}", hint)
        elif not isinstance(entries, list):
            yield Problem("bad-entry", f"{path}, {split}", "holds no list of studies")
        else:
            for number, entry in enumerate(entries, 1):
                yield _item(entry, split, f"{path}, {split} entry {number}")


def _item(entry: Any, split: str, where: str) -> Item | Problem:
    if not isinstance(entry, dict):
        return Problem("bad-entry", where, "is no object")
    for key, kind in (("id", (str, int)), ("report", str), ("image_path", (list, str))):
        if key not in entry:
            return Problem("missing-field", where, f"has no {key}")
        if not isinstance(entry[key], kind):
            return Problem("bad-entry", where, f"{key} is {type(entry[key]).__name__}")
    paths = [entry["image_path"]] if isinstance(entry["image_path"], str) else entry["image_path"]
    if not all(isinstance(path, str) for path in paths):
        return Problem("bad-entry", where, "image_path holds something else than paths")
    other = entry.get("split", split)
    if other != split:
        return Problem("wrong-split", where, f"{entry['id']} stands under {split} but says split {other!r}")
    more = {key: value for key, value in entry.items() if key not in ("id", "report", "image_path", "split")}
    return Item(str(entry["id"]), split, entry["report"], tuple(paths), more, where)


def image_folder(root: Path) -> Path:
    """The folder that an annotation's paths are relative to.

    Raises:
        HarnessError: it is not there.
    """
    folder = root / IMAGES
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder", f"put R2Gen's {IMAGES}/ beside {FILE}")
    return folder
