"""Rows of a store's leaderboard from files, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.types import Task

if TYPE_CHECKING:
    from harness.evaluation.file_rows.rows import FileRow


def add_row(
    store: str | Path,
    name: str,
    answers: str | Path | Mapping[str, str | Path],
    task: str = "report",
    extra: Sequence[str | Path] = (),
    dataset: str | None = None,
) -> FileRow:
    """Put a system's answers into the leaderboard of a store: what ``harness score --store --as`` does.

    Args:
        store: folder of a results store in which methods were run; its test set is scored.
        name: of the system; tables print ``NAME (from files)``.
        answers: path of the file with the answers, or modality state -> file: ``full`` and, for example,
            ``no-context``.
        task: ``report`` or ``diagnose``; of a diagnosis, files are tables of probabilities.
        extra: tables of scores that another program gave the answers.
        dataset: as tables call it; needed where the store has several.

    Returns:
        Keys and numbers of what was written, and why others are absent.

    Raises:
        HarnessError: no store, ids that are not those of the test studies, or a method's name.
    """
    from harness.evaluation.file_rows import rows  # with torch
    from harness.evaluation.file_rows.answers import FileAnswers
    from harness.evaluation.file_rows.target import Target

    files = answers if isinstance(answers, Mapping) else {"": answers}
    target = Target.of(Path(store), dataset)
    paths = {state: Path(path) for state, path in files.items()}
    read = FileAnswers.read(target, Task(task), paths, extra=[Path(path) for path in extra])
    return rows.add_row(target, name, read)
