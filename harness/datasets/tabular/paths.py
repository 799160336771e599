"""Paths of images as people write them: with backslashes, absolute, in another case."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from harness.core.null_words import is_null
from harness.datasets.images.pixels import ImageFile
from harness.datasets.readers.records import Problem
from harness.datasets.readers.report_dataset import ImageTree
from harness.datasets.tabular.remarks import Tally

_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_ADDRESS = re.compile(r"[a-z][a-z0-9+]*://", re.IGNORECASE)


class ImagePaths:
    """Finds the images that cells name, in the forms that are safe to read; what was read is counted.

    Args:
        tree: of the table's folder; no form of a path leads out of it.
        tally: where remarks are counted.
    """

    def __init__(self, tree: ImageTree, tally: Tally) -> None:
        self._tree, self._tally = tree, tally
        self._names: dict[str, dict[str, list[str]]] = {}

    def find(self, cell: str, where: str) -> ImageFile | Problem | None:
        """The image that a cell names, what is wrong with it, or None for a cell that names none."""
        if not cell:
            return None
        problem = self._tree.find(cell, where)
        if isinstance(problem, ImageFile):
            return problem
        if is_null(cell):
            self._tally.add("null-word", where, "a null word for an image, such as nan, counts as absent")
            return None
        for kind, path, remark in self._forms(cell):
            image = self._tree.find(path, where)
            if isinstance(image, ImageFile):
                self._tally.add(kind, where, remark)
                return image
        plain = cell.replace("\\", "/")
        if plain != cell and not _DRIVE.match(cell):
            other = self._tree.find(plain, where)
            problem = other if isinstance(other, Problem) else problem
        return self._explained(plain, problem)

    def _forms(self, cell: str) -> list[tuple[str, str, str]]:
        """(kind, path, what is said of it) of each other form of a path."""
        forms = []
        plain = cell.replace("\\", "/")
        if plain != cell:
            forms.append(("backslash-path", plain, "backslashes in a path are read as /"))
        inside = self._below_root(plain)
        if inside is not None:
            forms.append(("absolute-path", inside, "an absolute path inside the table's folder is read"))
        other = self._in_other_case(plain if inside is None else inside)
        if other is not None:
            forms.append(("case-of-path", other, "a path in another case than the file's is read"))
        return forms

    def _below_root(self, path: str) -> str | None:
        if not os.path.isabs(path) or ".." in path.split("/"):
            return None
        for root in {str(self._tree.root), os.path.abspath(self._tree.root)}:
            if path.startswith(f"{root}/"):
                return path[len(root) + 1 :]
        return None

    def _in_other_case(self, path: str) -> str | None:
        """The one path below the root that differs in case alone, or None."""
        if os.path.isabs(path) or ".." in path.split("/"):
            return None
        folder, parts = str(self._tree.root), []
        for part in path.split("/"):
            names = self._listed(folder).get(part.casefold(), [])
            if len(names) != 1 and part not in names:
                return None
            parts.append(part if part in names else names[0])
            folder = os.path.join(folder, parts[-1])
        return "/".join(parts)

    def _listed(self, folder: str) -> dict[str, list[str]]:
        """Names in a folder by their form without case."""
        if folder not in self._names:
            by_form: dict[str, list[str]] = {}
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                by_form.setdefault(name.casefold(), []).append(name)
            self._names[folder] = by_form
        return self._names[folder]

    def _existing_tail(self, path: str) -> str:
        """The longest end of an absolute path that is a file below the root, or nothing."""
        parts = [part for part in path.split("/") if part]
        tails = ("/".join(parts[start:]) for start in range(1, len(parts)))
        return next((tail for tail in tails if isinstance(self._tree.find(tail, ""), ImageFile)), "")

    def _explained(self, cell: str, problem: Problem) -> Problem:
        """The problem of a path with the way out."""
        folder = self._tree.root
        if _ADDRESS.match(cell):
            return replace(problem, hint="an address: download the image and write its path")
        if _DRIVE.match(cell) or os.path.isabs(cell):
            tail = self._existing_tail(cell.replace("\\", "/"))
            way = f"{tail} is there" if tail else f"write it relative to {folder}"
            hint = f"an absolute path: {way}, or put the table into a folder above its images"
            return replace(problem, hint=hint)
        if ".." in cell.split("/"):
            return replace(problem, hint="put the table into a folder above its images")
        path = Path(folder, cell)
        if os.path.isdir(path):  # of a name that is too long, pathlib raises an error
            return replace(problem, hint="a folder: name an image in it")
        if problem.kind == "absent-image":
            names = [name for same in self._listed(str(path.parent)).values() for name in same]
            near = sorted(name for name in names if name.startswith(f"{path.name}."))
            hint = f"is it {near[0]}?" if near else f"paths are relative to {folder}"
            return replace(problem, hint=hint)
        return problem
