"""Checksums of a bundle: one over each result with its numbers, and one over all of them.

They show that a file is what ``harness bundle write`` wrote, digit by digit. They do not show who wrote it:
who changes a file on purpose can compute them anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from harness.core.errors import HarnessError

KEYS = ("checksums", "sha256")
"""Fields of a bundle that the others are compared with."""


def with_checksums(content: Mapping[str, Any]) -> dict[str, Any]:
    """A bundle's JSON values with the checksums of all its results."""
    whole = {key: value for key, value in content.items() if key not in KEYS}
    whole["checksums"] = _of_results(whole)
    return whole | {"sha256": _digest(whole)}


def verify(content: Mapping[str, Any], name: str) -> None:
    """Compare a bundle with its checksums.

    Args:
        content: JSON values of a bundle that keeps to its schema.
        name: what messages call the file.

    Raises:
        HarnessError: names the first result that is not what was written, is absent or was added.
    """
    written, own = content["checksums"], _of_results(content)
    for run, digest in own.items():
        label = _label(content, run)
        if run not in written:
            raise HarnessError(f"{name}: refused: {label} was added after the file was written")
        if digest != written[run]:
            message = f"{name}: refused: {label} or one of its numbers is not what was written"
            raise HarnessError(message, "ask for the file again")
    for run in written:
        if run not in own:
            message = f"{name}: refused: the result {run} was taken out after the file was written"
            raise HarnessError(message, "ask for the file again")
    if with_checksums(content)["sha256"] != content["sha256"]:
        raise HarnessError(f"{name}: refused: its list of checksums is not what was written")


def _of_results(content: Mapping[str, Any]) -> dict[str, str]:
    rows: dict[str, list[Any]] = {run: [] for run in content["runs"]}
    for row in content["rows"]:
        rows.setdefault(row["run"], []).append(row)  # one that is not described is refused elsewhere
    return {run: _digest([facts, rows[run]]) for run, facts in content["runs"].items()}


def _label(content: Mapping[str, Any], run: str) -> str:
    row = next((row for row in content["rows"] if row["run"] == run), None)
    of = f" ({row['method']} on {row['dataset']})" if row else ", of which no number is there,"
    return f"the result {run}{of}"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
