"""What stands behind a row of a leaderboard: how its numbers came about, their cost, the audit's verdict."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any, Literal

from pydantic import Field

from harness.core.config import RunSettings
from harness.core.content import without_paths
from harness.leaderboard.evidence import NOT_AUDITED
from harness.store.manifest import (
    BootstrapFacts,
    Cost,
    Downstream,
    Environment,
    Facts,
    Imputed,
    LabelFacts,
    Machine,
    Manifest,
    ReliabilityBins,
    Subgroups,
    VitalSigns,
)
from harness.store.results import StoredResult
from harness.store.row_labels import method_of, trained
from harness.store.verdicts import Verdict

_PRIVATE = ("store", "workers", "executor")
"""Settings of a run that say where it ran, not what it computed."""
_LOCAL = {"root": "DIR", "masks": "FILE"}
"""Paths of the machine that it ran on, and what stands for them."""
_DEFAULTS = RunSettings.of().flat()
_COPIED = (
    *(
        "configuration",
        "harness",
        "protocol",
        "cell",
        "code",
        "cost",
        "test_set",
        "masks",
        "mask_seeds",
        "achieved",
    ),
    *(
        "bootstrap",
        "machine",
        "environment",
        "unix_time",
        "imputed",
        "downstream",
        "may_show_images",
        "signs",
        "subgroups",
        "labels",
        "temperature",
        "risk_coverage",
        "thresholds",
        "answers",
    ),
)
"""Fields of a manifest that a leaderboard copies where they were set."""

AuditState = Literal[
    "passed",
    "failed",
    "not audited",
    "not audited: other code",
    "not audited: other files",
    "not audited: other checkpoint",
]


class AuditFacts(Facts):
    """The verdict on a row's method.

    Attributes:
        state: a verdict says nothing about a method whose source or data files have changed since, and a
            good one nothing about a checkpoint that was not asked again.
        failed: one line per check that was not passed.
    """

    state: AuditState = NOT_AUDITED
    failed: list[str] = Field(default_factory=list)


class RowFacts(Facts):
    """What the exports show of a result beside its numbers.

    Attributes:
        method: label of the row.
        trained: method whose checkpoint it uses, ``NAME`` or ``NAME:VARIANT``.
        changed: setting of that method -> its value in the preset and its own, no local path among them.
        control: whether the row is a control.
        card: the method's card, with the settings that it ran with.
        config: settings of the run, without what says where it ran.
        reliability: modality state -> bins of a reliability diagram.
        command: what makes the row again.
        result: checksum of the result's file in the store; empty where it has none.

    The others are those of ``Manifest``.
    """

    method: str
    trained: str
    configuration: str = ""
    changed: dict[str, tuple[Any, Any]] = Field(default_factory=dict)
    dataset: str
    preset: str
    seed: int
    control: bool
    audit: AuditFacts
    card: dict[str, Any]
    config: dict[str, Any]
    reliability: dict[str, ReliabilityBins]
    harness: str
    protocol: int
    cell: str
    code: str
    cost: Cost = Cost()
    test_set: str
    masks: str = ""
    mask_seeds: int = 0
    achieved: dict[str, float] = Field(default_factory=dict)
    bootstrap: BootstrapFacts
    machine: Machine
    environment: Environment
    unix_time: int
    imputed: Imputed | None = None
    downstream: Downstream | None = None
    may_show_images: bool = False
    signs: VitalSigns | None = None
    subgroups: dict[str, Subgroups] = Field(default_factory=dict)
    labels: dict[str, LabelFacts] = Field(default_factory=dict)
    temperature: float | None = None
    risk_coverage: dict[str, list[float]] = Field(default_factory=dict)
    thresholds: dict[str, float] = Field(default_factory=dict)
    answers: dict[str, str] = Field(default_factory=dict)
    command: str
    result: str = ""

    @classmethod
    def of(cls, stored: StoredResult, verdict: Verdict | None) -> RowFacts:
        """The facts of a stored result.

        Args:
            stored: has at least one number.
            verdict: on its method; None where it was not audited.
        """
        manifest, row = stored.manifest, stored.rows[0]
        settings = {**manifest.config, **manifest.execution}
        config = {key: value for key, value in settings.items() if key not in _PRIVATE}
        config |= {name: stand_in for name, stand_in in _LOCAL.items() if config.get(name)}
        if "set" in config:
            config["set"] = without_paths(config["set"], manifest.files)
        label = method_of(row.method)
        return cls(
            method=row.method,
            trained=label,
            dataset=row.dataset,
            preset=row.preset,
            seed=row.seed,
            control=row.control,
            audit=_audit(verdict, manifest),
            card=_without_paths(manifest),
            changed=without_paths(manifest.changed, manifest.files),
            config=config,
            reliability=dict(stored.reliability),
            result=stored.checksum,
            command=manifest.command or run_command(label, row.seed, config),
            **{name: getattr(manifest, name) for name in _COPIED if name in manifest.model_fields_set},
        )


def _without_paths(manifest: Manifest) -> dict[str, Any]:
    """The card, no local path among the settings and the weights that it names."""
    names = ("settings", "weights")
    paths = {
        name: without_paths(manifest.card[name], manifest.files) for name in names if name in manifest.card
    }
    return manifest.card | paths


def run_command(label: str, seed: int, config: Mapping[str, Any]) -> str:
    """The ``harness run`` that makes a result: flags for all settings that are not defaults.

    Args:
        label: of the trained method.
        seed: of its training.
        config: settings of the run that made it.
    """
    flags = [f"--methods {quote(label)}"]
    for name, value in {**config, "seeds": [seed]}.items():
        if name in ("methods", "set") or value == _DEFAULTS.get(name):
            continue
        if isinstance(value, bool):
            flags.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        flags.append(f"--{name.replace('_', '-')} {quote(text)}")
    names = (label, config.get("impute") or "")
    owners = {config.get("dataset"), *names, *(name.partition(":")[0] for name in names)}
    for owner, settings in config.get("set", {}).items():
        if owner in owners:
            flags += [f"--set {quote(f'{owner}.{key}={value}')}" for key, value in settings.items()]
    return " ".join(["harness run", *flags])


def verdict_on(stored: StoredResult, verdicts: Mapping[tuple[str, str], Verdict]) -> Verdict | None:
    """A row's own verdict, else that of the method that its overrides or shuffled images vary.

    Args:
        stored: the row.
        verdicts: (dataset, method) -> verdict.
    """
    row = stored.rows[0]
    label = trained(row.method)
    names = (row.method, label, method_of(label))
    dataset = row.dataset.partition(":")[0]
    return next((verdicts[dataset, name] for name in names if (dataset, name) in verdicts), None)


def _audit(verdict: Verdict | None, manifest: Manifest) -> AuditFacts:
    if verdict is None:
        return AuditFacts(state=NOT_AUDITED, failed=[])
    if verdict.code != manifest.code:
        return AuditFacts(state="not audited: other code", failed=[])
    if verdict.changed_files():
        return AuditFacts(state="not audited: other files", failed=[])
    if not verdict.passed:
        failed = [f"{check.check}: {check.detail}" for check in verdict.checks if not check.passed]
        return AuditFacts(state="failed", failed=failed)
    replayed = bool(manifest.checkpoint) and verdict.checkpoints.get(manifest.cell) == manifest.checkpoint
    return AuditFacts(state="passed" if replayed else "not audited: other checkpoint", failed=[])
