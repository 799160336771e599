"""The settings of a run: what is computed, and where. Flags and YAML share one flat set of names."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from harness.core import user_yaml
from harness.core.errors import HarnessError
from harness.core.names import did_you_mean
from harness.core.settings import Settings


class RunConfig(Settings):
    """What a run computes. Field names are the flags' names (``mask_seeds`` is ``--mask-seeds``).

    The store belongs here: it decides what is already trained and predicted, and where the results go.
    """

    methods: tuple[str, ...] = Field(
        default=("all",),
        description="Methods to evaluate: registered names, name:variant for an ablation, or all.",
    )
    dataset: str = Field(default="iu-phantom", description="Registered name of the dataset.")
    root: Path | None = Field(default=None, description="Folder of a dataset that ships with no package.")
    missing: tuple[float, ...] | dict[str, float] = Field(
        default=(),
        description="Shares of test studies that lose a modality, 0.2,0.4 or frontal=0.2,context=0.6; "
        "0 is always evaluated too.",
    )
    drop: str | None = Field(
        default=None,
        description=(
            "What goes missing: modalities (context, frontal+lateral), alternate, any, subsets or every; "
            "default every."
        ),
    )
    states: Literal["single", "all"] = Field(
        default="single",
        description="What --drop every takes from all studies: single modalities, or all sets of them.",
    )
    mechanism: str = Field(
        default="mcar",
        description=(
            "Which studies lose a modality: mcar, mar:ATTRIBUTE, mnar, mnar:LABEL, self-masked or prefix."
        ),
    )
    mask_seeds: int = Field(
        default=20, ge=1, le=10_000, description="Number of independent masks that a curve averages over."
    )
    masks: Path | None = Field(
        default=None, description="File below masks/ with the masks of another run, used instead of new ones."
    )
    corrupt: tuple[str, ...] = Field(
        default=(),
        description="Parts of a modality that all test studies lose, frontal:blur, frontal:noise:1,3,5 or "
        "context:words=0.4; harness list corruptions says which there are.",
    )
    train_missing: tuple[float, ...] = Field(
        default=(0.0,),
        min_length=1,
        description="Shares of training and validation studies that lose a modality, e.g. 0,0.3,0.7; a model "
        "is trained for each.",
    )
    train_drop: str | None = Field(
        default=None,
        description="Drop policy of --train-missing; default that of --drop, or any where that has several.",
    )
    preset: str = Field(default="tiny", description="Size of the learned methods: tiny, base or paper.")
    seeds: tuple[int, ...] = Field(
        default=(0,), description="Training seeds, e.g. 0,1,2; each seed trains one model per method."
    )
    limit: int | None = Field(
        default=None, ge=2, description="Keep only N studies of each split, of all findings."
    )
    store: Path = Field(
        default=Path("runs"), description="Folder of checkpoints, predictions, statistics and results."
    )
    metrics: tuple[str, ...] | None = Field(
        default=None, description="Metric families; default all that suit the tasks of the dataset."
    )
    tokenizer: str | None = Field(
        default=None, description="Tokenisation profile of the text metrics; default that of the dataset."
    )
    reference_words: int | None = Field(
        default=None,
        ge=1,
        description="Cut references after this number of tokens; default that of the dataset's profile.",
    )
    uncertain: Literal["positive", "negative", "ignored"] | None = Field(
        default=None, description="What label metrics count an uncertain finding as; default positive."
    )
    shuffled: bool = Field(
        default=True,
        description="Also show each learned method other studies' images, as its control.",
    )
    temperature: bool = Field(
        default=False,
        description="Also rescale each learned method's probabilities by a temperature chosen on validation.",
    )
    by: tuple[str, ...] = Field(
        default=(),
        description="Attributes of studies whose groups are also scored alone, e.g. sex,age,view_position.",
    )
    report_samples: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Reports drawn per study for the probabilities of methods that only write; 0 draws none.",
    )
    impute: str | None = Field(
        default=None,
        description="Method that generates the views that studies lose; it adds one row per method.",
    )
    confine: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Which methods' code runs in a box without the data: plugins (auto), all (on) or none.",
    )
    set: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Override a setting: method.key=value or dataset.key=value; repeatable.",
    )

    @field_validator("methods", "missing", "train_missing", "seeds", "metrics", "by", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        """In a YAML file ``methods: template`` and ``missing: 0.2,0.4`` read as the flags do."""
        if isinstance(value, str):
            return [item.strip() for item in value.split(",") if item.strip()]
        return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    @field_validator("missing", mode="before")
    @classmethod
    def _text_of_a_pattern(cls, value: Any) -> Any:
        """In a YAML file ``missing: frontal=0.2,context=0.6`` reads as the flag does."""
        return parse_rates(value, "--missing") if isinstance(value, str) and "=" in value else value

    @field_validator("missing")
    @classmethod
    def _rates_are_fractions(
        cls, rates: tuple[float, ...] | dict[str, float]
    ) -> tuple[float, ...] | dict[str, float]:
        for rate in rates.values() if isinstance(rates, dict) else rates:
            if not 0.0 <= rate <= 1.0:
                raise ValueError(f"a missing rate is a fraction in [0, 1], but got {rate:g}")
        return rates

    @field_validator("corrupt", mode="before")
    @classmethod
    def _levels_share_a_name(cls, value: Any) -> Any:
        """``frontal:blur:1,2`` are two levels of one corruption, in a flag and in a YAML file."""
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, (list, tuple)):
            return value
        items: list[str] = []
        for item in (part.strip() for each in values for part in str(each).split(",") if part.strip()):
            name = items[-1].rpartition(":")[0] if items and item.isdecimal() else ""
            items.append(f"{name}:{item}" if ":" in name else item)
        return tuple(items)

    @field_validator("train_missing")
    @classmethod
    def _training_rates_are_fractions(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        for rate in rates:
            if not 0.0 <= rate <= 1.0:
                raise ValueError(f"a training rate is a fraction in [0, 1], but got {rate:g}")
        return tuple(dict.fromkeys(rates))

    @property
    def rates(self) -> tuple[float, ...]:
        """Sorted distinct rates with 0 in front; of a rate per modality 0 and 1, all of the pattern."""
        return (0.0, 1.0) if isinstance(self.missing, dict) else tuple(sorted({0.0, *self.missing}))


class ExecutionConfig(Settings):
    """Where a run computes. Results do not depend on it.

    A manifest keeps device, executor and workers. It leaves out the fields with ``exclude``; the cost of a
    cell has the number of devices and the strategy that trained it.
    """

    device: str = Field(default="auto", description="Device: auto, cpu, cuda or cuda:N.")
    executor: Literal["local", "ray"] = Field(
        default="local", description="Where cells run: on this machine, or on a Ray cluster (extra ray)."
    )
    devices: int = Field(
        default=1,
        ge=1,
        exclude=True,
        description="Processes per node that train a cell together, one per GPU.",
    )
    nodes: int = Field(
        default=1,
        ge=1,
        exclude=True,
        description="Nodes that train a cell together; start the same command on each.",
    )
    shards: int = Field(
        default=1, ge=1, exclude=True, description="Ray tasks that share the test studies of a cell."
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        default="ddp",
        exclude=True,
        description="How processes hold a network: ddp copies it, fsdp splits it.",
    )
    address: str | None = Field(
        default=None,
        exclude=True,
        description="Address of the Ray cluster, HOST:PORT or auto; default a cluster for this run alone.",
    )
    track: Literal["mlflow", "wandb"] | None = Field(
        default=None, exclude=True, description="Tracker that also gets the rows (extras of these names)."
    )
    workers: int | None = Field(
        default=None, ge=1, description="Cells that run at a time; default what suits the machine."
    )


@dataclass(frozen=True)
class RunSettings:
    """A run: what it computes, and where.

    Attributes:
        config: decides the results.
        execution: decides where and how fast they are computed.
    """

    config: RunConfig
    execution: ExecutionConfig

    @classmethod
    def of(cls, **values: Any) -> RunSettings:
        """Settings from flat names: ``of(methods=("dia",), device="cpu")``.

        Raises:
            ValidationError: an unknown name or a bad value.
        """
        config, execution = _split(values)
        return cls(RunConfig.model_validate(config), ExecutionConfig.model_validate(execution))

    @classmethod
    def build(cls, flags: Mapping[str, Any], file: Path | None = None) -> RunSettings:
        """Flags that are not None, over the values of a YAML file, over the defaults.

        Raises:
            HarnessError: an unknown key or a bad value; the message names the flag.
        """
        values = {**_from_yaml(file), **{key: value for key, value in flags.items() if value is not None}}
        try:
            return cls.of(**values)
        except ValidationError as error:
            raise _flag_error(error, file) from None

    def flat(self) -> dict[str, Any]:
        """What manifests keep of both models, as one flat JSON object."""
        return self.config.model_dump(mode="json") | self.execution.model_dump(mode="json")

    def replaced(self, **values: Any) -> RunSettings:
        """The same settings with other values under some flat names."""
        config, execution = _split(values)
        return RunSettings(self.config.model_copy(update=config), self.execution.model_copy(update=execution))


FIELDS: Mapping[str, FieldInfo] = {**RunConfig.model_fields, **ExecutionConfig.model_fields}
"""Every setting of a run by its flat name: the keys of a YAML file and, with hyphens, the flags."""


def _split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values of each model. A name that neither model has goes to ``RunConfig``, which rejects it."""
    execution = {name: value for name, value in values.items() if name in ExecutionConfig.model_fields}
    return {name: value for name, value in values.items() if name not in execution}, execution


_LONGEST = 200
"""Characters of an argument that a message repeats."""


def parse_overrides(assignments: list[str]) -> dict[str, dict[str, Any]]:
    """``["dia.lr=1e-3"]`` to ``{"dia": {"lr": 0.001}}``; values are read as YAML scalars or lists."""
    result: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        target, equals, text = assignment.partition("=")
        owner, dot, key = target.partition(".")
        if not (equals and dot and owner and key):
            raise HarnessError(f"--set {_short(assignment)}: not of the form method.key=value")
        try:
            value = user_yaml.parse(text)
        except yaml.YAMLError:
            raise HarnessError(
                f"--set {_short(assignment)}: {_short(text)} is no YAML value", "put text in quotes"
            ) from None
        if isinstance(value, str):
            with suppress(ValueError):  # YAML 1.1 reads 1e-3 as text
                value = float(value)
        if result.setdefault(owner, {}).setdefault(key, value) != value:
            raise HarnessError(f"--set {_short(target)}: two values for one setting")
    return result


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def parse_rates(text: str, flag: str) -> tuple[float, ...] | dict[str, float]:
    """``"0.2,0.4"`` to ``(0.2, 0.4)``, ``"frontal=0.2,context=0.6"`` to a mapping.

    Raises:
        HarnessError: an item is no number, a modality stands twice, or both kinds are mixed.
    """
    if "=" not in text:
        return split_list(text, flag, float) or ()
    pairs = [item.strip().partition("=") for item in text.split(",") if item.strip()]
    try:
        rates = {name.strip(): float(rate) for name, _, rate in pairs}
    except ValueError:
        raise HarnessError(f"{flag} {text}: expected rates, or modality=rate for each") from None
    if len(rates) < len(pairs):
        raise HarnessError(f"{flag} {text}: a modality stands twice")
    return rates


def split_list(
    text: str | None, flag: str, kind: type = str, *, empty: bool = True
) -> tuple[Any, ...] | None:
    """``"0.2,0.4"`` to ``(0.2, 0.4)``; an item that is no ``kind`` is an error that names the flag.

    Args:
        empty: whether there may be no item.
    """
    if text is None:
        return None
    parts = [item.strip() for item in text.split(",") if item.strip()]
    if not parts and not empty:
        raise HarnessError(f"{flag} {text!r}: no name in it", "leave the flag out for the default")
    try:
        return tuple(kind(item) for item in parts)
    except ValueError:
        words = {float: "numbers", int: "whole numbers"}.get(kind, "items")
        raise HarnessError(f"{flag} {text}: expected comma-separated {words}") from None


def _from_yaml(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        values = user_yaml.read(file)
    except OSError as error:
        raise HarnessError(f"--config {file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise HarnessError(f"--config {file}: not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise HarnessError(f"--config {file}: expected a mapping of flag names to values")
    named = {str(key).replace("-", "_"): value for key, value in values.items()}
    if "set" in named:
        named["set"] = _overrides(named["set"], file)
    return named


def _overrides(value: Any, file: Path) -> Any:
    """``set`` of a YAML file, nested as ``RunConfig`` has it.

    The file may have ``{dia: {training.epochs: 3}}``, ``{dia.training.epochs: 3}``, or a list of
    ``dia.training.epochs=3`` as the flag takes them.
    """
    if isinstance(value, list):
        strings = [each for each in value if isinstance(each, str)]
        if len(strings) < len(value):
            raise HarnessError(f"--config {file}: an item of set is no text", "write - dia.training.epochs=3")
        return parse_overrides(strings)
    if not isinstance(value, dict):
        return value
    nested: dict[str, dict[str, Any]] = {}
    for name, setting in value.items():
        owner, dot, key = str(name).partition(".")
        if not dot and not isinstance(setting, dict):
            example = f"{name}.training.epochs: 3"
            raise HarnessError(f"--config {file}: set: {name} names no setting", f"write {example}, for one")
        nested.setdefault(owner, {}).update({key: setting} if dot else setting)
    return nested


def _flag_error(error: ValidationError, file: Path | None) -> HarnessError:
    first = error.errors()[0]
    name = str(first["loc"][0])
    flag = "--" + name.replace("_", "-")
    if first["type"] == "extra_forbidden":
        where = f"--config {file}: " if file else ""
        return HarnessError(f"{where}unknown key {name!r}", did_you_mean(name, FIELDS))
    reason = first["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    return HarnessError(f"{flag}: {reason[0].lower()}{reason[1:]}")
