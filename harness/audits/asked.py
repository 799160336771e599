"""A method that answers questions: in a box, or in this process where no module has its class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import source_from_cache
from pathlib import Path, PurePath
from typing import Any, Protocol

from harness.audits.watch import watching
from harness.datasets.base import Dataset
from harness.method.box.box import Box, BoxError
from harness.method.box.inside import Inside, answered
from harness.method.box.rules import Rules
from harness.method.box.wire import copied
from harness.method.contract import Method

_PARTS = 3
"""Parts of a path that a verdict names: it leaves the machine."""

Progress = Callable[[float, str], None]


class Asked(Protocol):
    """A process with a method, which answers questions (``harness.method.box.inside``)."""

    @property
    def confined(self) -> str:
        """What keeps it from the data; empty where nothing does."""
        ...

    def ask(self, question: str, progress: Progress | None = None, **content: Any) -> dict[str, Any]:
        """The answer; raises ``BoxError`` where the method fails."""
        ...

    def copy(self, folder: Path, write: Sequence[Path] = ()) -> Asked:
        """The process as it is now, once more; it may write into ``folder`` and ``write``."""
        ...

    @property
    def opened(self) -> list[str]:
        """Files that it or a copy opened, or tried to."""
        ...

    def reached(self) -> str:
        """A line on the data that it or a copy reached for since the last call; empty where it did not."""
        ...

    def close(self) -> object:
        """End it."""
        ...


@dataclass(frozen=True, slots=True)
class Boxed:
    """A method in a box."""

    box: Box
    rules: Rules

    @property
    def confined(self) -> str:
        """What the kernel confines the box with; empty where it cannot."""
        return self.box.confined

    def ask(self, question: str, progress: Progress | None = None, **content: Any) -> dict[str, Any]:
        """The answer of the box."""
        return self.box.ask(question, progress, **content)

    def copy(self, folder: Path, write: Sequence[Path] = ()) -> Boxed:
        """A fork of the process."""
        return Boxed(self.box.copy(folder, write), self.rules)

    @property
    def opened(self) -> list[str]:
        """As the kernel says, else as far as Python knows."""
        return list(self.box.opens.paths)

    def reached(self) -> str:
        """The first hidden file that was opened."""
        hidden = next(filter(self.rules.hides, self.box.opens.new()), None)
        return f"opened {short(hidden)}, which holds the data or makes it" if hidden else ""

    def close(self) -> int:
        """End the box."""
        return self.box.close()


class Unboxed:
    """A method in this process: nothing is refused, and only what Python itself opens is seen."""

    confined = ""

    def __init__(self, method_class: type[Method[Any]], dataset: Dataset, files: frozenset[str]) -> None:
        self.method_class, self.dataset, self.files = method_class, dataset, files
        self.inside = Inside(lambda share, status: None, method_class)
        self.plugged: dict[str, Any] = {}
        self.lines: list[str] = []
        self.paths: set[str] = set()

    def ask(self, question: str, progress: Progress | None = None, **content: Any) -> dict[str, Any]:
        """The answer, about copies of what is asked."""
        if question == "plug":
            self.plugged = content
        self.inside.progress = progress or (lambda share, status: None)
        with watching(self.dataset, self.files) as touches:
            answer = answered(self.inside, copied({"question": question, **content}))
        self.lines += touches.lines()
        self.paths |= touches.opened
        if answer["kind"] == "error":
            raise BoxError(answer["reason"], answer["type"])
        return copied(answer)

    def copy(self, folder: Path, write: Sequence[Path] = ()) -> Unboxed:
        """A new instance of the same class."""
        other = Unboxed(self.method_class, self.dataset, self.files)
        other.lines, other.paths = self.lines, self.paths
        other.ask("plug", **self.plugged)
        return other

    @property
    def opened(self) -> list[str]:
        """By Python's own functions."""
        return sorted(self.paths)

    def reached(self) -> str:
        """The first touch of a test study or of a file of the data."""
        line = self.lines[0] if self.lines else ""
        self.lines.clear()
        return line

    def close(self) -> None:
        """Nothing is left to end."""


def short(path: str) -> str:
    """The end of a path, of a compiled module that of its source."""
    if path.endswith(".pyc"):
        with suppress(ValueError, NotImplementedError):
            path = source_from_cache(path)
    return "/".join(PurePath(path).parts[-_PARTS:])
