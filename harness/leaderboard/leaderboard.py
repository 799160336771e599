"""A leaderboard: all tables of a store, and what stands behind each of their rows."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from shlex import quote
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.core.config import RunConfig
from harness.core.errors import CorruptFileError, HarnessError
from harness.leaderboard.spec import Spec, spec_of
from harness.leaderboard.tables import NOT_AUDITED, Cost, Evidence, Table, arranged, tables
from harness.store.results import Measurement, StoredResult, row_of
from harness.store.row_labels import trained
from harness.store.store import SCHEMA, Store
from harness.store.verdicts import Verdict, verdicts

_PRIVATE = ("store", "workers", "executor")
"""Settings of a run that say where it ran, not what it computed."""
_LOCAL = {"root": "DIR", "masks": "FILE"}
"""Paths of the machine that it ran on, and what stands for them."""
_DEFAULTS = RunConfig().model_dump(mode="json")
_COPIED = (
    *("harness", "protocol", "cell", "code", "cost", "test_set", "masks", "mask_seeds", "achieved"),
    *("bootstrap", "machine", "environment", "unix_time", "imputed", "downstream"),
)
"""What a manifest says word for word."""


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """All tables of a store, with everything that its exports need.

    Attributes:
        rows: the long form, one measurement each.
        tables: the same numbers as ranked tables.
        results: result key -> what stands behind it: card, cost, audit, settings, reliability bins.
    """

    rows: tuple[Measurement, ...]
    tables: tuple[Table, ...]
    results: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, store: Store, specs: Sequence[Spec] = (), only: Container[str] | None = None) -> Leaderboard:
        """The leaderboard of a store.

        Args:
            store: results and verdicts.
            specs: which columns and order.
            only: result keys; all by default.
        """
        stored = [each for each in store.stored() if each.rows and (only is None or each.key in only)]
        judged = {(each.dataset, each.method): each for each in verdicts(store.root)}
        rows = [row for each in stored for row in each.rows]
        results = {each.key: _facts(each, _verdict_on(each, judged)) for each in stored}
        evidence = {
            each.key: Evidence(
                each.replicates(), _cost(each.manifest.get("cost", {})), results[each.key]["audit"]["state"]
            )
            for each in stored
        }
        return cls(tuple(rows), tuple(tables(rows, specs, evidence)), results)

    @classmethod
    def from_json(cls, path: Path, specs: Sequence[Spec] = ()) -> Leaderboard:
        """The leaderboard that ``to_json`` wrote, its tables in the columns and order of ``specs``.

        Raises:
            HarnessError: the file cannot be read.
            CorruptFileError: it is not such a file, or of another schema.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            schema = content["schema"]
            rows = tuple(row_of(row) for row in content["rows"])
            ranked = _TABLES.validate_python(content.get("tables", ()))
        except OSError as error:
            raise HarnessError(f"{path}: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise CorruptFileError(f"{path}: tables.{where}: {first['msg'].lower()}") from None
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise CorruptFileError(f"{path}: not a leaderboard's JSON: {error!r}") from error
        if schema != SCHEMA:
            raise CorruptFileError(f"{path}: of schema {schema}, but this version reads schema {SCHEMA}")
        shown = [
            arranged(table, spec)
            for table in ranked
            for spec in spec_of(table.dataset, specs)
            if spec.shows(table.group)
        ]
        return cls(rows, tuple(shown or tables(rows, specs)), content.get("results", {}))

    def payload(self) -> dict[str, Any]:
        """Tables and what stands behind their rows as JSON values; what is not finite becomes null."""
        ranked = _TABLES.dump_python(self.tables, mode="json", exclude_defaults=True)
        values: dict[str, Any] = _finite({"results": self.results, "tables": ranked})
        return values

    def to_json(self) -> str:
        """``{"schema", "rows", "results", "tables"}``."""
        content = {"schema": SCHEMA, "rows": _finite([asdict(row) for row in self.rows]), **self.payload()}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


_TABLES: TypeAdapter[tuple[Table, ...]] = TypeAdapter(tuple[Table, ...])


def run_command(facts: Mapping[str, Any]) -> str:
    """The ``harness run`` that makes a result: flags for all settings that are not defaults."""
    config = {**facts.get("config", {}), "seeds": [facts["seed"]]}
    flags = [f"--methods {quote(facts['trained'])}"]
    for name, value in config.items():
        if name in ("methods", "set") or value == _DEFAULTS.get(name):
            continue
        shown = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        flags.append(f"--{name.replace('_', '-')} {quote(shown)}")
    names = (facts["trained"], config.get("impute") or "")
    owners = {config.get("dataset"), *names, *(name.partition(":")[0] for name in names)}
    for owner, settings in config.get("set", {}).items():
        if owner in owners:
            flags += [f"--set {quote(f'{owner}.{key}={value}')}" for key, value in settings.items()]
    return " ".join(["harness run", *flags])


def _facts(stored: StoredResult, verdict: Verdict | None) -> dict[str, Any]:
    """What the exports show of a manifest."""
    manifest, row = stored.manifest, stored.rows[0]
    config = {key: value for key, value in manifest.get("config", {}).items() if key not in _PRIVATE}
    config |= {name: stand_in for name, stand_in in _LOCAL.items() if config.get(name)}
    card = manifest.get("card", {})
    label = trained(row.method).partition("[")[0]
    facts = {
        "method": row.method,
        "trained": label,
        "dataset": row.dataset,
        "preset": row.preset,
        "seed": row.seed,
        "control": row.control,
        "audit": _audit(verdict, manifest),
        "card": card,
        "config": config,
        "reliability": dict(stored.reliability),
    }
    facts |= {name: manifest[name] for name in _COPIED if name in manifest}
    return facts | {"command": manifest.get("command") or run_command(facts)}


def _audit(verdict: Verdict | None, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """``state`` is ``passed``, ``failed``, ``not audited`` or ``other code`` where it changed since."""
    if verdict is None:
        return {"state": NOT_AUDITED, "failed": []}
    if verdict.code != manifest.get("code", verdict.code):
        return {"state": "other code", "failed": []}
    failed = [f"{check.check}: {check.detail}" for check in verdict.checks if not check.passed]
    return {"state": "passed" if verdict.passed else "failed", "failed": failed}


def _verdict_on(stored: StoredResult, judged: Mapping[tuple[str, str], Verdict]) -> Verdict | None:
    """A row's own verdict, else that of the method that its overrides or shuffled images vary."""
    row = stored.rows[0]
    own = trained(row.method)
    names = (row.method, own, own.partition("[")[0])
    return next((judged[row.dataset, name] for name in names if (row.dataset, name) in judged), None)


def _cost(values: Mapping[str, Any]) -> Cost:
    known = {field.name for field in fields(Cost)}
    return replace(Cost(), **{name: value for name, value in values.items() if name in known})


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
