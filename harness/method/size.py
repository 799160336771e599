"""Size and cost of a method, counted on the meta device, beside what its paper prints."""

from __future__ import annotations

from typing import Any

from harness.core import registry
from harness.core.errors import UnknownNameError
from harness.core.names import did_you_mean
from harness.core.types import DatasetInfo, Task
from harness.method.pretrained import PretrainedPart
from harness.method.torch_method import TorchMethod

REFERENCE_INFO = DatasetInfo(
    name="reference",
    tasks=frozenset(Task),
    image_modalities=("frontal",),
    has_context=True,
    image_size=224,
    channels=3,
    label_names=tuple(f"label {index}" for index in range(14)),
)
"""One colour image of 224 px and context: the input for which papers count parameters and FLOPs."""


def describe(name: str, preset: str | None = None) -> dict[str, Any]:
    """Facts about a method at a preset; sizes are None for methods without a network.

    Args:
        name: ``METHOD`` or ``METHOD:VARIANT``.
        preset: on the card; by default ``paper`` where the method has it, else the last one, which is the
            largest.
    """
    base, variant = registry.split_variant(name)
    method_class = registry.load("methods", base)
    card = method_class.card
    if variant is not None and variant not in card.variants:
        hint = did_you_mean(variant, card.variants) if card.variants else f"{base} has no variants"
        raise UnknownNameError(f"unknown method {name!r}", hint)
    if preset is None:
        preset = "paper" if "paper" in card.presets else list(card.presets)[-1]
    method = method_class.create(REFERENCE_INFO, variant=variant, preset=preset)
    facts: dict[str, Any] = {
        "method": name,
        "title": card.title,
        "paper_reference": card.paper,
        "preset": preset if card.learned else "-",
        "parameters": None,
        "trainable_parameters": None,
        "flops": None,
        "inference_parameters": None,
        "inference_flops": None,
        "components": {},
        "paper": dict(card.figures(variant)),
        "released": dict(card.released) if variant is None else {},
        "weights": [weights_line(part) for part in method.config.pretrained],
        "deviations": [f"{each.where}: {each.chosen}" for each in card.deviations],
        "variants": {key: text for key, (text, _) in card.variants.items()},
    }
    if isinstance(method, TorchMethod):
        facts.update(_cost(method))
    return facts


def _cost(method: TorchMethod[Any]) -> dict[str, Any]:
    """Parameters by component and FLOPs of a training forward pass on one study, without any memory.

    Empty for a method without reference artifacts, whose size follows from the training data.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    artifacts = method.reference_artifacts()
    if artifacts is None:
        return {}
    with torch.device("meta"):
        method.prepare(artifacts)
        inputs, targets = method.example_batch()
    network = method.network.eval()
    with FlopCounterMode(display=False) as training, torch.no_grad():
        method.losses(inputs.to("meta"), targets.to("meta"))
    parts = {
        part: sum(parameter.numel() for parameter in module.parameters())
        for part, module in network.named_children()
    }
    facts = {
        "parameters": _size(network),
        "trainable_parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "flops": training.get_total_flops(),
        "components": {part: count for part, count in parts.items() if count},
    }
    with FlopCounterMode(display=False) as inference, torch.no_grad():
        answer = method.as_fitted(inputs.to("meta"))
    if answer is not None:
        facts |= {"inference_parameters": _size(network), "inference_flops": inference.get_total_flops()}
    return facts


def weights_line(part: PretrainedPart) -> str:
    """Which pretrained weights a part wants, and what its setting says."""
    state = f"starts from {part.source}" if part.source else f"not named: {part.advice}"
    return f"{part.setting}: of {part.network}; {state}"


def _size(network: Any) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _sizes(facts: dict[str, Any], stage: str, prefix: str) -> list[str]:
    """Parameters and FLOPs of a stage beside the paper's, which may count a multiply-add as one operation."""
    name = f"{stage} " if prefix else ""
    multiply_adds = f"{prefix}multiply_adds" in facts["paper"]
    quantities = (
        (f"{name}parameters", f"{prefix}parameters", f"{prefix}parameters", 1e6, "M", 1),
        (
            f"{name}multiply-adds" if multiply_adds else f"{name}flops",
            f"{prefix}flops",
            f"{prefix}multiply_adds" if multiply_adds else f"{prefix}flops",
            1e9,
            f"G, {stage} forward pass of one study" + ("" if multiply_adds else " (a multiply-add is two)"),
            2 if multiply_adds else 1,
        ),
    )
    lines = []
    for label, own, published, scale, unit, share in quantities:
        if facts[own] is None:
            continue
        ours = facts[own] / share
        line = f"{label}: {ours / scale:.1f} {unit}"
        for origin, words in (("paper", "the paper prints"), ("released", "the released code has")):
            theirs = facts[origin].get(published)
            if theirs and facts["preset"] == "paper":
                line += f"; {words} {theirs / scale:.1f} (ours {(ours - theirs) / theirs:+.1%})"
        lines.append(line)
    return lines


def render(facts: dict[str, Any]) -> str:
    """The facts as text: our figures, the paper's, their difference, components, deviations."""
    lines = [f"{facts['method']} ({facts['preset']}): {facts['title']}"]
    if facts["paper_reference"]:
        lines.append(facts["paper_reference"])
    lines += [
        line
        for stage, prefix in (("training", ""), ("inference", "inference_"))
        for line in _sizes(facts, stage, prefix)
    ]
    if facts["trainable_parameters"] not in (None, facts["parameters"]):
        lines.append(f"trainable: {facts['trainable_parameters'] / 1e6:.1f} M")
    lines += [f"  {part}: {count / 1e6:.2f} M" for part, count in facts["components"].items()]
    lines += [f"weights: {text}" for text in facts["weights"]]
    if facts["deviations"]:
        lines += ["where the paper leaves a choice:", *(f"- {text}" for text in facts["deviations"])]
    if facts["variants"]:
        base, _ = registry.split_variant(facts["method"])
        lines += ["variants:", *(f"- {base}:{key}: {text}" for key, text in facts["variants"].items())]
    return "\n".join(lines)
