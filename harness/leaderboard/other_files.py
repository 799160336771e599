"""What was named in place of a leaderboard's JSON: one line says what it is, and which command reads it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.user_files import read_user_file

_WRITTEN_BY = "harness leaderboard --format json writes what --results reads"


def refuse(path: Path, content: Any) -> None:
    """Refuse JSON values that this program writes for another command.

    Raises:
        HarnessError: they are a bundle, the result of one row, or no leaderboard at all.
    """
    names = set(content) if isinstance(content, dict) else set()
    if "bundle" in names:
        raise HarnessError(f"{path}: a bundle, not a leaderboard's JSON", f"harness bundle check {path}")
    if "manifest" in names:
        raise HarnessError(
            f"{path}: the result of one row, not a leaderboard's JSON",
            "harness leaderboard --store STORE reads the store that it is from",
        )
    if not names >= {"schema", "rows"}:
        raise HarnessError(f"{path}: not a leaderboard's JSON", _WRITTEN_BY)


def refuse_archive(path: Path) -> None:
    """Refuse a ZIP archive, which a bundle or a store may have been packed into.

    Raises:
        HarnessError: it is one.
    """
    start = b""
    with suppress(OSError):
        start = read_user_file(path)[:4]
    if start == b"PK\3\4":
        raise HarnessError(f"{path}: a ZIP archive", "unpack it, and name the file in it")


def unreadable(path: Path, error: OSError) -> HarnessError:
    """The error of a place that is no readable file."""
    if path.is_dir() and (path / "store.json").exists():
        return HarnessError(f"{path}: a results store, no file", f"harness leaderboard --store {path}")
    if path.is_dir():
        return HarnessError(f"{path}: a folder, no file", _WRITTEN_BY)
    return HarnessError(f"{path}: {error.strerror}")
