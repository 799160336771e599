"""The files of one trained method, and the lock that keeps them to one process."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from harness.core.errors import CorruptFileError, PluginError
from harness.core.files import (
    DAMAGED,
    clear_disk_errors,
    open_own,
    private_folder,
    read_checked_json,
    read_json,
    seal,
    sealed_facts,
    set_aside,
    verify,
    write_checked_json,
    write_json,
)
from harness.core.locks import exclusive
from harness.core.printed import OUTPUT
from harness.core.slugs import slug
from harness.store.predictions import MODEL
from harness.store.used import UsedFiles

OF_CELL = 4
"""Names at the end of the path of a file of statistics, of which the first is its cell's."""
_DONE, _SEAL = "done.json", ".sha256.json"
"""Name of a checkpoint's list of files, and how the names of their checksums end."""
_AGAIN = "delete it and run again"
_TEMPORARY = ".*.tmp"
"""Names of files that are not yet complete."""


def _is_text(name: str) -> bool:
    return name.encode(errors="replace") == name.encode(errors="surrogatepass")


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as pickles of protocol 2 and above do, or is PyTorch's archive of one.

    A safetensors file begins with the length of its header, which may look like it.
    """
    if path.suffix == ".safetensors":
        return False
    with open_own(path) as stream:
        head = stream.read(3)
        if head[:2] == b"PK":
            stream.seek(0)
            with suppress(BadZipFile, OSError, ValueError), ZipFile(stream) as archive:
                return any(name.endswith(".pkl") for name in archive.namelist())
    return len(head) == 3 and head[0] == 0x80 and 2 <= head[1] <= 5 and head[2] != 0


class Cell:
    """The files of one trained method."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def training(self) -> Path:
        """Folder of the resumable state of an unfinished fit."""
        return self.directory / "training"

    @property
    def checkpoint(self) -> Path:
        """Folder of the fitted method."""
        return self.directory / "checkpoint"

    @property
    def output(self) -> Path:
        """What the method printed; of a method in a box, it lies in ``training``."""
        return self.directory / OUTPUT

    @contextmanager
    def lock(self, waiting: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
        """Keep other runs out of the cell, once the run that holds it is done; a lock ends with its process.

        Args:
            waiting: called about once a second with the name of the process that holds it.
        """
        with clear_disk_errors(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with exclusive(self.directory / ".lock", self.directory / ".holder.json", waiting):
            for leftover in self.directory.rglob(_TEMPORARY):
                leftover.unlink(missing_ok=True)
            yield

    def own_training(self) -> None:
        """Make the folder of the training; one of another cell, in the place of this one's, is set aside."""
        marker = self.training / "cell.json"
        if marker.is_file():
            try:
                owner = read_json(marker)["cell"]
            except (CorruptFileError, LookupError, TypeError):
                owner = "another cell"
            if owner != self.directory.name:
                set_aside(self.training, f"the training of {owner}")
        private_folder(self.training)
        if not marker.exists():
            write_json(marker, {"cell": self.directory.name})

    def has_checkpoint(self) -> bool:
        """Whether a checkpoint was finished; ``is_fitted`` says whether it still is what it was."""
        return (self.checkpoint / _DONE).exists()

    def has_answers(self) -> bool:
        """Whether the method was asked: some file of predictions was begun."""
        return any((self.directory / "predictions").glob("*.jsonl"))

    def is_fitted(self) -> bool:
        """Whether a complete checkpoint exists.

        Raises:
            CorruptFileError: it is damaged, or that of another cell.
        """
        done = self.checkpoint / _DONE
        if not self.has_checkpoint():
            return False
        content = read_checked_json(done)
        owner = content.get("cell")
        if owner != self.directory.name:
            raise CorruptFileError(
                f"{self.checkpoint}: the checkpoint of {owner}: of other code, data or settings",
                _AGAIN,
            )
        names = content.get("files")
        if not isinstance(names, list):
            raise CorruptFileError(f"{done}: it names no files", _AGAIN)
        for name in names:
            verify(self.checkpoint / name, OF_CELL - 1)
        self._put_strangers_aside(names)
        return True

    def _put_strangers_aside(self, names: Sequence[str]) -> None:
        """Move what is not in a checkpoint's list out of it: a method that lists its folder would read it."""
        own = {_DONE, *names, *(name + _SEAL for name in names)}
        for path in sorted(self.checkpoint.iterdir()):
            if path.name not in own:
                set_aside(path, "no file of this checkpoint", self.directory / (path.name + DAMAGED))

    def empty_checkpoint(self) -> Path:
        """The folder of the checkpoint, without what a method that was stopped, or another, left there."""
        if self.checkpoint.is_dir() and not self.checkpoint.is_symlink():
            shutil.rmtree(self.checkpoint)
        else:
            self.checkpoint.unlink(missing_ok=True)
        return private_folder(self.checkpoint)

    def mark_fitted(self, facts: Mapping[str, Any]) -> None:
        """Seal every file of the checkpoint; from here on it is not trained again."""
        files = sorted(path.name for path in self.checkpoint.iterdir())
        reserved = [name for name in files if name == _DONE or name.endswith((_SEAL, DAMAGED))]
        if reserved:
            names = f"{_DONE}, *{_SEAL} and *{DAMAGED}"
            raise PluginError("its checkpoint has a file of a reserved name", f"the harness keeps {names}")
        if not all(map(_is_text, files)):
            raise PluginError("its checkpoint has a file whose name is not UTF-8")
        if any(
            (self.checkpoint / name).is_symlink() or not (self.checkpoint / name).is_file() for name in files
        ):
            raise PluginError("its checkpoint has a link or a folder in it", "save plain files")
        if any(_is_pickle(self.checkpoint / name) for name in files):
            raise PluginError("its checkpoint has a pickle", "tensors as safetensors, the rest as JSON")
        for name in files:
            seal(self.checkpoint / name, OF_CELL - 1)
        content = {"files": files, "cell": self.directory.name, **facts}
        write_checked_json(self.checkpoint / _DONE, content)

    def checkpoint_digest(self) -> str:
        """Sixteen hexadecimal digits of the checkpoint's files as they were sealed.

        Empty where there is none, or where its list or a seal is damaged. No file but the seals is read:
        ``is_fitted`` says whether the files still are what was sealed.
        """
        if not (self.checkpoint / _DONE).exists():
            return ""
        try:
            names = sorted(self.facts()["files"])
            seals = [[name, sealed_facts(self.checkpoint / name, OF_CELL - 1)["content"]] for name in names]
        except (CorruptFileError, FileNotFoundError, LookupError, TypeError):
            return ""
        return hashlib.sha256(json.dumps(seals).encode()).hexdigest()[:16]

    def keep_own_answers(self) -> None:
        """After a training: set aside what came of another one, as the same training need not end equal.

        Answers that are not complete do not say whose they are.
        """
        own = self.checkpoint_digest()
        files = (self.directory / "predictions").rglob("*.jsonl")
        if any(sealed_facts(path).get(MODEL) != own for path in files):
            for name in ("predictions", "statistics"):
                if os.path.lexists(self.directory / name):
                    set_aside(self.directory / name, "of another training of the method")

    def facts(self) -> dict[str, Any]:
        """What ``mark_fitted`` recorded (training seconds, parameters)."""
        return read_checked_json(self.checkpoint / _DONE)

    @property
    def used(self) -> UsedFiles:
        """What plugins used for what is in the cell."""
        return UsedFiles(self.directory / "used")

    def begin_anew(self, reason: str) -> None:
        """Set aside everything that came of the method."""
        for name in ("checkpoint", "training", "predictions", "statistics", "used"):
            if os.path.lexists(self.directory / name):
                set_aside(self.directory / name, reason)

    def predictions(self, state: str) -> Path:
        """JSONL file of one modality state."""
        return self.directory / "predictions" / f"{slug(state)}.jsonl"

    def statistics(self, state: str, metric: str, identity: str, references: str) -> Path:
        """Array file of one metric on one state.

        Args:
            state: modality state.
            metric: name of the family.
            identity: signature and code of the metric.
            references: identifies the test set scored against.
        """
        digest = hashlib.sha256(f"{identity}\0{references}".encode()).hexdigest()[:10]
        return self.directory / "statistics" / slug(state) / f"{slug(metric)}-{digest}.npy"
