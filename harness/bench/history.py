"""Ratios over time: one line of JSON per ``harness bench --history FILE``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from harness.core.errors import CorruptFileError
from harness.core.files import clear_disk_errors, write_atomic

SAME = ("cpu", "cores", "threads", "gpu")
"""Facts that two machines share where their ratios are compared."""

Ratios = dict[tuple[str, str, str], float]
"""Identity of a row to the ratio that it had."""


def append(path: Path, report: Mapping[str, Any]) -> None:
    """Add a run as one line, atomically: several processes may add lines at the same time."""
    line = json.dumps(report, ensure_ascii=False, allow_nan=False) + "\n"
    with clear_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            before = path.read_bytes() if path.exists() else b""
            if before and not before.endswith(b"\n"):
                before += b"\n"
            write_atomic(path, lambda stream: stream.write(before + line.encode()))


def before(path: Path, machine: Mapping[str, Any]) -> Ratios:
    """The ratio that each row had last on this machine; empty where there is no history.

    Raises:
        CorruptFileError: a line that is no run of benchmarks; the message has its number.
    """
    ratios: Ratios = {}
    if not path.exists():
        return ratios
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            report = json.loads(line)
            if all(report["machine"].get(key) == machine.get(key) for key in SAME):
                for row in report["rows"]:
                    if row["ratio"] is not None:
                        ratios[row["suite"], row["benchmark"], row["of"]] = float(row["ratio"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptFileError(
                f"--history {path}: line {number} is no run of benchmarks", "remove it"
            ) from error
    return ratios
