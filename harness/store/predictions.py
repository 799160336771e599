"""Answer files: one JSON line per study, appended batch by batch and sealed when complete.

A ``Shard`` of the test studies has a file of its own below the file of all studies, so that several processes
can predict side by side. A process that later asks about all studies takes over what the shards' files hold.
"""

from __future__ import annotations

import base64
import glob
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import numpy as np
from filelock import FileLock
from PIL import Image

from harness.core.errors import CorruptFileError
from harness.core.files import (
    clear_disk_errors,
    clear_place,
    is_sealed,
    read_checked_json,
    seal,
    sealed_facts,
    unless_damaged,
    unseal,
    verify,
    write_checked_json,
)
from harness.core.locks import file_lock
from harness.core.types import Prediction

Answer = TypeVar("Answer")

MODEL = "model"
"""Under this key the seal of answers, and of what comes of them, has the digest of the trained method."""
_OF = ', "of": '
"""Before the mark at the end of a line, which says whose answer it is."""
_PART = "part-"
"""How the name of a shard's folder begins."""
_OF_CELL = 4
"""Names at the end of a file's path that say whose answers it holds: method, cell, folder, state."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Every ``count``-th batch of the test studies, starting at number ``number``."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number + 1}/{self.count}"


@dataclass(frozen=True, slots=True)
class Codec(Generic[Answer]):
    """How an answer about one study becomes a JSON object, and back to (study id, answer)."""

    encode: Callable[[str, Answer], dict[str, Any]]
    decode: Callable[[Mapping[str, Any]], tuple[str, Answer]]


@dataclass(frozen=True, slots=True)
class Timing:
    """What the answers of a file cost.

    Attributes:
        seconds: spent in the method.
        studies: answered in that time.
        batch_size: studies per call, where memory did not suffice for the usual number.
    """

    seconds: float = 0.0
    studies: int = 0
    batch_size: int | None = None

    def __add__(self, other: Timing) -> Timing:
        sizes = [size for size in (self.batch_size, other.batch_size) if size is not None]
        return Timing(
            self.seconds + other.seconds, self.studies + other.studies, min(sizes) if sizes else None
        )


class AnswerFile(Generic[Answer]):
    """The answers about the test studies in one modality state; ``path`` is a JSONL file.

    Args:
        path: the file.
        codec: of its answers.
        model: digest of the trained method whose answers these have to be; empty for any.
    """

    def __init__(self, path: Path, codec: Codec[Answer], model: Callable[[], str] = lambda: "") -> None:
        self.path, self.codec, self.model = path, codec, model

    def shard(self, shard: Shard) -> AnswerFile[Answer]:
        """The file of a shard; the ``.lock`` in its folder keeps it to one process."""
        folder = self.path.parent / f"{_PART}{shard.number}-of-{shard.count}"
        return AnswerFile(folder / self.path.name, self.codec, self.model)

    def mark_of(self, answer: bytes) -> str:
        """The mark of a line: another answer, or one of another method, cell or state, has another.

        Args:
            answer: the line before its mark.
        """
        names = [name for name in self.path.parts if not name.startswith(_PART)]
        place = "/".join(names[-_OF_CELL:]).encode()
        return hashlib.sha256(place + b"\0" + answer).hexdigest()[:16]

    def digest(self) -> str:
        """SHA-256 of the answers, whosever they are; empty where the file is not complete."""
        if not is_sealed(self.path):
            return ""
        lines = (line.partition(_OF.encode())[0] for line in self._whole_lines().splitlines())
        return hashlib.sha256(b"\n".join(lines)).hexdigest()

    @property
    def lock(self) -> FileLock:
        """Of a shard's file, whose writer does not hold the cell's lock."""
        return file_lock(self.path.parent / ".lock")

    def sealed(self) -> dict[str, Answer] | None:
        """The answers of a file that is complete and undamaged; None where it was never completed.

        Raises:
            CorruptFileError: the file is not what was sealed, or of another training of the method.
        """
        if not is_sealed(self.path):
            return None
        verify(self.path)
        model = self.model()
        if model and sealed_facts(self.path).get(MODEL) != model:
            raise CorruptFileError(f"{self.path}: answers of another training of the method", "run again")
        return self.read()

    def read(self) -> dict[str, Answer]:
        """Complete lines by study id; a last line cut short by a kill is removed from the file.

        Raises:
            CorruptFileError: a complete line holds no answer.
        """
        clear_place(self.path)
        content = self._whole_lines()
        if self.path.exists() and self.path.stat().st_size > len(content):
            with open(self.path, "r+b") as stream:
                stream.truncate(len(content))
        return self._decoded(content)

    def sound(self) -> dict[str, Answer] | None:
        """``sealed`` of answers that can be asked for again: a damaged file is set aside."""
        return unless_damaged(self.path, self.sealed)

    def begun(self) -> dict[str, Answer]:
        """``read`` of answers that can be asked for again: a damaged file is set aside."""
        return unless_damaged(self.path, self.read) or {}

    def peek(self) -> dict[str, Answer]:
        """Complete lines of a file to which another process may be appending."""
        return self._decoded(self._whole_lines())

    @contextmanager
    def appending(self) -> Iterator[Callable[[Mapping[str, Answer]], None]]:
        """A function that appends answers and has them on disk when it returns."""
        with clear_disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(self.path, "a", encoding="utf-8") as stream:
                yield lambda answers: self._append(stream, answers)

    def unseal(self, studies: int) -> None:
        """Open a sealed file again: it is complete for ``studies`` studies, and about to grow."""
        write_checked_json(self._grown_path, {"studies": studies}, _OF_CELL)
        unseal(self.path)

    def seal(self) -> None:
        """Declare the file complete."""
        seal(self.path, facts={MODEL: self.model()})
        self._grown_path.unlink(missing_ok=True)

    def complete_for(self, answers: Mapping[str, Answer]) -> frozenset[str]:
        """The studies for which the file was complete before it grew.

        Args:
            answers: what the file holds, in its order.
        """
        if is_sealed(self.path):
            return frozenset(answers)
        facts = unless_damaged(self._grown_path, self._read_grown) or {}
        return frozenset(islice(answers, int(facts.get("studies", 0))))

    def _read_grown(self) -> dict[str, int]:
        facts = read_checked_json(self._grown_path, _OF_CELL) if self._grown_path.exists() else {}
        if not isinstance(facts.get("studies", 0), int):
            raise CorruptFileError(f"{self._grown_path}: not a number of studies", "delete it")
        return facts

    def of_shards(self, locks: ExitStack) -> tuple[dict[str, Answer], Timing]:
        """What the shards' files hold once no process writes to them, and what it cost.

        Args:
            locks: keeps the shards' locks until it is closed.
        """
        answers: dict[str, Answer] = {}
        timing = Timing()
        for shard in self._shards():
            locks.enter_context(shard.lock)
            answers |= shard.begun()
            timing += shard.timing()
        return answers, timing

    def remove_shards(self) -> None:
        """Remove the shards' files, whose answers this file holds."""
        for shard in self._shards():
            with shard.lock:
                shard.path.unlink(missing_ok=True)
                shard._timing_path.unlink(missing_ok=True)

    def timing(self) -> Timing:
        """What the answers cost; nothing where that was not kept, or is damaged."""
        return unless_damaged(self._timing_path, self._read_timing) or Timing()

    def _read_timing(self) -> Timing | None:
        if not self._timing_path.exists():
            return None
        facts = read_checked_json(self._timing_path, _OF_CELL)
        try:
            return Timing(float(facts["seconds"]), int(facts["studies"]), facts.get("batch_size"))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise CorruptFileError(f"{self._timing_path}: no times", "delete it") from error

    def keep_timing(self, timing: Timing) -> None:
        """Write down what the answers cost."""
        facts = {"seconds": timing.seconds, "studies": timing.studies}
        if timing.batch_size is not None:
            facts["batch_size"] = timing.batch_size
        # A run that has just locked the cell may be removing the file of a shard, folder and all.
        clear_place(self._timing_path)
        with suppress(FileNotFoundError):
            write_checked_json(self._timing_path, facts, _OF_CELL)

    @property
    def _grown_path(self) -> Path:
        return self.path.with_name(self.path.stem + ".grown.json")

    @property
    def _timing_path(self) -> Path:
        return self.path.with_name(self.path.stem + ".seconds.json")

    def _shards(self) -> list[AnswerFile[Answer]]:
        paths = sorted(self.path.parent.glob(f"{_PART}*/{glob.escape(self.path.name)}"))
        return [AnswerFile(path, self.codec, self.model) for path in paths]

    def _append(self, stream: IO[str], answers: Mapping[str, Answer]) -> None:
        for study_id, answer in answers.items():
            line = json.dumps(self.codec.encode(study_id, answer), ensure_ascii=False).removesuffix("}")
            stream.write(f'{line}{_OF}"{self.mark_of(line.encode())}"}}\n')
        stream.flush()
        os.fsync(stream.fileno())

    def _whole_lines(self) -> bytes:
        if self.path.is_dir():
            raise CorruptFileError(f"{self.path}: a folder is in its place", "delete it and run again")
        content = self.path.read_bytes() if self.path.exists() else b""
        return content[: content.rfind(b"\n") + 1]

    def _decoded(self, content: bytes) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        for number, line in enumerate(content.splitlines(), 1):
            try:
                fields = json.loads(line)
                mark = fields.pop("of", None)
                study_id, answer = self.codec.decode(fields)
            except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
                raise CorruptFileError(
                    f"{self.path}, line {number}: not a prediction: {type(error).__name__}",
                    "delete the file and run again",
                ) from error
            if mark != self.mark_of(line.rpartition(_OF.encode())[0]):
                raise CorruptFileError(
                    f"{self.path}, line {number}: not what was written for this method, cell and state",
                    "delete the file and run again",
                )
            answers[study_id] = answer
        return answers


def encode(study_id: str, prediction: Prediction) -> dict[str, Any]:
    """A prediction as a JSON object: exact floats, images as PNG."""
    line: dict[str, Any] = {"id": study_id}
    if prediction.report is not None:
        line["report"] = prediction.report
    if prediction.probabilities is not None:
        line["probabilities"] = [float(p) for p in prediction.probabilities]
    if prediction.images is not None:
        line["images"] = {view: _to_png(pixels) for view, pixels in prediction.images.items()}
    return line


def decode(line: Mapping[str, Any]) -> tuple[str, Prediction]:
    """The inverse of ``encode``."""
    report, probabilities, images = (line.get(name) for name in ("report", "probabilities", "images"))
    if not isinstance(report, str | None):
        raise TypeError("a report that is no text")
    return str(line["id"]), Prediction(
        report=report,
        probabilities=None if probabilities is None else np.asarray(probabilities, dtype=np.float64),
        images=None if images is None else {view: _from_png(text) for view, text in images.items()},
    )


def _encode_reports(study_id: str, reports: list[str]) -> dict[str, Any]:
    return {"id": study_id, "reports": reports}


def _decode_reports(line: Mapping[str, Any]) -> tuple[str, list[str]]:
    return str(line["id"]), list(line["reports"])


PREDICTIONS = Codec(encode, decode)
DRAWN_REPORTS = Codec(_encode_reports, _decode_reports)


def _to_png(pixels: np.ndarray[Any, Any]) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _from_png(text: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), dtype=np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels
