"""Options of ``csv``: what a table does not say and its user does, as ``--set csv.KEY=VALUE``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.datasets.readers.profiles import DEFAULT
from harness.datasets.readers.unreadable import REFUSE, check_policy

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
"""Between the cells of a table."""
LABEL_SEPARATORS = {
    "semicolon": ";",
    "pipe": "|",
    "comma": ",",
    "slash": "/",
    "plus": "+",
    "ampersand": "&",
    "and": " and ",
    "newline": "\n",
    "tab": "\t",
    "none": "",
}
"""Between the labels of a cell; ``none`` takes each cell whole."""
UNCERTAIN = ("positive", "negative")
VARIANTS = ("join", "keep")

_WHOLE = {1.0, 100.0}
_PARTS = 3


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What ``--set csv.KEY=VALUE`` says.

    Attributes:
        image_size: height and width of every view in pixels; 224 where it is None.
        profile: name of the profile.
        allow_leaks: open the table although a patient is in two splits or a context holds report text.
        channels: 1 shows images in grey, 3 in colour.
        language: of the reports.
        separator: between cells: a key of ``SEPARATORS``, or empty to read it off the header.
        label_separator: between labels of a cell: a key of ``LABEL_SEPARATORS``, or empty for a semicolon
            where no other is likely.
        label_names: names of what codes in cells stand for: ``Edema;Fracture``, or ``0=Normal;1=Edema``.
        uncertain: what an uncertain label (-1, ``Mass?``) counts as: positive or negative; empty asks.
        variants: labels and patients that differ in form alone are joined or kept apart; empty asks.
        split: shares of train, val and test by patient, e.g. ``0.7/0.1/0.2``; empty reads the column.
        split_seed: another split of the same shares.
        unreadable: what becomes of images that cannot be read: ``refuse`` stops, ``drop`` leaves them out.
    """

    image_size: int | None = None
    profile: str = DEFAULT
    allow_leaks: bool = False
    channels: int = 1
    language: str = "en"
    separator: str = ""
    label_separator: str = ""
    label_names: Any = ""
    uncertain: str = ""
    variants: str = ""
    split: str = ""
    split_seed: int = 0
    unreadable: str = REFUSE

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> TableOptions:
        """Checked options.

        Raises:
            UnknownNameError: no such option.
            HarnessError: a value that the option does not take.
        """
        names = [field.name for field in fields(cls)]
        for key in options:
            if key not in names:
                raise UnknownNameError(f"--set csv.{key}: csv has no such option", did_you_mean(key, names))
        chosen = cls(**options)
        if chosen.channels not in (1, 3):
            raise HarnessError(f"csv.channels: {chosen.channels!r} channels", "1 (grey) or 3 (colour)")
        _one_of("separator", chosen.separator, SEPARATORS)
        _one_of("label_separator", chosen.label_separator, LABEL_SEPARATORS)
        _one_of("uncertain", chosen.uncertain, UNCERTAIN)
        _one_of("variants", chosen.variants, VARIANTS)
        check_policy("csv", chosen.unreadable)
        if not isinstance(chosen.split_seed, int):
            raise HarnessError(f"csv.split_seed: {chosen.split_seed!r} is no whole number")
        _ = chosen.shares
        return chosen

    @property
    def shares(self) -> tuple[float, float, float] | None:
        """Shares of train, val and test that sum to 1; None where the table has a column.

        Raises:
            HarnessError: not three positive numbers that sum to 1 or 100.
        """
        if not self.split:
            return None
        try:
            parts = [float(part) for part in str(self.split).split("/")]
        except ValueError:
            parts = []
        total = round(sum(parts), 6)
        if len(parts) != _PARTS or min(parts) <= 0 or total not in _WHOLE:
            raise HarnessError(
                f"csv.split: {self.split!r} is not three shares that sum to 1",
                "train/val/test, e.g. --set csv.split=0.7/0.1/0.2",
            )
        train, val, test = (part / total for part in parts)
        return train, val, test

    @property
    def codes(self) -> dict[str, str]:
        """Cell -> class of ``label_names`` in the form ``0=Normal;1=Edema``; empty in the other form."""
        if isinstance(self.label_names, Mapping):
            return {str(code).strip(): str(name).strip() for code, name in self.label_names.items()}
        items = self._items()
        if not items or not all("=" in item for item in items):
            return {}
        pairs = (item.partition("=") for item in items)
        return {code.strip(): name.strip() for code, _, name in pairs}

    @property
    def names(self) -> list[str]:
        """Names of ``label_names`` in the form ``Edema;Fracture``; empty in the other form."""
        return [] if self.codes else self._items()

    def _items(self) -> list[str]:
        value = self.label_names
        items = value if isinstance(value, Sequence) and not isinstance(value, str) else str(value).split(";")
        return [str(item).strip() for item in items if str(item).strip()]


def _one_of(key: str, value: Any, choices: Mapping[str, str] | Sequence[str]) -> None:
    if value != "" and value not in choices:
        raise HarnessError(f"csv.{key}: {value!r} is none of {', '.join(choices)}")
