"""What a run consists of: the crossing of methods, seeds and image sources with what a dataset offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from harness.core import registry
from harness.core.config import RunConfig
from harness.core.errors import HarnessError, PluginError, UnknownNameError
from harness.core.failures import failures_named
from harness.core.names import did_you_mean
from harness.core.types import CONTEXT, Study, Task
from harness.evaluation.confinement import OWN, method_class
from harness.method.batching import study_seed
from harness.method.card import MethodCard
from harness.method.contract import Method
from harness.method.fingerprint import code_fingerprint
from harness.store.row_labels import IMPUTED, SHUFFLED, TEMPERATURE, label_of, trained

PROTOCOL = 1
"""Bumped whenever batching, masks or the training loop change what a method is fed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a leaderboard before it is computed.

    Attributes:
        label: what the row is called, e.g. ``dia:no-alignment+shuffled-image``.
        name: registry name.
        variant: ablation, or None.
        method_class: the class behind the name, or what stands for it where its code runs in a box.
        overrides: ``--set`` values of this method.
        shuffled: predict from another test study's images (the control that shows whether a method
            looks at the image).
        imputer: whose images stand in for the views that a study loses, or None.
        train_missing: share of training and validation studies that lose a modality.
        temperature: its probabilities are rescaled by a temperature that was chosen on validation.
        confinement: what keeps its code from the data, or why nothing does.
    """

    label: str
    name: str
    variant: str | None
    method_class: type[Method[Any]]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    shuffled: bool = False
    imputer: Entry | None = None
    train_missing: float = 0.0
    temperature: bool = False
    confinement: str = OWN

    @property
    def full_name(self) -> str:
        """``NAME`` or ``NAME:VARIANT``, as ``--methods`` takes it."""
        return f"{self.name}:{self.variant}" if self.variant else self.name

    @property
    def is_control(self) -> bool:
        """Rows that a learned method has to beat."""
        return self.shuffled or not self.method_class.card.learned

    @property
    def trained_label(self) -> str:
        """The label of the row whose checkpoint this one uses."""
        return trained(self.label)

    @property
    def cards(self) -> tuple[MethodCard, ...]:
        """Of the methods that compute it."""
        own = self.method_class.card
        return (own, self.imputer.method_class.card) if self.imputer else (own,)

    @property
    def job(self) -> str:
        """What it is computed with: the shuffled-image rerun with its method, imputed rows on their own.

        Those wait for their imputer, and nothing else should wait with them.
        """
        return self.label if self.imputer else self.trained_label


def entries(config: RunConfig, broken: dict[str, str] | None = None) -> list[Entry]:
    """Rows that ``--methods`` asks for; every learned method that reads images brings its own control.

    With ``--no-shuffled`` it does not. With ``--temperature`` every learned method that diagnoses has one
    more row. With ``--impute`` every other method that reads images has one more row.

    Args:
        config: of the run.
        broken: gets the methods that cannot be loaded, name -> reason, as long as another one can be.

    Raises:
        UnknownNameError: a method or variant that does not exist, or ``--set`` for a method not in the run.
        PluginError: a method cannot be loaded, and ``broken`` is None or no method is left.
        HarnessError: the imputer generates nothing.
    """
    imputers = {rate: _imputer(config, rate) for rate in config.train_missing}
    rows: list[Entry] = []
    errors: dict[str, PluginError] = {}
    for full_name, rate in product(_named(config), config.train_missing):
        imputer = imputers[rate]
        try:
            row = _entry(config, full_name, rate)
        except PluginError as error:
            errors[full_name] = error
            continue
        rows.append(row)
        if row.method_class.card.learned and config.shuffled:
            rows.append(replace(row, label=row.label + SHUFFLED, shuffled=True))
        if config.temperature and row.method_class.card.learned and _diagnoses(row):
            rows.append(replace(row, label=row.label + TEMPERATURE, temperature=True))
        if imputer and imputer.label != row.label and row.method_class.card.reads - {CONTEXT}:
            rows.append(replace(row, label=f"{row.label}{IMPUTED}{imputer.label}", imputer=imputer))
    if errors and (broken is None or not rows):
        raise next(iter(errors.values()))
    if broken is not None:
        broken.update((name, str(error)) for name, error in errors.items())
    _check_owners(config, [*rows, *filter(None, imputers.values())], errors)
    return rows


def _diagnoses(row: Entry) -> bool:
    return Task.DIAGNOSE in row.method_class.card.tasks


def _named(config: RunConfig) -> list[str]:
    """The methods and variants of a run, each once; ``all`` means every method with its ``opponents``.

    A method that cannot be loaded brings none.
    """
    if not config.methods:
        raise HarnessError("no method is named", "--methods NAME,NAME or all")
    names: list[str] = []
    for name in config.methods:
        for each in registry.names("methods") if name == "all" else [name]:
            names.append(each)
            if name == "all":
                names += [f"{each}:{variant}" for variant in _opponents(each, config)]
    return list(dict.fromkeys(names))


def _opponents(name: str, config: RunConfig) -> tuple[str, ...]:
    with suppress(PluginError):
        card = getattr(method_class(name, config)[0], "card", None)
        return card.opponents if isinstance(card, MethodCard) else ()
    return ()


def _check_owners(config: RunConfig, rows: Sequence[Entry], broken: Mapping[str, object]) -> None:
    """``--set`` names methods of the run, or its dataset."""
    owners = {row.name for row in rows} | {f"{row.name}:{row.variant}" for row in rows if row.variant}
    owners |= {config.dataset, *broken, *(registry.split_variant(name)[0] for name in broken)}
    for owner in config.set:
        if owner not in owners:
            raise UnknownNameError(
                f"--set {owner}.…: {owner} is not part of this run", did_you_mean(owner, owners)
            )


def _entry(config: RunConfig, full_name: str, train_missing: float) -> Entry:
    """The row of ``name`` or ``name:variant`` as it is, trained at one missing rate."""
    name, variant = registry.split_variant(full_name)
    loaded, confinement = method_class(name, config)
    if not isinstance(getattr(loaded, "card", None), MethodCard):
        raise PluginError(
            f"method {name} cannot be loaded: its class has no card", "see docs/adding-a-method.md"
        )
    if variant is not None and variant not in loaded.card.variants:
        variants = [f"{name}:{each}" for each in loaded.card.variants]
        raise UnknownNameError(f"unknown method {full_name!r}", did_you_mean(full_name, variants))
    if not registry.is_ours(loaded):  # a row that fails needs it, too
        with failures_named(f"method {name}: its source cannot be read", loaded.__module__):
            code_fingerprint(loaded)
    overrides = {**config.set.get(name, {}), **(config.set.get(full_name, {}) if variant else {})}
    label = label_of(full_name, overrides, train_missing)
    return Entry(
        *(label, name, variant, loaded, overrides), train_missing=train_missing, confinement=confinement
    )


def _imputer(config: RunConfig, train_missing: float) -> Entry | None:
    """The method behind ``--impute``, whether it has rows in this run or not."""
    if config.impute is None:
        return None
    imputer = _entry(config, config.impute, train_missing)
    if Task.SYNTHESIZE not in imputer.method_class.card.tasks:
        raise HarnessError(
            f"--impute {config.impute}: it generates nothing",
            "harness list methods says which methods do the task synthesize",
        )
    return imputer


def image_donors(studies: Sequence[Study], seed: int) -> dict[str, Study]:
    """For every study another patient's study whose images it is shown, with the same views if possible.

    The assignment is a rotation of a seeded order, so no study keeps its own images and each is used once.
    Where studies with the same views are all of one patient, the donor is the first study of another patient
    that has most of the views; it may then be used more than once.
    """
    ordered = sorted(studies, key=lambda s: study_seed(seed, s.id, "donor"))
    groups: dict[frozenset[str], list[Study]] = {}
    for study in ordered:
        groups.setdefault(frozenset(study.images), []).append(study)
    donors: dict[str, Study] = {}
    for group in groups.values():
        shift = min(range(1, len(group)), key=lambda k: _same_patient(group, k), default=0)
        for index, study in enumerate(group):
            donor = group[(index + shift) % len(group)]
            own = donor.patient_id == study.patient_id
            donors[study.id] = _stranger(study, ordered) if own else donor
    return donors


def _stranger(study: Study, others: Sequence[Study]) -> Study:
    """The first study of another patient with most of a study's views; the study where there is no other."""
    strangers = [each for each in others if each.patient_id != study.patient_id]
    return max(strangers, key=lambda each: len(each.images.keys() & study.images.keys()), default=study)


def _same_patient(group: Sequence[Study], shift: int) -> tuple[int, int]:
    pairs = zip(group, [*group[shift:], *group[:shift]], strict=True)
    return sum(a.patient_id == b.patient_id for a, b in pairs), shift
