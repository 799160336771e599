"""Pretrained parts from folders or the hub's cache; nothing is fetched unless the user allows it.

The text parts come with their tokenizers, which take the place of the vocabulary of training words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import (
    BertModel,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
    GPT2LMHeadModel,
)

from harness.core.errors import HarnessError
from harness.core.weights import model_folder
from methods.codi_xr.config import VIEWS, CoDiXRConfig
from methods.codi_xr.network import CoDiNetwork
from methods.codi_xr.subwords import Subwords, Vocabularies, serialised
from methods.common.pretrained import Source, load_model, read_weights, reason_of
from methods.common.text import EOS, Vocabulary

Weights = Mapping[str, Tensor]

BUFFERS = re.compile(r"\.(position_ids|attn\.(masked_)?bias)$")
"""Constants that files of older versions hold besides weights."""


def tokenizers(config: CoDiXRConfig) -> dict[str, Any]:
    """Artifacts of the pretrained text parts that the configuration names: their tokenizers.

    Raises:
        UnavailableError: a source is neither a folder nor in the hub's cache.
        HarnessError: a folder has no tokenizer.
    """
    artifacts = {}
    if config.clip and config.encoders == "clip":
        artifacts["clip"] = serialised("clip", _folder(config.clip, "clip", ""))
    if config.optimus:
        encoder, decoder = _optimus_folders(config)
        artifacts["bert"] = serialised("bert", encoder)
        artifacts["gpt2"] = serialised("gpt2", decoder, optimus=True)
        return artifacts
    if config.bert:
        artifacts["bert"] = serialised("bert", _folder(config.bert, "bert", ""))
    if config.gpt2:
        artifacts["gpt2"] = serialised("gpt2", _folder(config.gpt2, "gpt2", ""))
    return artifacts


def load_pretrained(network: CoDiNetwork, config: CoDiXRConfig, vocabularies: Vocabularies) -> None:
    """Fill the parts whose sources the configuration names.

    Args:
        vocabularies: of the tokenizers of the text parts (``tokenizers``).

    Raises:
        UnavailableError: a source is neither a folder nor in the hub's cache.
        HarnessError: a source's weights do not fit the configured sizes.
    """
    if next(network.parameters()).is_meta:
        return
    if config.image_vae:
        source = _folder(config.image_vae, "image_vae", "vae")
        model = load_model(AutoencoderKL.from_pretrained, source, "an AutoencoderKL")
        _copy(model.state_dict(), network.image_autoencoder.vae, source)
    if config.unet:
        source = _folder(config.unet, "unet", "unet")
        model = load_model(UNet2DConditionModel.from_pretrained, source, "a UNet2DConditionModel")
        for view in VIEWS:
            unet = network.denoiser(view).get_submodule("unet")
            _copy(_with_connectors(model.state_dict(), unet), unet, source)
    if config.clip and config.encoders == "clip":
        _load_clip(network, config, vocabularies.context)
    if config.optimus:
        _load_optimus(network, config, vocabularies)
        return
    report = network.report_autoencoder
    if config.bert:
        source = _folder(config.bert, "bert", "")
        model = load_model(BertModel.from_pretrained, source, "a BERT")
        _copy(_embedded(model.state_dict(), vocabularies.read), report.encoder, source)
    if config.gpt2:
        source = _folder(config.gpt2, "gpt2", "")
        model = load_model(GPT2LMHeadModel.from_pretrained, source, "a GPT-2")
        _copy(_embedded(model.state_dict(), vocabularies.written), report.decoder, source)


def _load_clip(network: CoDiNetwork, config: CoDiXRConfig, vocabulary: Vocabulary) -> None:
    """Both of CLIP's encoders. The text encoder has one more row: the end mark, by which it knows the end."""
    source = _folder(config.clip, "clip", "")
    vision = load_model(CLIPVisionModelWithProjection.from_pretrained, source, "a CLIP vision model")
    _copy(vision.state_dict(), network.contrastive.get_submodule("encoders.vision"), source)
    text = load_model(CLIPTextModelWithProjection.from_pretrained, source, "a CLIP text model")
    weights = _embedded(text.state_dict(), vocabulary, last=EOS)
    _copy(weights, network.contrastive.get_submodule("encoders.text"), source)


def _load_optimus(network: CoDiNetwork, config: CoDiXRConfig, vocabularies: Vocabularies) -> None:
    """Encoder and decoder of Optimus, with the maps to z and from it."""
    report = network.report_autoencoder
    if report.added is None:
        raise HarnessError(
            "codi_xr.optimus: its GPT-2 reads z by other maps", "--set codi_xr.report_added=true"
        )
    folders = _optimus_folders(config)
    encoder, decoder = (read_weights(Source(str(folder), "codi_xr.optimus", "Optimus")) for folder in folders)
    maps = {
        report.moments: (encoder, "linear.weight", folders[0]),
        report.past: (decoder, "transformer.linear.weight", folders[1]),
        report.added: (decoder, "transformer.linear_emb.weight", folders[1]),
    }
    for layer, (weights, name, folder) in maps.items():
        if name not in weights:
            raise HarnessError(f"{folder}: no Optimus: it lacks {name}")
        _copy({"weight": weights.pop(name)}, layer, folder)
    _copy(_embedded(encoder, vocabularies.read), report.encoder, folders[0])
    decoder.setdefault("lm_head.weight", decoder["transformer.wte.weight"])
    _copy(_embedded(decoder, vocabularies.written), report.decoder, folders[1])


def _optimus_folders(config: CoDiXRConfig) -> tuple[Path, Path]:
    """Folders of encoder and decoder as Optimus saves them, ``checkpoint-encoder-STEP`` and so on.

    Raises:
        HarnessError: not exactly one of each.
    """
    folder = _folder(config.optimus, "optimus", "")
    halves = []
    for half in ("encoder", "decoder"):
        candidates = sorted(path for path in folder.glob(f"checkpoint-{half}-*") if path.is_dir())
        if len(candidates) != 1:
            raise HarnessError(
                f"{folder}: {len(candidates)} folders checkpoint-{half}-*, expected one",
                "set codi_xr.optimus to a folder with one checkpoint of Optimus",
            )
        halves.append(candidates[0])
    return halves[0], halves[1]


def _embedded(weights: Weights, vocabulary: Vocabulary, last: int | None = None) -> dict[str, Tensor]:
    """Weights of a text model whose embedding has one row per index of the vocabulary.

    Args:
        weights: as the checkpoint has them; an embedding ends in ``wte``, ``lm_head``, ``token_embedding`` or
            ``word_embeddings``.
        last: index whose row is added once more at the end, or None.
    """
    assert isinstance(vocabulary, Subwords)
    rows = vocabulary.rows + ([] if last is None else [vocabulary.rows[last]])
    names = ("wte.weight", "lm_head.weight", "token_embedding.weight", "word_embeddings.weight")
    embedded = {}
    for name, tensor in weights.items():
        if name.endswith(names):
            if max(rows) >= len(tensor):
                raise HarnessError(
                    f"{name} has {len(tensor)} rows and its tokenizer {max(rows) + 1} tokens",
                    "copy the model's files again",
                )
            tensor = tensor[rows]
        if not BUFFERS.search(name):
            embedded[name] = tensor
    return embedded


def _with_connectors(weights: Weights, unet: nn.Module) -> dict[str, Tensor]:
    """Weights of a UNet under the names of one with connectors, which keep their own weights."""
    target = unet.state_dict()
    own = {name: tensor for name, tensor in target.items() if ".connector." in name}
    if not any(".attention." in name for name in target):
        return dict(weights)
    renamed = {re.sub(r"(\.attentions\.\d+)\.", r"\1.attention.", name): x for name, x in weights.items()}
    return own | renamed


def _copy(weights: Weights, target: nn.Module, folder: Path) -> None:
    """Weights into a module that has exactly these.

    Raises:
        HarnessError: they are those of another module.
    """
    try:
        target.load_state_dict(weights)
    except RuntimeError as error:
        raise HarnessError(f"{folder}: {reason_of(error)}", "its sizes are not the preset's") from error


def _folder(name: str, setting: str, part: str) -> Path:
    """The folder of a part: ``name`` or its subfolder ``part``, or the same of the hub's model ``name``."""
    advice = ", or an empty value to start from nothing"
    folder = model_folder(name, f"codi_xr.{setting}", [f"{part}/*" if part else "*"], advice)
    inner = folder / part
    return inner if part and inner.is_dir() else folder
