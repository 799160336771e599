"""Human judgements of candidate reports, in the files of their authors: ReXVal, RadPref, RadEval's experts.

Nothing of them is bundled; ReXVal needs PhysioNet credentials. What cannot be read is refused, or left out
and counted.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.names import did_you_mean

_REXVAL_REPORTS = "50_samples_gt_and_candidates.csv"
_REXVAL_ERRORS = "6_valid_raters_per_rater_error_categories.csv"
_REXVAL_COLUMNS = (
    "study_number",
    "candidate_type",
    "rater_index",
    "error_category",
    "clinically_significant",
)
_CANDIDATES = ("radgraph", "bertscore", "s_emb", "bleu")
_RADPREF_REPORTS, _RADPREF_RATERS = "preference_data.json", "radiologist_annotations"
_TRUE, _FALSE = ("true", "1", "1.0"), ("false", "0", "0.0")
_HEADING = re.compile(r"[^a-z]*(?:clinically )?(significant|insignificant)(?: errors)?[^a-z]*")
_COUNT = re.compile(r"\s*([1-7])[.)].*?[:=]\s*(\d+)\s*[.;]?\s*")
_CATEGORIES = 7
_PATIENT = re.compile(r"(?:^|[/\\])(p\d{6,}|patient\d+)(?=[/\\]|$)")


@dataclass(frozen=True, slots=True)
class JudgementFile:
    """``--judgements KIND=PATH``: the kind is one of ``READERS``."""

    kind: str
    path: Path

    @classmethod
    def of(cls, assignment: str) -> JudgementFile:
        """The two parts of ``KIND=PATH``.

        Raises:
            HarnessError: no such kind, or no path.
        """
        kind, _, path = assignment.partition("=")
        if kind not in READERS:
            raise HarnessError(f"--judgements {assignment}: no such kind", did_you_mean(kind, READERS))
        if not path or not Path(path).exists():
            raise HarnessError(f"--judgements {assignment}: no such file or folder")
        return cls(kind, Path(path))


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A candidate and the true report; candidates of one ``study`` are resampled together."""

    study: str
    reference: str
    candidate: str


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Pairs and what people said of them.

    Attributes:
        pairs: in the order of the file.
        qualities: name -> (n,), more is better; NaN where there is no judgement.
        remark: what was left out.
    """

    pairs: tuple[JudgedPair, ...]
    qualities: Mapping[str, NDArray[np.float64]]
    remark: str = ""


def read_judgements(file: JudgementFile) -> JudgedSet:
    """The judgements of a file or folder.

    Raises:
        HarnessError: a file is absent, or not of the kind.
    """
    judged = READERS[file.kind](file.path)
    if len(judged.pairs) < 3:
        raise HarnessError(f"{file.path}: {len(judged.pairs)} judged pairs", "at least three are needed")
    return judged


def _rexval(folder: Path) -> JudgedSet:
    """ReXVal 1.0.0: four candidates per study; errors are counted per rater, category and significance."""
    studies = _table(folder / _REXVAL_REPORTS, ("study_id", "gt_report", *_CANDIDATES))
    counts = _table(folder / _REXVAL_ERRORS, (*_REXVAL_COLUMNS, "num_errors"))
    row_of = _row_numbers(folder / _REXVAL_ERRORS, [row["study_number"] for row in counts], studies)
    seen: dict[tuple[str, ...], float] = {}
    for row in counts:
        key = tuple(row[name] for name in _REXVAL_COLUMNS)
        if key in seen:
            raise HarnessError(f"{folder / _REXVAL_ERRORS}: study {key[0]}, {key[1]} is judged twice")
        seen[key] = _number(folder / _REXVAL_ERRORS, row["num_errors"])
    raters = {key[2] for key in seen}
    pairs, all_errors, significant = [], [], []
    for number, row in row_of.items():
        for candidate in _CANDIDATES:
            own = {key: value for key, value in seen.items() if key[:2] == (number, candidate)}
            complete = {key[2] for key in own} == raters
            pairs.append(JudgedPair(row["study_id"], row["gt_report"], row[candidate]))
            grave = [value for key, value in own.items() if _truth(folder / _REXVAL_ERRORS, key[4])]
            all_errors.append(-sum(own.values()) / len(raters) if complete else np.nan)
            significant.append(-sum(grave) / len(raters) if complete else np.nan)
    return _judged(pairs, {"errors": all_errors, "significant errors": significant})


def _row_numbers(
    path: Path, numbers: Iterable[str], studies: Sequence[dict[str, str]]
) -> dict[str, dict[str, str]]:
    """Study number of the raters' file -> row of the reports: ids, or places from 0 or from 1."""
    used = set(numbers)
    for names in (
        [row["study_id"] for row in studies],
        [str(place) for place in range(len(studies))],
        [str(place) for place in range(1, len(studies) + 1)],
    ):
        if used == set(names):
            return dict(zip(names, studies, strict=True))
    raise HarnessError(
        f"{path}: its study numbers are no ids and no places of the {len(studies)} studies",
        "both files need the same studies",
    )


def _radpref(folder: Path) -> JudgedSet:
    """RadPref: two candidates per study, rated from 1 to 5 by each radiologist."""
    studies = _json(folder / _RADPREF_REPORTS)
    raters = [_json(path).get("annotations") for path in sorted((folder / _RADPREF_RATERS).glob("*.json"))]
    if not raters or not isinstance(studies, list) or not all(isinstance(each, dict) for each in raters):
        raise HarnessError(f"{folder}: expected {_RADPREF_REPORTS} and {_RADPREF_RATERS}/*.json")
    pairs, ratings = [], []
    for study in studies:
        for candidate in ("C1", "C2"):
            own = [_rating(rater, study["id"], candidate) for rater in raters]
            present = [rating for rating in own if rating is not None]
            pairs.append(JudgedPair(study["id"], study["ground_truth_report"], study[f"{candidate}_report"]))
            ratings.append(float(np.mean(present)) if present else np.nan)
    return _judged(pairs, {"mean rating": ratings})


def _rating(annotations: Mapping[str, Any], study: str, candidate: str) -> float | None:
    rating = annotations.get(study, {}).get(candidate, {}).get("rating")
    if rating is None:
        return None
    if rating not in (1, 2, 3, 4, 5):
        raise HarnessError(f"RadPref, study {study}, {candidate}: {rating!r} is no rating from 1 to 5")
    return float(rating)


def _radeval(path: Path) -> JudgedSet:
    """RadEval's expert set: three candidates per row, each with counts of seven kinds of errors, twice."""
    columns = [f"{name}{place}" for place in (1, 2, 3) for name in ("prediction", "annotation")]
    pairs, all_errors, significant = [], [], []
    for row in _table(path, ("ground_truth", "images_path", *columns)):
        match = _PATIENT.search(row["images_path"])
        for place in (1, 2, 3):
            counts = _expert_counts(row[f"annotation{place}"])
            grave, slight = counts["significant"], counts["insignificant"]
            study = match[1] if match else row["images_path"]
            pairs.append(JudgedPair(study, row["ground_truth"], row[f"prediction{place}"]))
            significant.append(np.nan if grave is None else -float(grave))
            all_errors.append(np.nan if grave is None or slight is None else -float(grave + slight))
    return _judged(pairs, {"errors": all_errors, "significant errors": significant})


def _expert_counts(cell: str) -> dict[str, int | None]:
    """Errors under each heading of an annotation; None where not all seven counts stand there, each once."""
    counts: dict[str, list[tuple[int, int]]] = {"significant": [], "insignificant": []}
    heading = None
    for line in cell.splitlines():
        if match := _HEADING.fullmatch(line.lower()):
            heading = match[1]
        elif heading and (match := _COUNT.fullmatch(line)):
            counts[heading].append((int(match[1]), int(match[2])))
    places = list(range(1, _CATEGORIES + 1))
    return {
        name: sum(count for _, count in listed) if sorted(place for place, _ in listed) == places else None
        for name, listed in counts.items()
    }


def _judged(pairs: Sequence[JudgedPair], qualities: Mapping[str, Sequence[float]]) -> JudgedSet:
    """The pairs with a reference and at least one judgement."""
    table = {name: np.array(values, dtype=np.float64) for name, values in qualities.items()}
    judged = np.isfinite(np.stack(list(table.values()))).any(axis=0)
    usable = judged & np.array([bool(pair.reference.strip()) for pair in pairs], dtype=bool)
    left_out = int((~usable).sum())
    return JudgedSet(
        tuple(pair for pair, use in zip(pairs, usable, strict=True) if use),
        {name: values[usable] for name, values in table.items()},
        f"{left_out} of {len(pairs)} pairs left out: no judgement, or no reference" if left_out else "",
    )


def _table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: cannot be read ({type(error).__name__})") from error
    reader = csv.DictReader(io.StringIO(content, newline=""))
    absent = [name for name in columns if name not in (reader.fieldnames or ())]
    if absent:
        raise HarnessError(f"{path}: no column {', '.join(absent)}")
    rows = list(reader)
    broken = [place for place, row in enumerate(rows, 1) if any(row[name] is None for name in columns)]
    if broken:
        raise HarnessError(f"{path}: row {broken[0]} has too few cells")
    return rows


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarnessError(f"{path}: cannot be read ({type(error).__name__})") from error


def _number(path: Path, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1000:
        raise HarnessError(f"{path}: {cell[:20]!r} is no number of errors")
    return value


def _truth(path: Path, cell: str) -> bool:
    if cell.lower() not in (*_TRUE, *_FALSE):
        raise HarnessError(f"{path}: {cell[:20]!r} is neither true nor false")
    return cell.lower() in _TRUE


READERS: Mapping[str, Callable[[Path], JudgedSet]] = {
    "rexval": _rexval,
    "radpref": _radpref,
    "radeval": _radeval,
}
"""Kinds of ``--judgements``: a folder for the first two, a CSV file for the last."""
