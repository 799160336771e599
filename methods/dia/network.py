"""DiA's whole network: what the report decoder reads, and the terms of the ELBO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from methods.common.pixels import resized
from methods.common.text import PAD, ReportDecoder
from methods.dia.config import DiAConfig
from methods.dia.decoder import DECODERS
from methods.dia.features import ContextEncoder, ModalityAbstractor, VisionExtractor, pooled, standardised
from methods.dia.losses import Bound, RunningCorrelation, cross_correlations
from methods.dia.vae import (
    Gaussian,
    LanguageDecoder,
    LanguagePosterior,
    Mixture,
    SharedPosterior,
    TrunkPosterior,
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

    def without_latents(self) -> Encoded:
        """The same with the latents hidden from the decoder."""
        hidden = torch.arange(self.mask.shape[1], device=self.mask.device) >= self.mask.shape[1] - 3
        return replace(self, mask=self.mask & ~hidden)


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
            self.vision_posterior = self._vision_posterior(views, channels)
            self.language_posterior = LanguagePosterior(vocabulary, config)
            self.shared_posterior = SharedPosterior(config)
            self.vision_decoder = VisionDecoder(config, views, channels)
            self.language_decoder = LanguageDecoder(vocabulary, config)
            self.latent_tokens = nn.ModuleList(nn.Linear(config.latent, config.width) for _ in range(3))
            self.latent_norm = nn.LayerNorm(config.width)
            self.correlation = RunningCorrelation(config.latent, config.covariance_rate)
        self.decoder = DECODERS[config.decoder](vocabulary, config)
        self.to(memory_format=torch.channels_last)  # convolutions are faster so on CPU and GPU

    def _vision_posterior(self, views: int, channels: int) -> nn.Module:
        frozen = self.vision.backbone.frozen
        if self.config.vision_posterior == "vgg16" or frozen is None:
            return VisionPosterior(self.config, channels)
        return TrunkPosterior(self.config, views, frozen.channels[0])

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
            self.vision_posterior(small if self.config.vision_posterior == "vgg16" else trunk, views),
            self.language_posterior(words, has_context),
            # The constraint's gradient on F_V would be ten times the report's: the experts only read.
            self.shared_posterior(
                pooled(vision.detach(), vision_mask), pooled(language.detach(), language_mask), present
            ),
        )
        z_v, z_l, z_s = (posterior.draw(self.training) for posterior in posteriors)
        tokens = [to_token(z) for to_token, z in zip(self.latent_tokens, (z_v, z_l, z_s), strict=True)]
        memory = torch.cat([memory, self.latent_norm(torch.stack(tokens, dim=1))], dim=1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :3])], dim=1)
        return Encoded(memory, mask, present, small, posteriors, (z_v, z_l, z_s))

    def correlations(self, code: Encoded) -> Tensor:
        """Cross-correlations of the posterior means for Eq. 5, (3, D, D): in training of many batches."""
        assert code.posteriors is not None
        z_v, z_l, z_s = (posterior.draw(training=False) for posterior in code.posteriors)
        has_v, has_l = code.present.unbind(1)
        counts = torch.stack([has_v.sum(), has_l.sum(), (has_v & has_l).sum()])
        return self.correlation(cross_correlations(z_s, z_v, z_l, code.present), counts)

    def bound(self, code: Encoded, views: Tensor, words: Tensor) -> Bound:
        """The ELBO's terms in nats: with absent modalities, the marginal ELBO's (Eq. 8)."""
        assert code.posteriors is not None
        assert code.latents is not None
        assert code.views is not None
        posterior_v, posterior_l, posterior_s = code.posteriors
        has_v, has_l = code.present.unbind(1)
        error = (self.vision_decoder(code.latents[0]).float() - code.views.float()).square().flatten(2)
        context = words * has_l[:, None]  # an absent context is padding
        return Bound(
            recon_v=-0.5 * (error.sum(-1) * views).sum(1),
            recon_l=self.language_decoder(code.latents[1], context),
            kl_v=posterior_v.kl() * has_v[:, None],
            kl_l=posterior_l.kl() * has_l[:, None],
            jsd=posterior_s.jsd(self.config.jsd_samples),
            pixels=views.sum(1) * error.shape[-1],
            words=(context != PAD).sum(1),
        )
