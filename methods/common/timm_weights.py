"""Which networks of timm methods start from, without importing timm."""

from __future__ import annotations

from harness.method.pretrained import PretrainedPart

_LITE0 = ("efficientnet_lite0", "timm/efficientnet_lite0.ra_in1k")

NETWORKS = {
    "lite0": _LITE0,
    "efficientnet_lite0": _LITE0,
    "efficientnet_b0": ("efficientnet_b0", "timm/efficientnet_b0.ra_in1k"),
    "resnet50": ("resnet50", "timm/resnet50.tv_in1k"),
    "resnet101": ("resnet101", "timm/resnet101.tv_in1k"),
    "vgg16": ("vgg16", "timm/vgg16.tv_in1k"),
}
"""Name in a configuration -> timm's name, and a model of the hub with its weights.

Of a network that has several, those of torchvision (``tv``), from which code of the papers' time starts.
"""


def timm_part(setting: str, backbone: str, source: str) -> PretrainedPart:
    """A backbone that starts from ImageNet weights.

    Args:
        setting: ``method.field`` that names the weights, and ``source`` what it says.
        backbone: a key of ``NETWORKS``.
    """
    name, example = NETWORKS[backbone]
    return PretrainedPart(setting, f"timm's {name}", source, example, packaged=NETWORKS[backbone] is _LITE0)
