"""Arguments of public functions: one of another type is one line that names the argument, not its content."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError

MOST_TRIALS = 100_000_000
"""Random swaps of a paired test: a p-value is known to its fourth digit with a tenth of them."""

_LONGEST_NAME, _LONGEST_PATH = 255, 4095
"""Bytes of a file's name and of a path, on Linux."""


def of_type(value: Any, kinds: Any, argument: str, wanted: str) -> Any:
    """An argument that has one of some types.

    Args:
        value: what was given.
        kinds: a type or several, as ``isinstance`` takes them.
        argument: its name.
        wanted: what to give, in words.

    Raises:
        HarnessError: it has another type.
    """
    if not isinstance(value, kinds):
        raise HarnessError(f"{argument}: {described(value)} was given", f"give {wanted}")
    return value


def whole_number(value: Any, argument: str, least: int = 1) -> int:
    """An argument that is a count.

    Raises:
        HarnessError: it is no whole number, or less than ``least``. True and False are no numbers.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise HarnessError(f"{argument}: {described(value)} was given", "give a whole number")
    if value < least:
        raise HarnessError(f"{argument} must be at least {least}, got {int(value)}")
    return int(value)


def path_of(value: Any, argument: str, wanted: str) -> Path:
    """An argument that is a path.

    Raises:
        HarnessError: it is none.
    """
    return Path(of_type(value, str | os.PathLike, argument, wanted))


def file_of(value: str | Path, what: str) -> Path:
    """A path that a file may have. Where it cannot be one, its text, perhaps a report, is not repeated.

    Raises:
        HarnessError: a name in it is too long, or holds what no name does.
    """
    text = str(value)
    try:
        parts = [os.fsencode(part) for part in text.split("/")]
    except UnicodeEncodeError:
        parts = [b"\0"]
    too_long = sum(map(len, parts)) + len(parts) > _LONGEST_PATH
    if too_long or any(b"\0" in part or len(part) > _LONGEST_NAME for part in parts):
        raise HarnessError(
            f"{what}: a text of {len(text)} characters was given, which is no path",
            "give a path, or the texts as a list or a mapping",
        )
    return Path(value)


def several_of(values: Any, argument: str, wanted: str) -> tuple[Any, ...]:
    """An argument that has several values.

    Raises:
        HarnessError: it is a text, whose letters are no values, a mapping, or nothing with values.
    """
    if isinstance(values, str | bytes | Mapping) or not has_items(values):
        raise HarnessError(f"{argument}: {described(values)} was given", f"give {wanted}")
    return tuple(values)


def has_items(values: Any) -> bool:
    """Whether a value can be gone through; an array of no dimension only looks as if."""
    return isinstance(values, Iterable) and getattr(values, "ndim", 1) != 0


def texts_of(values: Any, argument: str, wanted: str) -> tuple[str, ...]:
    """An argument that is a list of texts.

    Raises:
        HarnessError: it is none, or something in it is no text.
    """
    return tuple(of_type(value, str, argument, wanted) for value in several_of(values, argument, wanted))


def described(value: Any) -> str:
    """What a value is, without what it holds: ``a list``, ``the class Bleu``, ``None``."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
