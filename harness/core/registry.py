"""Names of methods, datasets and metrics, resolved lazily: listing them imports none of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import fields
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from types import ModuleType
from typing import Any, Protocol

from harness.core.errors import HarnessError, PluginError, UnknownNameError
from harness.core.failures import describe, let_through
from harness.core.metric_options import DEFAULTS, MetricOptions
from harness.core.names import did_you_mean, not_its_own
from harness.core.opened import noting
from harness.core.packages import MissingPackageError, install, missing_package
from harness.core.printed import printed_nowhere
from harness.core.untouched import untouched

METHODS = {
    "template": "methods.controls.template:Template",
    "retrieval": "methods.controls.retrieval:Retrieval",
    "dia": "methods.dia.method:DiA",
    "micar_vlmoe": "methods.micar_vlmoe.method:MicarVLMoE",
    "vdgen": "methods.vdgen.method:VDGen",
    "kedr": "methods.kedr.method:KEDR",
    "codi_xr": "methods.codi_xr.method:CoDiXR",
    "noise": "methods.controls.noise:Noise",
    "late_fusion": "methods.baselines.method:LateFusion",
    "early_fusion": "methods.baselines.method:EarlyFusion",
    "shaspec": "methods.shaspec.method:ShaSpec",
    "missing_prompts": "methods.missing_prompts.method:MissingPrompts",
    "r2gen_base": "methods.r2gen_base.method:R2GenBase",
}
CARDS = {
    "methods.controls.template:Template": "methods.controls.card:TEMPLATE",
    "methods.controls.retrieval:Retrieval": "methods.controls.card:RETRIEVAL",
    "methods.dia.method:DiA": "methods.dia.card:CARD",
    "methods.micar_vlmoe.method:MicarVLMoE": "methods.micar_vlmoe.card:CARD",
    "methods.vdgen.method:VDGen": "methods.vdgen.card:CARD",
    "methods.kedr.method:KEDR": "methods.kedr.card:CARD",
    "methods.codi_xr.method:CoDiXR": "methods.codi_xr.card:CARD",
    "methods.controls.noise:Noise": "methods.controls.card:NOISE",
    "methods.baselines.method:LateFusion": "methods.baselines.card:LATE_FUSION",
    "methods.baselines.method:EarlyFusion": "methods.baselines.card:EARLY_FUSION",
    "methods.shaspec.method:ShaSpec": "methods.shaspec.card:CARD",
    "methods.missing_prompts.method:MissingPrompts": "methods.missing_prompts.card:CARD",
    "methods.r2gen_base.method:R2GenBase": "methods.r2gen_base.card:CARD",
}
"""Class of a method -> its card in a module that imports no network: listing the methods takes no seconds."""
DATASETS = {
    "iu-phantom": "harness.datasets.iu_phantom:IUPhantom",
    "derm7pt": "harness.datasets.derm7pt:Derm7pt",
    "mmc-amd": "harness.datasets.mmc_amd:MMCAMD",
    "fairvision": "harness.datasets.fairvision:FairVision",
    "iu-xray": "harness.datasets.iu_xray:IUXRay",
    "open-i": "harness.datasets.open_i:OpenI",
    "mimic-cxr": "harness.datasets.mimic_cxr:MIMICCXR",
    "cov-ctr": "harness.datasets.cov_ctr:COVCTR",
    "mm-retinal": "harness.datasets.mm_retinal:MMRetinal",
    "peir-gross": "harness.datasets.peir_gross:PEIRGross",
    "roco": "harness.datasets.roco:ROCO",
    "csv": "harness.datasets.csv_table:CSVTable",
    "example": "harness.datasets.example:ExampleData",
}
METRICS = {
    "bleu": "harness.metrics.text.bleu:Bleu",
    "rouge_l": "harness.metrics.text.rouge:RougeL",
    "cider": "harness.metrics.text.cider:Cider",
    "cider_plain": "harness.metrics.text.cider:CiderPlain",
    "rouge_score_l": "harness.metrics.text.rouge:RougeScoreL",
    "meteor": "harness.metrics.text.meteor:Meteor",
    "meteor_nltk": "harness.metrics.text.meteor:MeteorNltk",
    "bertscore": "harness.metrics.text.bertscore:BertScore",
    "bertscore_minilm": "harness.metrics.text.bertscore:BertScoreMiniLM",
    "chexpert_rules_f1": "harness.metrics.clinical.chexpert_rules:ChexpertRulesF1",
    "wording": "harness.metrics.text.wording:Wording",
    "chexpert_rules_pr": "harness.metrics.clinical.chexpert_rules:ChexpertRulesPrecisionRecall",
    "mesh_rules_f1": "harness.metrics.clinical.chexpert_rules:MeshRulesF1",
    "chexbert_pr": "harness.metrics.clinical.chexbert:ChexbertPrecisionRecall",
    "chexbert_f1": "harness.metrics.clinical.chexbert:ChexbertF1",
    "radgraph_f1": "harness.metrics.clinical.radgraph:RadGraphF1",
    "ratescore": "harness.metrics.clinical.ratescore:RateScore",
    "ratescore_lite": "harness.metrics.clinical.ratescore_lite:RateScoreLite",
    "bleu_2_study": "harness.metrics.text.study_bleu:StudyBleu",
    "bertscore_idf": "harness.metrics.learned.bertscore_idf:BertScoreIdf",
    "sembscore": "harness.metrics.learned.semb_score:SembScore",
    "radgraph_combined": "harness.metrics.learned.radcliq:RadGraphCombined",
    "radcliq_v1": "harness.metrics.learned.radcliq:RadCliq",
    "radeval_bertscore": "harness.metrics.learned.bertscore_folder:RadevalBertScore",
    "srr_bert_leaves": "harness.metrics.learned.srr_bert:SrrBertLeaves",
    "srr_bert_statuses": "harness.metrics.learned.srr_bert:SrrBertStatuses",
    "srr_bert_upper": "harness.metrics.learned.srr_bert:SrrBertUpper",
    "radbert_ct": "harness.metrics.learned.label_sets:RadbertCtF1",
    "cxrfescore": "harness.metrics.learned.cxrfescore:CxrfeScore",
    "temporal_f1": "harness.metrics.learned.temporal:TemporalF1",
    "green": "harness.metrics.judges.green:Green",
    "crimson": "harness.metrics.judges.crimson:Crimson",
    "diagnosis": "harness.metrics.diagnosis.decisions:Diagnosis",
    "diagnosis_tuned": "harness.metrics.diagnosis.tuned:TunedF1",
    "auroc": "harness.metrics.diagnosis.decisions:Auroc",
    "operating_points": "harness.metrics.diagnosis.operating_points:OperatingPoints",
    "risk_coverage": "harness.metrics.diagnosis.selective:RiskCoverage",
    "ece": "harness.metrics.diagnosis.calibration:Ece",
    "ece_classwise": "harness.metrics.diagnosis.calibration:ClasswiseEce",
    "ece_mass": "harness.metrics.diagnosis.calibration:EqualMassEce",
    "brier": "harness.metrics.diagnosis.proper_scores:Brier",
    "nll": "harness.metrics.diagnosis.proper_scores:NegativeLogLikelihood",
    "images_inception": "harness.metrics.images.distances:InceptionDistance",
    "images_xrv": "harness.metrics.images.distances:XrayDistance",
    "images_raddino": "harness.metrics.images.distances:RadDinoDistance",
    "images_lite0": "harness.metrics.images.distances:Lite0Distance",
    "images_lite0_lateral": "harness.metrics.images.distances:Lite0LateralDistance",
    "images_completed": "harness.metrics.images.distances:CompletedDistance",
    "images_completed_lateral": "harness.metrics.images.distances:CompletedLateralDistance",
    "ms_ssim": "harness.metrics.images.ms_ssim:MsSsim",
    "ms_ssim_lateral": "harness.metrics.images.ms_ssim:MsSsimLateral",
    "alignment_lite0": "harness.metrics.images.alignment:Alignment",
    "alignment_coarse": "harness.metrics.images.alignment:CoarseAlignment",
    "fjd_lite0": "harness.metrics.images.alignment:JointDistance",
    "fjd_coarse": "harness.metrics.images.alignment:CoarseJointDistance",
    "agreement_views": "harness.metrics.images.agreement:ViewAgreement",
    "agreement_report": "harness.metrics.images.agreement:ReportAgreement",
}

CONTRACTS = {
    "methods": "harness.method.contract:Method",
    "datasets": "harness.datasets.base:Dataset",
    "metrics": "harness.metrics.base:Metric",
}
"""What the registered classes are: subclasses of these, or classes with the functions of a protocol."""


_AND = " and "
"""Between the targets of a name that two packages register."""
_LIVE: dict[str, dict[str, type]] = {"methods": {}, "datasets": {}, "metrics": {}}
"""Classes that this process registered itself, kind -> name -> class."""


def register(kind: str, registered: type, name: str) -> str:
    """Register a class in this process alone, as ``harness.evaluate([MyMethod])`` does.

    A class that was registered so before under the same name is replaced: in a notebook a cell is run again.

    Args:
        kind: ``methods``, ``datasets`` or ``metrics``.
        registered: the class.
        name: what rows and settings call it.

    Returns:
        ``name``.

    Raises:
        PluginError: it is no class of that kind.
        HarnessError: another class is installed under the name.
    """
    home, _, contract = CONTRACTS[kind].partition(":")
    if not _keeps(registered, getattr(import_module(home), contract)):
        raise PluginError(f"{kind[:-1]} {name}: {registered!r} is no {contract}", f"see {home}.{contract}")
    target = f"{registered.__module__}:{registered.__qualname__}"
    installed = _installed(kind).get(name, target)
    if installed != target:
        raise HarnessError(
            f"{kind[:-1]} {name!r} is registered already, as {installed}", "give the class another name"
        )
    _LIVE[kind][name] = registered
    _table.cache_clear()
    return name


def is_live(kind: str, name: str) -> bool:
    """Whether this process registered the class itself, so that no other process can load it."""
    return name in _LIVE[kind]


@cache
def _table(kind: str) -> dict[str, str]:
    live = {name: f"{each.__module__}:{each.__qualname__}" for name, each in _LIVE[kind].items()}
    return _installed(kind) | live


def _installed(kind: str) -> dict[str, str]:
    table = dict(_builtin(kind))
    for point in entry_points(group=f"harness.{kind}"):
        other = table.setdefault(point.name, point.value)
        if other != point.value:
            table[point.name] = f"{other}{_AND}{point.value}"  # refused where the name is used
    return table


def _builtin(kind: str) -> Mapping[str, str]:
    return {"methods": METHODS, "datasets": DATASETS, "metrics": METRICS}[kind]


def snapshot() -> dict[str, dict[str, str]]:
    """What is registered by the package itself and at run time, for another process."""
    return {"methods": dict(METHODS), "datasets": dict(DATASETS), "metrics": dict(METRICS)}


def restore(tables: Mapping[str, Mapping[str, str]]) -> None:
    """Register what ``snapshot`` gave."""
    METHODS.update(tables["methods"])
    DATASETS.update(tables["datasets"])
    METRICS.update(tables["metrics"])
    _table.cache_clear()


def names(kind: str) -> list[str]:
    """Registered names of ``methods``, ``datasets`` or ``metrics``, in registration order."""
    return list(_table(kind))


def packages() -> set[str]:
    """Top-level packages that register methods, datasets or metrics, the harness itself among them."""
    tables = (_table(kind) for kind in ("methods", "datasets", "metrics"))
    modules = (target.partition(":")[0] for table in tables for target in table.values())
    return {module.partition(".")[0] for module in modules}


def method_modules(names: Sequence[str], confine: str) -> list[str]:
    """Modules behind ``--methods`` that no box holds, none of them imported; unknown names are left out.

    Args:
        confine: as ``RunConfig.confine``.
    """
    table = _table("methods")
    chosen = set(table) if "all" in names else {split_variant(name)[0] for name in names}
    if confine != "off":
        chosen = {name for name in chosen if confine == "auto" and is_own("methods", name)}
    return sorted({table[name].partition(":")[0] for name in chosen if name in table})


def is_foreign(registered: type) -> bool:
    """Whether a class is of another package, neither the harness's nor registered by this process itself."""
    live = any(registered is each for table in _LIVE.values() for each in table.values())
    return not (live or is_ours(registered))


def is_ours(registered: type) -> bool:
    """Whether a class is one of this distribution's."""
    return _in_distribution(registered.__module__)


def _in_distribution(module: str) -> bool:
    """Whether a module is one of this distribution's."""
    return module.partition(".")[0] in ("harness", "methods")


def is_own(kind: str, name: str) -> bool:
    """Whether a name is one of this distribution's, not that of another package."""
    return name in _builtin(kind)


def target(kind: str, name: str) -> str:
    """``module:Class`` of a registered name; nothing is imported.

    Raises:
        UnknownNameError: with the nearest registered names.
        PluginError: two packages register it.
    """
    table = _table(kind)
    if name not in table:
        raise UnknownNameError(f"unknown {kind[:-1]} {name!r}", did_you_mean(name, table))
    if _AND in table[name]:
        raise PluginError(
            f"two packages register {kind[:-1]} {name!r}: {table[name]}",
            "uninstall one of them or rename its entry point",
        )
    return table[name]


def load(kind: str, name: str) -> Any:
    """The class registered under ``name``.

    Raises:
        UnknownNameError: with the nearest registered names.
        PluginError: the class's module cannot be imported, whatever the reason, has no such class, or what it
            has is no method, dataset or metric.
        MissingPackageError: its module needs a package that an extra brings.
    """
    place = target(kind, name)
    if name in _LIVE[kind]:
        return _LIVE[kind][name]
    module, _, attribute = place.partition(":")
    home, _, contract = CONTRACTS[kind].partition(":")
    base = getattr(import_module(home), contract)  # with NumPy: what a plugin's import replaces is seen
    try:
        loaded = imported(module)
    except BaseException as error:
        let_through(error)
        if (missing := missing_package(error)) is not None:
            package, extra = missing
            raise MissingPackageError(f"{kind[:-1]} {name} needs {package}", install(extra)) from error
        hint = f"install the package that {module} needs" if isinstance(error, ImportError) else ""
        raise PluginError(
            f"{kind[:-1]} {name} cannot be loaded: {describe(error, module)}", hint or f"see {module}"
        ) from error
    if not hasattr(loaded, attribute):
        raise PluginError(f"{kind[:-1]} {name} cannot be loaded: {module} has no {attribute}")
    registered = getattr(loaded, attribute)
    if not _keeps(registered, base):
        raise PluginError(
            f"{kind[:-1]} {name} cannot be loaded: {place} is no {contract}", f"see {home}.{contract}"
        )
    return registered


def imported(module: str) -> ModuleType:
    """A module. The import of one of another package neither prints nor replaces functions of others."""
    if module in sys.modules or _in_distribution(module):
        return import_module(module)
    try:
        with untouched("its import"), printed_nowhere(), noting(module):
            return import_module(module)
    except BaseException:
        sys.modules.pop(module, None)
        raise


def card(name: str) -> Any:
    """The card of a method, from ``CARDS`` without importing the method, else from its class.

    Raises:
        UnknownNameError, PluginError: as ``load``.
    """
    place = CARDS.get(target("methods", name))
    if place is None:
        return load("methods", name).card
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def _keeps(registered: Any, contract: Any) -> bool:
    """Whether it is a subclass of the contract; of a protocol, whether it is a class with its functions."""
    if not isinstance(registered, type):
        return False
    if Protocol in contract.__bases__:
        functions = (name for name in vars(contract) if not name.startswith("_"))
        return all(callable(getattr(registered, name, None)) for name in functions)
    return issubclass(registered, contract)


def make_metric(name: str, options: MetricOptions = DEFAULTS) -> Any:
    """An instance of a metric family, with those of the options that its constructor takes by name.

    Raises:
        UnknownNameError: as ``load``.
        PluginError: as ``load``; or the family cannot be made, or lacks what every metric declares.
        HarnessError: an option that the family refuses.
    """
    family = load("metrics", name)
    try:
        takes = signature(family).parameters
        arguments = {
            option.name: value
            for option in fields(options)
            if (value := getattr(options, option.name)) is not None and option.name in takes
        }
        with noting(family.__module__) if is_foreign(family) else nullcontext():
            metric = family(**arguments)
            _ = metric.name, metric.task.value, metric.signature
            _ = [output.name for output in metric.outputs]
            reason = metric.unavailable()
    except HarnessError:
        raise
    except BaseException as error:
        let_through(error)
        reason = describe(error, getattr(family, "__module__", ""))
        raise PluginError(f"metric {name} cannot be loaded: {reason}") from error
    wrong = not_its_own(name, metric, _outputs(tuple(METRICS))) if is_foreign(family) else ""
    if reason is not None and not (isinstance(reason, str) and reason.isprintable()):
        wrong = "its unavailable() is neither None nor one line"
    if wrong:
        raise PluginError(f"metric {name} cannot be loaded: {wrong}")
    return metric


@cache
def _outputs(families: tuple[str, ...]) -> dict[str, str]:
    """Output -> family, of the metrics of this distribution; those of plugins join them as they are made."""
    owners: dict[str, str] = {}
    for name in families:
        with suppress(HarnessError):
            if _in_distribution(METRICS[name]):
                owners |= {output.name: name for output in make_metric(name).outputs}
    return owners


def split_variant(name: str) -> tuple[str, str | None]:
    """``dia:no-alignment`` to ``("dia", "no-alignment")``; ``dia`` to ``("dia", None)``."""
    base, _, variant = name.partition(":")
    return base, variant or None
