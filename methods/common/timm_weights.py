"""Which networks of timm methods start from, without importing timm."""

from __future__ import annotations

from harness.method.pretrained import PretrainedPart

_LITE0 = ("efficientnet_lite0", "timm/efficientnet_lite0.ra_in1k")

NETWORKS = {
    "lite0": _LITE0,
    "efficientnet_lite0": _LITE0,
    "efficientnet_b0": ("efficientnet_b0", "timm/efficientnet_b0.ra_in1k"),
    "resnet50": ("resnet50", "timm/resnet50.a1_in1k"),
    "resnet101": ("resnet101", "timm/resnet101.a1h_in1k"),
}
"""Name in a configuration -> timm's name, and a model of the hub with its weights."""


def timm_part(setting: str, backbone: str, source: str) -> PretrainedPart:
    """A backbone that starts from ImageNet weights.

    Args:
        setting: ``method.field`` that names the weights, and ``source`` what it says.
        backbone: a key of ``NETWORKS``.
    """
    name, example = NETWORKS[backbone]
    return PretrainedPart(setting, f"timm's {name}", source, example, packaged=NETWORKS[backbone] is _LITE0)
