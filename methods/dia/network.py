"""DiA's whole network: what the report decoder reads, and the terms of the ELBO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.common.pixels import resized
from methods.common.text import ReportDecoder
from methods.dia.config import DiAConfig
from methods.dia.decoder import DECODERS
from methods.dia.features import ContextEncoder, ModalityAbstractor, VisionExtractor, pooled, standardised
from methods.dia.vae import (
    Gaussian,
    LanguageDecoder,
    LanguagePosterior,
    Mixture,
    SharedPosterior,
    VisionDecoder,
    VisionPosterior,
)


@dataclass(slots=True)
class Encoded:
    """What the decoder reads; with the VAE also the views as it draws them, posteriors and latents."""

    memory: Tensor
    mask: Tensor
    present: Tensor
    views: Tensor | None = None
    posteriors: tuple[Gaussian, Gaussian, Mixture] | None = None
    latents: tuple[Tensor, Tensor, Tensor] | None = None


class DiANetwork(nn.Module):
    """Extractors, abstractor, VL-MoE-VAE and decoder (Fig. 1)."""

    decoder: ReportDecoder

    def __init__(self, vocabulary: int, config: DiAConfig, views: int, channels: int) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionExtractor(config, views, channels)
        self.language = ContextEncoder(vocabulary, config, config.language_layers, config.language_hidden)
        self.abstractor = ModalityAbstractor(config)
        if config.vae:
            self.vision_posterior = VisionPosterior(config, channels)
            self.language_posterior = LanguagePosterior(vocabulary, config)
            self.shared_posterior = SharedPosterior(config)
            self.vision_decoder = VisionDecoder(config, views, channels)
            self.language_decoder = LanguageDecoder(vocabulary, config)
            self.latent_tokens = nn.ModuleList(nn.Linear(config.latent, config.width) for _ in range(3))
            self.latent_norm = nn.LayerNorm(config.width)
        self.decoder = DECODERS[config.decoder](vocabulary, config)
        self.to(memory_format=torch.channels_last)  # convolutions are faster so on CPU and GPU

    def frozen(self, pixels: Tensor, views: Tensor) -> list[Tensor]:
        """What no step changes of (B, N, C, H, W) in [0, 1]: F_V's frozen stages, the VAE's pixels."""
        pixels = resized(pixels, self.config.image_size)
        trunk = self.vision.trunk(pixels, views)
        if not self.config.vae:
            return [trunk]
        small = standardised(resized(pixels, self.config.vgg_size))
        return [trunk, small * views[:, :, None, None, None]]

    def encode(self, frozen: Sequence[Tensor], views: Tensor, words: Tensor, has_context: Tensor) -> Encoded:
        """Inputs to what the decoder reads.

        Args:
            frozen: output of ``frozen``; views: bool (B, N).
            words: context indices (B, S); has_context: bool (B,).
        """
        trunk, *rest = frozen
        vision, vision_mask = self.vision(trunk, views)
        language, language_mask = self.language(words, has_context)
        memory, mask = self.abstractor(vision, language, (vision_mask, language_mask))
        present = torch.stack([views.any(1), has_context], dim=1)
        if not self.config.vae:
            return Encoded(memory, mask, present)
        (small,) = rest
        posteriors = (
            self.vision_posterior(small, views),
            self.language_posterior(words, has_context),
            self.shared_posterior(pooled(vision, vision_mask), pooled(language, language_mask), present),
        )
        z_v, z_l, z_s = (posterior.draw(self.training) for posterior in posteriors)
        tokens = [to_token(z) for to_token, z in zip(self.latent_tokens, (z_v, z_l, z_s), strict=True)]
        memory = torch.cat([memory, self.latent_norm(torch.stack(tokens, dim=1))], dim=1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :3])], dim=1)
        return Encoded(memory, mask, present, small, posteriors, (z_v, z_l, z_s))

    def bound(self, code: Encoded, views: Tensor, words: Tensor) -> dict[str, Tensor]:
        """The ELBO's terms in nats per study (B,): with absent modalities, the marginal ELBO's (Eq. 8)."""
        assert code.posteriors is not None
        assert code.latents is not None
        assert code.views is not None
        posterior_v, posterior_l, posterior_s = code.posteriors
        has_v, has_l = code.present.to(torch.float32).unbind(1)
        error = 0.5 * (self.vision_decoder(code.latents[0]).float() - code.views.float()).square().flatten(
            2
        ).sum(-1)
        return {
            "recon_v": -(error * views).sum(1),
            "recon_l": self.language_decoder(code.latents[1], words) * has_l,
            "kl_v": posterior_v.kl() * has_v,
            "kl_l": posterior_l.kl() * has_l,
            "jsd": posterior_s.jsd(self.config.jsd_samples),
        }
