"""The manifest: what evaluation writes beside a row's numbers, so that they can be explained and made again.

Evaluation writes it; leaderboards, bundles, ``harness reproduce``, trackers and papers read it. JSON keys are
the names of the fields, in their order; a field that was not set is not written.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

DEAD_BELOW = 0.25
"""A part is dead where its probe went less than this share of the way from ``dead`` to ``alive``."""

Triple = tuple[float | None, float | None, float | None]
"""A value and both ends of its 95 % interval; None where a leaderboard's JSON has what is not finite."""


class Facts(BaseModel):
    """What manifests are made of.

    Keys that this version does not know are left out when a file is read, as with the numbers themselves: a
    later version may write more under the same schema. What this version writes has a field here.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """The fields that were set, as JSON values."""
        return self.model_dump(exclude_unset=True, by_alias=True)


class Cost(Facts):
    """What a method took, measured when it was fitted and when its test studies were predicted.

    None, or a field that is not set, means that nothing was measured.

    Attributes:
        parameters: numbers that training may have changed, and frozen ones.
        flops: of a training forward pass on one study, or of inference where training has parts of its own; a
            multiply-add counts as two.
        training_seconds: wall clock, over all sessions of an interrupted fit.
        peak_memory_gib: while training; of the GPU's allocations, else of the process.
        batch_division: number of parts that each training batch was divided into, to fit into memory.
        devices, strategy: of a training in several processes.
        seconds_per_study: prediction alone, in the batches of the run.
        prediction_batch_size: studies per batch where the usual batch did not fit into memory.
    """

    device: str = ""
    parameters: int | None = None
    trainable_parameters: int | None = None
    flops: int | None = None
    training_seconds: float | None = None
    peak_memory_gib: float | None = None
    batch_division: int | None = None
    devices: int | None = None
    strategy: str | None = None
    seconds_per_study: float | None = None
    prediction_batch_size: int | None = None


class ProbeFacts(Facts):
    """One vital sign of a named part of a trained network.

    Attributes:
        part: as the paper names it.
        quantity: what was measured, with its unit.
        value: None where it was not finite.
        dead, alive: what it is where the part does nothing, and where it acts.
    """

    part: str
    quantity: str
    value: float | None
    dead: float
    alive: float

    @property
    def is_dead(self) -> bool:
        """Whether the part does next to nothing."""
        if self.value is None:
            return True
        return not (self.value - self.dead) / (self.alive - self.dead) >= DEAD_BELOW

    def __str__(self) -> str:
        value = "not finite" if self.value is None else f"{self.value:.3g}"
        return f"{self.part}: {self.quantity} {value} (dead {self.dead:.3g}, alive {self.alive:.3g})"


class VitalSigns(Facts):
    """What showed, when training ended, whether the named parts of a network act.

    Attributes:
        probes: one number per part, or several.
        terms: loss term -> its share of the ``loss`` and of the norms of all terms' gradients (``gradient``).
        error: why they could not be measured.
    """

    probes: list[ProbeFacts] = Field(default_factory=list)
    terms: dict[str, dict[str, float]] = Field(default_factory=dict)
    error: str = ""

    @property
    def dead(self) -> list[ProbeFacts]:
        """Probes of parts that do next to nothing."""
        return [probe for probe in self.probes if probe.is_dead]


class BootstrapFacts(Facts):
    """How intervals were resampled.

    Attributes:
        unit: what was drawn with replacement, e.g. ``patient``.
        interval_of: what a replicate is of; the value is a mean over masks where there are several.
    """

    resamples: int
    seed: int
    unit: str
    interval_of: str = ""


class Machine(Facts):
    """Device, cores and threads of the process that predicted; sums of floats depend on all three."""

    device: str
    cpus: int | None = None
    threads: int | None = None
    gpu: str | None = None


class Environment(Facts):
    """Versions of Python, of the system and of the packages that a score may depend on."""

    python: str = "unknown"
    system: str = "unknown"
    packages: dict[str, str] = Field(default_factory=dict)


class ImputedState(Facts):
    """What was generated for the studies of one modality state.

    Attributes:
        conditions: modalities that the views were generated from; ``from`` in JSON.
        studies: number of studies that were completed.
        left: number of studies that were not completed, because they have nothing to generate from.
    """

    conditions: list[str] = Field(alias="from")
    studies: int
    left: int


class Imputed(Facts):
    """Which method generated the views that a row's studies lack: its label, its cell, and what by state."""

    by: str
    cell: str
    states: dict[str, ImputedState]


class DownstreamFinding(Facts):
    """One finding of ``harness downstream``.

    Attributes:
        train, test: studies that have it.
        averaged: whether it counts in the macro averages.
        auroc, f1: training set (``synthetic``, ``permuted``, ``both``, ``real``) -> the classifier's score;
            coarse_auroc, coarse_f1: of classifiers of coarse image features.
    """

    train: int
    test: int
    auroc: dict[str, Triple]
    f1: dict[str, Triple]
    coarse_auroc: dict[str, Triple] = {}
    coarse_f1: dict[str, Triple] = {}
    averaged: bool = True


class Downstream(Facts):
    """What stands beside the numbers of ``harness downstream``.

    Attributes:
        absent: finding that is left out -> why.
        minus_real: score -> training set -> its macro average minus that of real images.
        findings: finding -> its own scores.
    """

    training_studies: int
    absent: dict[str, str]
    minus_real: dict[str, dict[str, Triple]]
    findings: dict[str, DownstreamFinding]


class Reliance(Facts):
    """What it costs that every study is in one modality state.

    Attributes:
        value: the metric where every study that can be put into the state is in it.
        cost: how much worse that is, in the metric's own unit, with its 95 % interval; positive is worse.
    """

    value: float
    cost: float
    lo: float
    hi: float


class ReliabilityBins(Facts):
    """Bins of equal width behind a reliability diagram: judgements, and sums of confidence and of correct."""

    count: list[float]
    confidence: list[float]
    correct: list[float]


class LabelFacts(Facts):
    """Scores of one label alone, with nothing missing; ``positives``: test studies that have it."""

    positives: int
    precision: Triple
    recall: Triple
    f1: Triple
    auroc: Triple
    auprc: Triple


class SubgroupNumbers(Facts):
    """One metric in the groups of an attribute.

    Attributes:
        groups: group -> value with its interval; of groups with enough patients.
        gap: largest less smallest of these values; None where there are fewer than two.
    """

    groups: dict[str, Triple]
    gap: Triple | None = None


class Subgroups(Facts):
    """The groups of an attribute of test studies, e.g. ``sex``; metrics in each, with nothing missing.

    Attributes:
        studies, patients: group -> number of test studies and of patients.
    """

    studies: dict[str, int]
    patients: dict[str, int]
    metrics: dict[str, SubgroupNumbers]


class Unreadable(Facts):
    """What a dataset was opened without, because images could not be read (``unreadable=drop``).

    Attributes:
        views: split -> id of a study that stays -> its views that are left out.
        studies: split -> ids of studies that had no other image.
    """

    views: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    studies: dict[str, list[str]] = Field(default_factory=dict)

    def __str__(self) -> str:
        views = {split: sum(map(len, studies.values())) for split, studies in self.views.items()}
        studies = {split: len(ids) for split, ids in self.studies.items()}
        parts = [
            f"{what} {sum(counts.values())} ({', '.join(f'{split} {n}' for split, n in counts.items())})"
            for what, counts in (("views", views), ("whole studies", studies))
            if counts
        ]
        return f"Left out, because the images cannot be read (unreadable=drop): {'; '.join(parts)}."


class Manifest(Facts):
    """How the numbers of one result came about.

    Attributes:
        harness: version.
        protocol: of the evaluation; numbers of different protocols are not compared.
        config: settings of the run, as their model dumps them; empty for rows of other commands.
        execution: settings that say where it ran, likewise.
        seed: training seed.
        method: label of the row.
        card: as ``card_facts`` gives it, with the settings that the method ran with.
        code: fingerprint of the method's source.
        confinement: ``in a box (..)``, or ``unconfined:`` and why; empty in results of earlier versions.
        cell: folder of the trained method below the store.
        checkpoint: digest of the files of the trained method; empty where they were not all there.
        identity: digest of everything that the numbers depend on, and the end of the result's key; empty in
            results of early stores.
        test_set: digest of what was scored against.
        unreadable: what the dataset was opened without; None where every image could be read.
        may_show_images: the dataset's images, and those generated from them, may stand on a page.
        masks: digest of the modalities that each study loses.
        mask_plan: file of the masks below the store.
        natural: modality -> share of test studies that lack it by nature.
        without_input: modality state -> number of test studies that are left with nothing that the method
            reads.
        achieved: missing rate -> share of test studies that did lose a modality.
        achieved_instances: missing rate -> share of modality instances that were lost, of those that the test
            studies have by nature: the other reading of "rate".
        lost: missing rate -> modality -> share of test studies that lost it; those that lack it by nature
            (``natural``) are not among them.
        command: what makes the row again where that is not ``harness run``.
        configuration: digest of the method's settings, in which a local path counts by what lies there: with
            the method's name, it says which rows are of one method.
        changed: setting of the method -> its value in the preset and its own, where ``--set`` changes it.
        files: local path among the settings -> digest of what lies there. Paths stay in the manifest; what
            leaves the store holds the digest.
        answers: modality state -> name and SHA-256 of the file that the answers were read from; empty for
            methods.
        measured_by: metric of another package -> digest of its ``code``, and of each file that it opened by
            the file's path.
        reliance: metric -> modality state -> what it costs.
        confidence: modality state -> number of confidences per bin.
        routing: modality state -> shares of the experts (blocks, experts).
        signs: vital signs of the trained network's parts.
        subgroups: attribute of studies -> metrics in its groups (``--by``).
        labels: label -> its own scores.
        temperature: that all logits were divided by, chosen on validation; None where they were not.
        risk_coverage: modality state -> risk of the most confident 5 %, 10 %, .. 100 % of the test studies.
        thresholds: finding -> probability from which ``f1_macro_tuned`` calls it, chosen on validation.
        branch_confidence: modality state -> branch -> number of studies per bin of its confidence.
    """

    harness: str
    protocol: int
    config: dict[str, Any] = Field(default_factory=dict)
    execution: dict[str, Any] = Field(default_factory=dict)
    seed: int
    method: str
    card: dict[str, Any]
    code: str
    confinement: str = ""
    cost: Cost = Cost()
    cell: str
    checkpoint: str = ""
    identity: str = ""
    test_set: str
    may_show_images: bool = False
    masks: str = ""
    mask_plan: str = ""
    natural: dict[str, float] = Field(default_factory=dict)
    without_input: dict[str, int] = Field(default_factory=dict)
    mask_seeds: int = 0
    achieved: dict[str, float] = Field(default_factory=dict)
    achieved_instances: dict[str, float] = Field(default_factory=dict)
    lost: dict[str, dict[str, float]] = Field(default_factory=dict)
    bootstrap: BootstrapFacts
    machine: Machine
    environment: Environment
    unix_time: int
    command: str = ""
    configuration: str = ""
    changed: dict[str, tuple[Any, Any]] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    answers: dict[str, str] = Field(default_factory=dict)
    downstream: Downstream | None = None
    measured_by: dict[str, dict[str, str]] = Field(default_factory=dict)
    reliance: dict[str, dict[str, Reliance]] = Field(default_factory=dict)
    confidence: dict[str, list[int]] = Field(default_factory=dict)
    routing: dict[str, list[list[float]]] = Field(default_factory=dict)
    branch_confidence: dict[str, dict[str, list[int]]] = Field(default_factory=dict)
    subgroups: dict[str, Subgroups] = Field(default_factory=dict)
    labels: dict[str, LabelFacts] = Field(default_factory=dict)
    temperature: float | None = None
    risk_coverage: dict[str, list[float]] = Field(default_factory=dict)
    thresholds: dict[str, float] = Field(default_factory=dict)
    imputed: Imputed | None = None
    unreadable: Unreadable | None = None
    signs: VitalSigns | None = None
