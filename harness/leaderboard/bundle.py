"""What may leave the institution: aggregates, hashes, signatures and versions, in one JSON file.

The file is built from a closed schema, not by leaving things out: a field that is not named here does not
leave. No string in it contains white space, so no report, path or free text fits into one; what could hold a
local name (overrides, result keys) leaves as a hash. The checker applies the same schema to any file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, StringConstraints, ValidationError

from harness.core.errors import HarnessError
from harness.core.files import open_own
from harness.core.packages import SCORING
from harness.core.user_files import read_user_file, write_user_file
from harness.leaderboard.bundle_checksums import verify, with_checksums
from harness.leaderboard.facts import AuditState, RowFacts
from harness.leaderboard.leaderboard import Leaderboard
from harness.metrics.base import SIGNATURE
from harness.store.results import Measurement, Status
from harness.store.row_labels import IMPUTED, SHUFFLED, TEMPERATURE
from harness.store.store import SCHEMA, Store

MINIMUM_STUDIES = 10
"""An aggregate over fewer studies reveals too much about each of them."""

MOST_NAMES, MOST_RUNS, MOST_ROWS = 2_000, 5_000, 200_000
"""Different names, results and numbers of one file, so that few words could be hidden in them."""

_VERSION = r"[0-9]{1,8}(\.[0-9]{1,8}){0,3}([a-z.+-]{1,8}[0-9a-z.]{0,20})?"
_PATH = re.compile(r":(?:[/\\~.]|[A-Za-z]:[/\\]|[^|]*(?:/[^|]*){2})")
"""A value of a signature that is a path: it begins as one, or has two slashes."""

_OVERRIDE = r"(?:[A-Za-z_.-]+=(?:-?[0-9][0-9.e+-]*|True|False|sha256:[0-9a-f]{8})|sha256:[0-9a-f]{8})"
_METHOD = rf"[A-Za-z0-9][A-Za-z0-9._-]*(:[A-Za-z0-9._-]+)?(\[{_OVERRIDE}(,{_OVERRIDE})*\])?"
_LABEL = rf"^{_METHOD}(\+shuffled-image|\+temperature|\+imputed-{_METHOD})?$"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-][A-Za-z0-9._:+-]*$", max_length=64)]
Drop = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-][A-Za-z0-9._:+=-]*$", max_length=64)]
Label = Annotated[str, StringConstraints(pattern=_LABEL, max_length=128)]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,64}$")]
Signature = Annotated[str, StringConstraints(pattern=rf"^{SIGNATURE}$", max_length=400)]
Group = Literal[
    "",
    "report text",
    "report findings",
    "diagnosis",
    "images",
    "downstream",
    "report",
    "diagnose",
    "synthesize",
]
Version = Annotated[str, StringConstraints(pattern=rf"^{_VERSION}$", max_length=40)]
Package = Annotated[str, StringConstraints(pattern=rf"^({'|'.join(map(re.escape, SCORING))})$")]
System = Annotated[str, StringConstraints(pattern=r"^(Linux|Darwin|Windows)_[A-Za-z0-9_]{1,16}$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**64)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SharedNumber(_Closed):
    """One number of the long table; ``run`` is a key of ``Bundle.runs``."""

    run: Hash
    dataset: Name
    method: Label
    preset: Name
    seed: Whole
    drop: Drop
    mechanism: Name
    rate: Share
    metric: Name
    value: Finite | None
    ci95: tuple[Finite, Finite] | None
    n: Annotated[int, Field(ge=MINIMUM_STUDIES, lt=2**63)]
    signature: Signature
    status: Status
    control: bool
    group: Group
    higher_is_better: bool | None


class SharedCost(_Closed):
    """Measured costs."""

    parameters: Count | None = None
    trainable_parameters: Count | None = None
    flops: Count | None = None
    training_seconds: Finite | None = None
    seconds_per_study: Finite | None = None
    peak_memory_gib: Finite | None = None
    device: Name | None = None


class SharedRun(_Closed):
    """How the numbers of one result came about: digests and versions.

    ``result`` is the checksum of its file in the store; empty where the numbers were read from an export of
    an early version.
    """

    result: Hash
    harness: Version
    protocol: Count
    code: Hash
    settings: Hash
    test_set: Hash
    masks: Hash
    mask_seeds: Count
    audit: AuditState
    cost: SharedCost
    cpus: Count | None
    threads: Count | None
    gpu: Name | None
    python: Version
    system: System
    packages: dict[Package, Version]


class Bundle(_Closed):
    """The whole file."""

    bundle: Literal[1]
    schema_: Annotated[Literal[1], Field(alias="schema")]
    rows: Annotated[list[SharedNumber], FailFast()]
    runs: dict[Hash, SharedRun]
    checksums: dict[Hash, Hash]
    sha256: Hash


_FIELDS = {
    field.alias or name
    for model in (Bundle, SharedRun, SharedNumber, SharedCost)
    for name, field in model.model_fields.items()
}
"""Names that a message may repeat; any other could hold anything."""


def make(leaderboard: Leaderboard, store: Store | None = None) -> str:
    """The bundle of a leaderboard, checked, as JSON.

    Args:
        leaderboard: what to share.
        store: where it came from; with it, no string of the bundle may be one of its study ids.

    Raises:
        HarnessError: nothing to share, too few studies behind a number, or something that may not leave.
    """
    if not leaderboard.rows:
        raise HarnessError("bundle: the store holds no results", "harness run makes some")
    _check_signatures(leaderboard)
    content = {
        "bundle": 1,
        "schema": SCHEMA,
        "rows": [_number(row) for row in leaderboard.rows],
        "runs": {_digest(key): _run(facts) for key, facts in leaderboard.results.items()},
    }
    text = json.dumps(with_checksums(content), indent=1) + "\n"
    bundle = check(text, "bundle")
    if store is not None:
        leaked = sorted(set(_strings(bundle.model_dump())) & set(study_ids(store)))
        if leaked:
            raise HarnessError(f"bundle: {len(leaked)} study ids would leave, the first as {leaked[0]!r}")
    return text


def check(text: str, name: str) -> Bundle:
    """Refuse anything but a bundle of aggregates that is what was written.

    Args:
        text: content of the file.
        name: what messages call it.

    Raises:
        HarnessError: names the first place that is refused, and why; never repeats its content.
    """
    try:
        content = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    except RecursionError:
        raise HarnessError(f"{name}: refused: nested too deep") from None
    except ValueError as error:
        raise HarnessError(f"{name}: refused: {error}") from None
    for field, most, what in (("runs", MOST_RUNS, "results"), ("rows", MOST_ROWS, "numbers")):
        values = content.get(field) if isinstance(content, dict) else None
        _check_count(len(values) if isinstance(values, list | dict) else 0, most, what, name)
    if isinstance(content, dict) and any(content.get(each) is True for each in ("bundle", "schema")):
        raise HarnessError(f"{name}: refused: a switch where a number belongs")
    try:
        # From JSON text, strict mode still takes a list for a pair.
        bundle = Bundle.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False)[0]
        place = ".".join(
            str(part) if isinstance(part, int) or part in _FIELDS else "?" for part in first["loc"]
        )
        raise HarnessError(
            f"{name}: refused: {place}: {_reason(first['type'], first['msg'])}",
            "a bundle holds aggregates, hashes, signatures and versions, nothing else",
        ) from None
    _check_rows(bundle, name)
    _check_names(bundle, name)
    verify(content, name)
    if _bare(text) != _bare(json.dumps(content)):  # digits beyond those that a number has
        raise HarnessError(f"{name}: refused: it holds more than its values", "ask for the file again")
    return bundle


def _bare(text: str) -> str:
    return "".join(text.split())


def study_ids(store: Store) -> Iterator[str]:
    """Ids of the studies that any method of a store has predicted."""
    for path in sorted((store.root / "cells").glob("*/*/*/predictions/*.jsonl")):
        with open_own(path) as stream:
            for line in stream:
                match = re.match(rb'\{"id": ("(?:[^"\\]|\\.)*")', line)
                if match:
                    yield str(json.loads(match[1]))


def _check_signatures(leaderboard: Leaderboard) -> None:
    """Refuse signatures outside the grammar, as older versions wrote some, with what makes them anew."""
    for row in leaderboard.rows:
        if not re.fullmatch(SIGNATURE, row.signature):
            facts = leaderboard.results.get(row.key)
            again = facts.command if facts else "harness run"
            raise HarnessError(
                f"bundle: {row.key}: {row.metric}: a signature with blanks, from an older version",
                f"remove it (harness store rm {row.key}) and make it again ({again})",
            )


def _check_rows(bundle: Bundle, name: str) -> None:
    """Refuse repeated numbers and unknown runs: many rows under one name could be single studies."""
    seen = set()
    for row in bundle.rows:
        identity = (row.run, row.metric, row.rate)
        if identity in seen:
            raise HarnessError(f"{name}: refused: {row.metric} at rate {row.rate:g} stands there twice")
        if row.run not in bundle.runs:
            raise HarnessError(f"{name}: refused: a number of a run that is not described")
        if row.value is not None and row.status != "ok":
            raise HarnessError(f"{name}: refused: a value with the status {row.status}")
        seen.add(identity)


def _check_names(bundle: Bundle, name: str) -> None:
    """Refuse a path in a signature, and more names than a leaderboard has."""
    for row in bundle.rows:
        if _PATH.search(row.signature):
            raise HarnessError(f"{name}: refused: rows: signature: a path, of which a digest may leave")
    names = {
        text for row in bundle.rows for text in (row.metric, row.method, row.dataset, row.preset, row.drop)
    }
    different = len(names | {row.signature for row in bundle.rows})
    _check_count(different, MOST_NAMES, "different names and signatures", name)


def _check_count(number: int, most: int, what: str, name: str) -> None:
    if number > most:
        raise HarnessError(f"{name}: refused: {number:,} {what}; a bundle has at most {most:,}")


def _reason(kind: str, message: str) -> str:
    reasons = {
        "extra_forbidden": "a field that no bundle has",
        "string_pattern_mismatch": "text where a name or a digest belongs",
        "string_too_long": "too long for a name",
        "greater_than_equal": f"{message.lower()}: a number over fewer studies says too much of each",
    }
    return reasons.get(kind, message.split(",")[0].lower())


def _number(row: Measurement) -> dict[str, Any]:
    finite = row.value is not None and abs(row.value) < float("inf")
    ends = row.ci95 if row.ci95 and all(abs(end) < float("inf") for end in row.ci95) else None
    return {
        "run": _digest(row.key),
        "dataset": _dataset(row.dataset),
        "method": _label(row.method),
        "preset": row.preset,
        "seed": row.seed,
        "drop": row.drop,
        "mechanism": _joined(row.mechanism),
        "rate": row.rate,
        "metric": row.metric,
        "value": row.value if finite else None,
        "ci95": ends,
        "n": row.n,
        "signature": row.signature,
        "status": row.status,
        "control": row.control,
        "group": row.group if row.group in Group.__args__ else "",  # type: ignore[attr-defined]
        "higher_is_better": row.higher_is_better,
    }


def _run(facts: RowFacts) -> dict[str, Any]:
    machine, environment = facts.machine, facts.environment
    cost = {name: getattr(facts.cost, name) for name in SharedCost.model_fields}
    return {
        "result": facts.result,
        "harness": facts.harness,
        "protocol": facts.protocol,
        "code": facts.code,
        "settings": _digest(json.dumps(facts.card.get("settings", {}), sort_keys=True)),
        "test_set": facts.test_set,
        "masks": facts.masks,
        "mask_seeds": facts.mask_seeds,
        "audit": facts.audit.state,
        "cost": cost | {"device": facts.cost.device or None},
        "cpus": machine.cpus,
        "threads": machine.threads,
        "gpu": None if machine.gpu is None else _joined(machine.gpu),
        "python": environment.python,
        "system": _joined(environment.system),
        "packages": dict(environment.packages),
    }


def _label(method: str) -> str:
    """The label; overrides that are not numbers or switches become a digest: they may be local paths."""
    if re.fullmatch(_LABEL, method):
        return method
    label, imputed, by = method.partition(IMPUTED)
    if imputed:
        return f"{_label(label)}{imputed}{_label(by)}"
    base, _, rest = method.partition("[")
    suffix = next((each for each in (SHUFFLED, TEMPERATURE) if method.endswith(each)), "")
    return f"{base.removesuffix(suffix)}[sha256:{_digest(rest)[:8]}]{suffix}"


def _dataset(title: str) -> str:
    """The registry name; the name of a user's file leaves as a digest."""
    name, _, source = title.partition(":")
    return f"{name}:{_digest(source)[:8]}" if source else name


def _joined(text: str) -> str:
    return "_".join(text.split())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a field stands there twice, and a reader would see one of them")
    return values


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def write(leaderboard: Leaderboard, path: Path, store: Store | None = None) -> None:
    """Write the bundle; nothing is written where it would be refused."""
    write_user_file(path, make(leaderboard, store).encode())


def read(path: Path) -> Bundle:
    """Check a file.

    Raises:
        HarnessError: it cannot be read, or is refused.
    """
    try:
        text = read_user_file(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    return check(text, str(path))
