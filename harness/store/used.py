"""Records of the files that plugins used: what came of them stands as long as these files do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.core.errors import CorruptFileError
from harness.core.files import private_folder, read_checked_json, write_checked_json
from harness.core.slugs import slug
from harness.core.used import ALTERED, present

_METHOD = "method"
_NAMES = 3
"""Names at the end of a record's path, of which the first is its cell's."""


class UsedFiles:
    """The records of one cell: of its method, and of each process that predicts a part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def note(self, files: Mapping[str, str], name: str = _METHOD) -> None:
        """Add to a record. A file that was another one when it was used before is never the same again.

        Args:
            files: place -> digest, as ``harness.core.used`` gives them.
            name: whose record.
        """
        path = self._path(name)
        before = self._recorded(path) or {}
        merged = before | {
            place: digest if before.get(place, digest) == digest else ALTERED
            for place, digest in files.items()
        }
        if merged != before or not path.exists():
            private_folder(self.folder)
            write_checked_json(path, {"files": merged}, _NAMES)

    def outdated(self) -> dict[str, str]:
        """Place -> digest, as they are now, of files that the method used; empty where none has changed."""
        record = self._method()
        now = present(record)
        return now if now != record and ALTERED not in record.values() else {}

    def changed(self) -> list[str]:
        """The places of these files that have changed."""
        record = self._method()
        return [place for place, digest in present(record).items() if digest != record[place]]

    def is_lost(self, *, expected: bool) -> bool:
        """Whether nothing tells what the method used: the record is damaged, or a file changed meanwhile.

        Args:
            expected: whether there has to be a record.
        """
        paths = [self._path(_METHOD), *self._of_shards()]
        records = [self._recorded(path) for path in paths if path.exists()]
        absent = expected and not paths[0].exists()
        return absent or any(each is None or ALTERED in each.values() for each in records)

    def take_over_shards(self) -> None:
        """Add the records of processes that each predicted a part, and remove them."""
        for path in self._of_shards():
            with suppress(FileNotFoundError):
                record = self._recorded(path)
                self.note({f"{self.folder.name}/{path.name}": ALTERED} if record is None else record)
                path.unlink()

    def _method(self) -> dict[str, str]:
        """What the method and its shards used, as far as that can be read."""
        records = [self._recorded(path) or {} for path in (self._path(_METHOD), *self._of_shards())]
        return {place: digest for record in records for place, digest in record.items()}

    def _of_shards(self) -> list[Path]:
        return sorted(self.folder.glob(f"{_METHOD}.*-of-*.json"))

    def _path(self, name: str) -> Path:
        return self.folder / f"{slug(name)}.json"

    @staticmethod
    def _recorded(path: Path) -> dict[str, str] | None:
        """What a record says, nothing where there is none; None where it is damaged."""
        try:
            if not path.exists():
                return {}
            files = read_checked_json(path, _NAMES)["files"]
            return {str(place): str(each) for place, each in files.items()}
        except (CorruptFileError, LookupError, AttributeError):
            return None


def listed(places: Sequence[str]) -> str:
    """Names of changed files, as many as fit a line."""
    names = ", ".join("".join(c if c.isprintable() else "?" for c in place) for place in places[:2])
    return f"{names} and {len(places) - 2} more" if len(places) > 2 else names
