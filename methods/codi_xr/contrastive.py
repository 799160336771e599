"""Stage 1: one space for frontal view, lateral view and report. Batch B, embedding width D."""

from __future__ import annotations

import math
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig
from transformers import CLIPVisionModelWithProjection as Vision

from methods.codi_xr.config import MODALITIES, VIEWS, CoDiXRConfig
from methods.common.layers import embedding, info_nce, sinusoids
from methods.common.text import EAGER, EOS, PAD

LARGEST_SCALE = 100.0
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class ClipEncoders(nn.Module):
    """CLIP's ViT, shared by the views, and its Transformer; pooled and projected."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: CoDiXRConfig, words: int) -> None:
        super().__init__()
        self.size = config.clip_size
        self.top = max(words, config.text_vocabulary if config.clip else 0) + 1
        self.vision = Vision(
            CLIPVisionConfig(
                hidden_size=config.clip_width,
                intermediate_size=4 * config.clip_width,
                num_hidden_layers=config.clip_layers,
                num_attention_heads=config.clip_heads,
                image_size=config.clip_size,
                patch_size=config.clip_patch,
                projection_dim=config.embedding,
            )
        )
        self.text = CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=self.top,
                hidden_size=config.text_width,
                intermediate_size=4 * config.text_width,
                num_hidden_layers=config.text_layers,
                num_attention_heads=config.text_heads,
                max_position_embeddings=config.text_words,
                projection_dim=config.embedding,
                pad_token_id=PAD,
                bos_token_id=1,
                eos_token_id=self.top - 1,
                **EAGER,
            )
        )
        self.register_buffer("mean", torch.tensor(CLIP_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(CLIP_STD).view(1, 3, 1, 1), persistent=False)

    def image(self, images: Tensor, latents: Tensor, view: int) -> Tensor:
        """Images (B, C, H, W) in [0, 1] to features (B, D)."""
        sized = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        colour = sized.expand(-1, 3, -1, -1) if sized.shape[1] == 1 else sized
        return self.vision(pixel_values=(colour - self.mean) / self.std).image_embeds

    def report(self, words: Tensor) -> Tensor:
        """Framed indices (B, S) to features (B, D), pooled at the end mark, before any padding."""
        return self.text(input_ids=words.masked_fill(words == EOS, self.top - 1)).text_embeds


class SmallEncoders(nn.Module):
    """For a CPU: perceptrons that read the image autoencoder's latents, a Transformer that reads words."""

    positions: Tensor

    def __init__(self, config: CoDiXRConfig, words: int, latent: tuple[int, int, int]) -> None:
        super().__init__()
        size, width, drop = math.prod(latent), config.text_width, config.embedding_dropout
        self.views = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(drop), nn.Linear(size, 256), nn.GELU(), nn.Dropout(drop),
                nn.Linear(256, config.embedding),
            )
            for _ in VIEWS
        )  # fmt: skip
        self.embed = embedding(words, width)
        self.register_buffer("positions", sinusoids(config.text_words, width), persistent=False)
        layer = nn.TransformerEncoderLayer(
            width, config.text_heads, 2 * width, drop, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, config.text_layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(2 * width)
        self.out = nn.Linear(2 * width, config.embedding)

    def image(self, images: Tensor, latents: Tensor, view: int) -> Tensor:
        """Latents (B, c, h, w) to features (B, D)."""
        return self.views[view](latents.flatten(1))

    def report(self, words: Tensor) -> Tensor:
        """Framed indices (B, S) to features (B, D): mean and maximum over words."""
        absent = words == PAD
        x = self.embed(words) * math.sqrt(self.embed.embedding_dim) + self.positions[: words.shape[1]]
        x = self.layers(x, src_key_padding_mask=absent)
        mean = x.masked_fill(absent[..., None], 0.0).sum(1) / (~absent).sum(1, keepdim=True).clamp(min=1)
        highest = x.masked_fill(absent[..., None], -1e4).amax(1)
        return self.out(self.norm(torch.cat([mean, highest], dim=1)))


class Contrastive(nn.Module):
    """Encoders and the learned temperature."""

    def __init__(self, config: CoDiXRConfig, words: int, latent: tuple[int, int, int]) -> None:
        super().__init__()
        small = config.encoders == "latent"
        self.encoders = SmallEncoders(config, words, latent) if small else ClipEncoders(config, words)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def loss(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """Mean over the pairs of modalities of the symmetric InfoNCE (Eq. 1)."""
        temperature = 1.0 / self.log_scale.exp().clamp(max=LARGEST_SCALE)
        return paired(features, present, temperature)


def paired(features: dict[str, Tensor], present: dict[str, Tensor], temperature: Tensor | float) -> Tensor:
    """Symmetric InfoNCE of features (B, D), averaged over pairs of modalities; absent rows take no part."""
    terms = []
    for first, second in combinations([name for name in MODALITIES if name in features], 2):
        rows = present[first] & present[second]
        one, two = features[first], features[second]
        there, back = info_nce(one, two, temperature, rows), info_nce(two, one, temperature, rows)
        terms.append(0.5 * (there + back))  # Eq. (1)
    return torch.stack(terms).mean()
