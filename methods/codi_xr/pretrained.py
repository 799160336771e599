"""Pretrained image parts from a folder or the hub's cache; nothing is fetched unless the user allows it."""

from __future__ import annotations

from pathlib import Path

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers import CLIPVisionModelWithProjection

from harness.core.errors import HarnessError, UnavailableError
from harness.core.weights import ALLOW_DOWNLOADS, downloads_allowed
from methods.codi_xr.config import VIEWS, CoDiXRConfig
from methods.codi_xr.network import CoDiNetwork


def load_pretrained(network: CoDiNetwork, config: CoDiXRConfig) -> None:
    """Fill the parts whose sources the configuration names.

    Raises:
        UnavailableError: a source is neither a folder nor in the hub's cache.
        HarnessError: a source's weights do not fit the configured sizes.
    """
    if next(network.parameters()).is_meta:
        return
    if config.image_vae:
        source = _folder(config.image_vae, "image_vae", "vae")
        _copy(AutoencoderKL.from_pretrained(source), network.image_autoencoder.vae, source)
    if config.unet:
        source = _folder(config.unet, "unet", "unet")
        model = UNet2DConditionModel.from_pretrained(source)
        for view in VIEWS:
            _copy(model, network.denoiser(view).get_submodule("unet"), source, more=True)
    if config.clip and config.encoders == "clip":
        source = _folder(config.clip, "clip", "")
        model = CLIPVisionModelWithProjection.from_pretrained(source, local_files_only=True)
        _copy(model, network.contrastive.get_submodule("encoders.vision"), source)


def _copy(source: nn.Module, target: nn.Module, folder: Path, more: bool = False) -> None:
    """Weights of one module into another; with ``more`` the target may have layers of its own."""
    try:
        report = target.load_state_dict(source.state_dict(), strict=not more)
    except RuntimeError as error:
        raise HarnessError(
            f"{folder}: {str(error).splitlines()[0]}", "its sizes are not the preset's"
        ) from error
    if report.unexpected_keys:
        raise HarnessError(f"{folder}: unknown weights, first {report.unexpected_keys[0]}")


def _folder(name: str, setting: str, part: str) -> Path:
    """The folder of a part: ``name`` or its subfolder ``part``, or the same of the hub's model ``name``."""
    if not Path(name).is_dir():
        name = _from_hub(name, setting, part)
    inner = Path(name, part)
    return inner if part and inner.is_dir() else Path(name)


def _from_hub(name: str, setting: str, part: str) -> str:
    from huggingface_hub import snapshot_download

    allowed = downloads_allowed()
    patterns = [f"{part}/*" if part else "*"]
    try:
        return snapshot_download(name, allow_patterns=patterns, local_files_only=not allowed)
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"codi_xr.{setting}: {name} is neither a folder nor in the hub's local cache",
            f"--set codi_xr.{setting}=FOLDER, {ALLOW_DOWNLOADS}=1, or an empty value to start from nothing",
        ) from error
