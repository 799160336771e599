"""Rows of a store's leaderboard from files, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import of_type, path_of, several_of
from harness.core.errors import HarnessError
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
        HarnessError: no store, ids that are not those of the test studies, a method's name, or an argument of
            another type.
    """
    from harness.evaluation.file_rows import rows  # with torch
    from harness.evaluation.file_rows.answers import FileAnswers
    from harness.evaluation.file_rows.target import Target

    folder = path_of(store, "store", "the path of a store's folder")
    of_type(name, str, "name", "the name of a system")
    files = answers if isinstance(answers, Mapping) else {"": answers}
    wanted = "the path of a file, or a mapping: modality state -> path"
    paths = {
        of_type(state, str, "answers", wanted): path_of(path, "answers", wanted)
        for state, path in files.items()
    }
    if of_type(task, str, "task", "report or diagnose") not in [str(each) for each in Task]:
        raise HarnessError(f"task: {task!r} is none", "give report or diagnose")
    if dataset is not None:
        of_type(dataset, str, "dataset", "the name of a dataset")
    tables = [
        path_of(path, "extra", "a list of paths") for path in several_of(extra, "extra", "a list of paths")
    ]
    target = Target.of(folder, dataset)
    return rows.add_row(target, name, FileAnswers.read(target, Task(task), paths, extra=tables))
