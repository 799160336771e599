"""Studies of two files, joined by id. Ids that differ only in form are named and never joined."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from harness.core.errors import HarnessError
from harness.evaluation.report_files.fields import listed
from harness.evaluation.report_files.reader import ReportFile
from harness.metrics.text.characters import plain_characters

_ENDINGS = r"\.(?:png|jpe?g|dcm|dicom|tiff?|bmp|webp|nii|txt|json|xml|gz)$"

_FORMS: Mapping[str, Callable[[str], str]] = {
    "blanks": lambda name: "".join(name.split()),
    "Unicode form": lambda name: plain_characters(name).strip(),
    "capitals": str.casefold,
    "folders or file endings": lambda name: _file(name),
    "quotes, brackets or a wrapper": lambda name: _unwrapped(name),
    "the form of a number": lambda name: _number(name),
    "zeros in front": lambda name: re.sub(r"(?<!\d)0+(?=\d)", "", name),
    "hyphens and underscores": lambda name: name.replace("-", "_"),
    "letters in front of a number": lambda name: re.sub(r"^[a-z_]+(?=\d+$)", "", name, flags=re.IGNORECASE),
}
"""In what two names of one study may differ, and what takes the difference away."""

_EVERYWHERE = ("blanks", "Unicode form", "capitals", "the form of a number", "zeros in front")
"""Forms that are suspicious within one file, too; there, folders and endings tell studies apart."""


_WRAPPER = re.compile(r"(?:tensor|np\.\w+|b|=)?[(\[]?[\"'#]?(.+?)[\"']?,?[)\]]?")
_INTEGER = re.compile(r"\+?(\d{1,3}(?:[,']\d{3})+|\d+)(?:\.0*)?")
_POWER = re.compile(r"\+?\d(?:\.(\d+))?e\+?(\d{1,2})", re.IGNORECASE)


def _unwrapped(name: str) -> str:
    """What printed Python, quotes or a number sign stand around: ``('s1',)``, ``="1"``, ``#1``."""
    if name[-1:] not in "\"')]." and not name.startswith(("#", "'", "=")):
        return name
    match = _WRAPPER.fullmatch(name.removesuffix("."))
    return match[1] if match else name


def _number(name: str) -> str:
    """``1.0``, ``+1``, ``1,000`` and ``1e3`` as plain integers; other names as they are."""
    if match := _INTEGER.fullmatch(name):
        return match[1].replace(",", "").replace("'", "")
    power = _POWER.fullmatch(name)
    return str(int(Decimal(name))) if power and int(power[2]) >= len(power[1] or "") else name


def _rounded(names: Sequence[str], others: Sequence[str]) -> str | None:
    """An id that a spreadsheet rounded to a power of ten, where the other file has what it may have been."""
    for powers, integers in ((names, others), (others, names)):
        for name in filter(_POWER.fullmatch, powers):
            digits = len((_POWER.fullmatch(name) or [""])[1] or "")
            if any(
                each.isdecimal() and Decimal(f"{Decimal(each):.{digits}E}") == Decimal(name)
                for each in integers
            ):
                return name
    return None


def _file(name: str) -> str:
    base = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    while re.search(_ENDINGS, base, re.IGNORECASE):
        base = re.sub(_ENDINGS, "", base, flags=re.IGNORECASE)
    return base


def joined_ids(references: ReportFile, predictions: ReportFile) -> list[str]:
    """Ids of both files, in the references' order.

    Raises:
        HarnessError: an id on one side only, or the files are not joined in the same way.
    """
    if references.order != predictions.order:
        raise _orders(references, predictions)
    ours, theirs = references.texts, predictions.texts
    if references.order != "ids" and len(ours) != len(theirs):
        raise HarnessError(
            f"{references.path} has {len(ours)} reports, {predictions.path} has {len(theirs)}",
            "files without ids are joined by position and must be equally long",
        )
    for one, other in ((references, predictions), (predictions, references)):
        absent = [name for name in one.texts if name not in other.texts]
        if absent:
            raise HarnessError(
                f"{other.path} lacks {len(absent)} of the ids in {one.path}: {listed(absent)}",
                _way_out(absent, [name for name in other.texts if name not in one.texts]),
            )
    return list(ours)


def _orders(references: ReportFile, predictions: ReportFile) -> HarnessError:
    sides = sorted((references, predictions), key=lambda file: file.order == "ids")
    if sides[1].order == "ids":
        return HarnessError(
            f"{sides[0].path} has no ids and {sides[1].path} has", "write both with ids, or both without"
        )
    return HarnessError(
        f"{references.path} is {references.shape} and {predictions.path} is {predictions.shape}",
        "write both in one shape, best with ids",
    )


def _way_out(absent: Sequence[str], others: Sequence[str]) -> str:
    """What to do about absent ids; where the other file has them in another form, in which."""
    by_form: dict[str, list[str]] = {}
    for name in others:
        by_form.setdefault(_bare(name, _FORMS), []).append(name)
    pairs = [(name, by_form[_bare(name, _FORMS)][0]) for name in absent if _bare(name, _FORMS) in by_form]
    rounded = _rounded(absent, others)
    if rounded is not None and not any(rounded in pair for pair in pairs):
        return f"{rounded!r} is a number that a spreadsheet rounded: write the ids as text"
    if not pairs:
        return "every study needs one entry in both files; an empty report counts"
    (name, other), count = pairs[0], len(pairs)
    many = f", and {count - 1} more" if count > 1 else ""
    return (
        f"{listed([name])} and {listed([other])} differ only in {_difference(name, other)}{many}: "
        "write the ids alike in both files"
    )


def _bare(name: str, forms: Iterable[str]) -> str:
    for form in forms:
        name = _FORMS[form](name)
    return name


def _difference(name: str, other: str) -> str:
    alone = next((form for form, plain in _FORMS.items() if plain(name) == plain(other)), None)
    if alone is not None:
        return alone
    acting = [form for form, plain in _FORMS.items() if plain(name) != name or plain(other) != other]
    return " and ".join(acting)


def alike(names: Iterable[str]) -> list[str]:
    """Ids of one file that differ from another id of it only in form."""
    by_form: dict[str, list[str]] = {}
    for name in names:
        by_form.setdefault(_bare(name, _EVERYWHERE), []).append(name)
    return [name for members in by_form.values() if len(members) > 1 for name in members]


def last_report(files: Sequence[ReportFile]) -> int:
    """Number of the last line for which one of several files of plain text has a report.

    Blank lines after it are the ends of files. Blank lines before it are empty reports.
    """
    return max(
        number
        for file in files
        for number, (name, text) in enumerate((("", "."), *file.texts.items()))
        if text.strip() or name in file.nulls
    )


def shortened(file: ReportFile, length: int) -> ReportFile:
    """A file of plain text without the lines after ``length``."""
    names = list(file.texts)[:length]
    more = {name: file.more[name] for name in names if name in file.more}
    return replace(file, texts={name: file.texts[name] for name in names}, more=more)
