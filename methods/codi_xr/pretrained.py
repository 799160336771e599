"""Pretrained image parts from a folder or the hub's cache; nothing is fetched unless the user allows it."""

from __future__ import annotations

from pathlib import Path

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers import CLIPVisionModelWithProjection

from harness.core.errors import HarnessError
from harness.core.weights import model_folder
from methods.codi_xr.config import VIEWS, CoDiXRConfig
from methods.codi_xr.network import CoDiNetwork
from methods.common.pretrained import load_model, reason_of


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
        _copy(
            load_model(AutoencoderKL.from_pretrained, source, "an AutoencoderKL"),
            network.image_autoencoder.vae,
            source,
        )
    if config.unet:
        source = _folder(config.unet, "unet", "unet")
        model = load_model(UNet2DConditionModel.from_pretrained, source, "a UNet2DConditionModel")
        for view in VIEWS:
            _copy(model, network.denoiser(view).get_submodule("unet"), source, more=True)
    if config.clip and config.encoders == "clip":
        source = _folder(config.clip, "clip", "")
        model = load_model(CLIPVisionModelWithProjection.from_pretrained, source, "a CLIP vision model")
        _copy(model, network.contrastive.get_submodule("encoders.vision"), source)


def _copy(source: nn.Module, target: nn.Module, folder: Path, more: bool = False) -> None:
    """Weights of one module into another; with ``more`` the target may have layers of its own."""
    try:
        report = target.load_state_dict(source.state_dict(), strict=not more)
    except RuntimeError as error:
        raise HarnessError(f"{folder}: {reason_of(error)}", "its sizes are not the preset's") from error
    if report.unexpected_keys:
        raise HarnessError(f"{folder}: unknown weights, first {report.unexpected_keys[0]}")


def _folder(name: str, setting: str, part: str) -> Path:
    """The folder of a part: ``name`` or its subfolder ``part``, or the same of the hub's model ``name``."""
    advice = ", or an empty value to start from nothing"
    folder = model_folder(name, f"codi_xr.{setting}", [f"{part}/*" if part else "*"], advice)
    inner = folder / part
    return inner if part and inner.is_dir() else folder
