"""Records of the files that plugins used: what came of them stands as long as these files do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.core.errors import CorruptFileError
from harness.core.files import checksum_of, private_folder, read_checked_json, write_checked_json
from harness.core.slugs import slug
from harness.core.used import ALTERED, changed

_METHOD = "method"
_NAMES = 3
"""Names at the end of a record's path, of which the first is its cell's."""


class UsedFiles:
    """The records of one cell: of its method, and of each metric of another package."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def note(self, files: Mapping[str, str], name: str = _METHOD) -> None:
        """Add to a record. A file that was another one when it was used before is never the same again.

        Args:
            files: place -> digest, as ``harness.core.used`` gives them.
            name: whose record.
        """
        path = self._path(name)
        before = self._recorded(path) if path.exists() else {}
        merged = before | {
            place: digest if before.get(place, digest) == digest else ALTERED
            for place, digest in files.items()
        }
        if merged != before or not path.exists():
            private_folder(self.folder)
            write_checked_json(path, {"files": merged}, _NAMES)

    def changed(self, name: str = _METHOD, *, expected: bool = False) -> list[str]:
        """Files that are no longer what they were when they were used; a damaged record is one itself.

        Args:
            name: whose record.
            expected: whether there is one; where it is absent, it is such a file, too.
        """
        paths = [self._path(name), *self._of_shards(name)]
        if expected and not paths[0].exists():
            return [f"{self.folder.name}/{paths[0].name}"]
        return [place for path in paths if path.exists() for place in changed(self._recorded(path))]

    def digest(self) -> str:
        """A hyphen and eight digits that change with what the method used; empty where that is nothing."""
        path = self._path(_METHOD)
        files = self._recorded(path) if path.exists() else {}
        return f"-{hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:8]}" if files else ""

    def take_over_shards(self, name: str = _METHOD) -> None:
        """Add the records of processes that each predicted a part, and remove them."""
        for path in self._of_shards(name):
            with suppress(FileNotFoundError):
                self.note(self._recorded(path), name)
                path.unlink()

    def _of_shards(self, name: str) -> list[Path]:
        return sorted(self.folder.glob(f"{slug(name)}.*-of-*.json"))

    def forget(self, name: str) -> None:
        """Remove a record."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{slug(name)}.json"

    def _recorded(self, path: Path) -> dict[str, str]:
        try:
            if checksum_of(path):
                return {str(place): str(each) for place, each in read_checked_json(path)["files"].items()}
        except (CorruptFileError, LookupError, AttributeError):
            pass
        return {f"{path.parent.name}/{path.name}": ALTERED}


def of_metric(name: str) -> str:
    """Whose record that of a metric is."""
    return f"metric-{name}"


def listed(places: Sequence[str]) -> str:
    """Names of changed files, as many as fit a line."""
    names = ", ".join("".join(c if c.isprintable() else "?" for c in place) for place in places[:2])
    return f"{names} and {len(places) - 2} more" if len(places) > 2 else names
