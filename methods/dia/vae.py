"""VL-MoE-VAE: posteriors and decoders of the vision-specific, language-specific and shared latents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.weights import RANDOM
from harness.method.pretrained import PretrainedPart
from methods.common.layers import gaussian_kl, log_normal, reparameterise
from methods.common.pretrained import Source, fill, read_weights
from methods.common.text import BOS, PAD, DecoderSize, TransformerDecoder
from methods.common.views import PositionNorm, of_present
from methods.dia.config import DiAConfig
from methods.dia.features import ContextEncoder, pooled


@dataclass(slots=True)
class Gaussian:
    """Diagonal Gaussian posterior: mean and log-variance (B, D)."""

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def of(cls, parameters: Tensor) -> Gaussian:
        """Split (B, 2 D); log-variances are held in [-8, 4] so that no exponential overflows."""
        mean, log_variance = parameters.float().chunk(2, dim=-1)
        return cls(mean, log_variance.clamp(-8.0, 4.0))

    def draw(self, training: bool) -> Tensor:
        """A reparameterised sample in training, the mean otherwise."""
        return reparameterise(self.mean, self.log_variance) if training else self.mean

    def kl(self) -> Tensor:
        """KL to N(0, I) in nats per dimension, (B, D)."""
        return gaussian_kl(self.mean, self.log_variance)


@dataclass(slots=True)
class Mixture:
    """The shared posterior: weights pi (B, 2), expert means and log-variances (B, 2, D); vision first."""

    logits: Tensor
    mean: Tensor
    log_variance: Tensor

    @property
    def weights(self) -> Tensor:
        """pi (B, 2), summing to one."""
        return self.logits.softmax(-1)

    def draw(self, training: bool) -> Tensor:
        """The pi-weighted mean of the experts' samples in training, of their means otherwise: (B, D)."""
        experts = reparameterise(self.mean, self.log_variance) if training else self.mean
        return (self.weights[..., None] * experts).sum(1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) of each dimension, z (..., B, D) to the same shape."""
        each = log_normal(z[..., None, :], self.mean, self.log_variance)
        return torch.logsumexp(self.logits.log_softmax(-1)[..., None] + each, dim=-2)  # Eq. (3)

    def jsd(self, samples: int) -> Tensor:
        """Monte-Carlo JSD(q, N(0, 1)) in nats of each dimension, (B, D).

        The expectation under q is stratified by expert, so that it also reaches the router.
        """
        zero = torch.zeros_like(self.mean[:, 0])

        def ratios(z: Tensor) -> tuple[Tensor, Tensor]:
            q, p = self.log_prob(z), log_normal(z, zero, zero)
            middle = torch.logaddexp(q, p) - math.log(2)
            return q - middle, p - middle

        shape = (samples, *self.mean.shape)
        per_expert = reparameterise(self.mean.expand(shape), self.log_variance.expand(shape))
        from_q = torch.stack([ratios(per_expert[:, :, expert])[0].mean(0) for expert in range(2)], dim=1)
        from_p = ratios(torch.randn(samples, *zero.shape, device=zero.device))[1].mean(0)
        return 0.5 * ((self.weights[..., None] * from_q).sum(1) + from_p)


class VisionPosterior(nn.Module):
    """q(Z_v | V): VGG16's convolutional features, averaged over present views, and a two-layer MLP."""

    def __init__(self, config: DiAConfig, channels: int) -> None:
        super().__init__()
        w = config.vgg_width
        layers: list[nn.Module] = []
        last = channels
        for repeats, width in ((2, w), (2, 2 * w), (3, 4 * w), (3, 8 * w), (3, 8 * w)):
            for _ in range(repeats):
                layers += [nn.Conv2d(last, width, 3, padding=1), nn.ReLU()]
                last = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        flat = last * (config.vgg_size // 32) ** 2
        for module in self.features:
            if isinstance(module, nn.Conv2d):  # sixteen layers without normalisation need He's scale
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        if config.vgg_weights not in ("", RANDOM) and not self.features[0].weight.is_meta:
            self._load(config.vgg_part, channels)
        self.null = nn.Parameter(0.02 * torch.randn(flat))
        self.mlp = nn.Sequential(
            nn.Linear(flat, config.vgg_hidden), nn.ReLU(), nn.Linear(config.vgg_hidden, 2 * config.latent)
        )

    def _load(self, part: PretrainedPart, channels: int) -> None:
        source = Source(part.source, part.setting, part.network)
        weights = {
            name.removeprefix("features."): tensor
            for name, tensor in read_weights(source).items()
            if name.startswith("features.")
        }
        if channels == 1 and "0.weight" in weights:  # a grey image is three equal channels
            weights["0.weight"] = weights["0.weight"].sum(1, keepdim=True)
        fill(self.features, weights, source)

    def forward(self, pixels: Tensor, present: Tensor) -> Gaussian:
        """(B, N, C, H, W) and bool (B, N) to q(Z_v | V)."""
        (feature,) = of_present(lambda x: [self.features(x).flatten(1)], pixels, present)
        count = present.sum(1, keepdim=True)
        feature = torch.where(count > 0, feature.sum(1) / count.clamp(min=1), self.null)
        return Gaussian.of(self.mlp(feature))


class TrunkPosterior(nn.Module):
    """q(Z_v | V) from the frozen stages' maps: averaged, standardised, views side by side, an MLP."""

    def __init__(self, config: DiAConfig, views: int, channels: int) -> None:
        super().__init__()
        size = channels * config.posterior_side**2
        self.pool = nn.AdaptiveAvgPool2d(config.posterior_side)
        self.norm = PositionNorm(views, size)
        self.null = nn.Parameter(0.02 * torch.randn(views * size))
        hidden = config.vgg_hidden
        self.mlp = nn.Sequential(
            nn.Linear(views * size, hidden), nn.ReLU(), nn.Linear(hidden, 2 * config.latent)
        )

    def forward(self, trunk: Tensor, present: Tensor) -> Gaussian:
        """(B, N, C, h, w) and bool (B, N) to q(Z_v | V); views that are not there are zeros."""
        maps = self.pool(trunk.flatten(0, 1)).unflatten(0, present.shape)
        feature = self.norm(maps, present).flatten(1)
        return Gaussian.of(self.mlp(torch.where(present.any(1, keepdim=True), feature, self.null)))


class LanguagePosterior(nn.Module):
    """q(Z_l | L): a Transformer encoder, mean over words, a linear layer for (mu_l, log sigma_l²)."""

    def __init__(self, vocabulary: int, config: DiAConfig) -> None:
        super().__init__()
        self.encoder = ContextEncoder(vocabulary, config, config.posterior_layers, config.posterior_hidden)
        self.head = nn.Linear(config.width, 2 * config.latent)

    def forward(self, words: Tensor, present: Tensor) -> Gaussian:
        """Indices (B, S) and bool (B,) to q(Z_l | L)."""
        return Gaussian.of(self.head(pooled(*self.encoder(words, present))))


class SharedPosterior(nn.Module):
    """q(Z_s | V, L): one expert MLP per modality and a router (Eq. 3)."""

    def __init__(self, config: DiAConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.expert_hidden
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 2 * config.latent))
            for _ in range(2)
        )
        self.router = nn.Linear(2 * width, 2)

    def forward(self, vision: Tensor, language: Tensor, present: Tensor) -> Mixture:
        """Pooled F_V and F_L (B, E), bool (B, 2), to the mixture.

        The router sees the null features; the mask makes pi of an absent modality vanish from the first step.
        """
        experts = [Gaussian.of(net(x)) for net, x in zip(self.experts, (vision, language), strict=True)]
        logits = self.router(torch.cat([vision, language], dim=-1)).float()
        logits = logits.clamp(-10.0, 10.0).masked_fill(~present, -1e4)
        return Mixture(
            logits,
            torch.stack([expert.mean for expert in experts], dim=1),
            torch.stack([expert.log_variance for expert in experts], dim=1),
        )


class VisionDecoder(nn.Module):
    """p(V | Z_v): an MLP that mirrors the encoder's, then five transposed convolutions, one per VGG block."""

    def __init__(self, config: DiAConfig, views: int, channels: int) -> None:
        super().__init__()
        w, self.side, self.views = config.vgg_width, config.vgg_size // 32, views
        self.mlp = nn.Sequential(
            nn.Linear(config.latent, config.vgg_hidden),
            nn.ReLU(),
            nn.Linear(config.vgg_hidden, 8 * w * self.side**2),
            nn.ReLU(),
        )
        widths = [8 * w, 8 * w, 4 * w, 2 * w, w, views * channels]
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, z: Tensor) -> Tensor:
        """(B, D) to the views' means (B, N, C, vgg_size, vgg_size)."""
        image = self.layers(self.mlp(z).unflatten(1, (-1, self.side, self.side)))
        return image.unflatten(1, (self.views, -1))


class LanguageDecoder(nn.Module):
    """p(L | Z_l): a Transformer decoder over the context's words whose memory is Z_l."""

    def __init__(self, vocabulary: int, config: DiAConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.latent, config.width)
        size = DecoderSize(
            config.width,
            config.heads,
            layers=config.context_decoder_layers,
            hidden=config.context_decoder_hidden,
            limit=config.context_tokens,
            dropout=config.dropout,
        )
        self.decoder = TransformerDecoder(vocabulary, size)

    def forward(self, z: Tensor, words: Tensor) -> Tensor:
        """(B, D) and indices (B, S) to each context's log-likelihood in nats, (B,).

        A row of padding has log-likelihood 0 and costs no time.
        """
        here = words[:, 0] != PAD
        if words.is_meta or bool(here.all()):
            return self._likelihood(z, words)
        likelihood = z.new_zeros(len(z), dtype=torch.float32)
        if bool(here.any()):
            likelihood[here] = self._likelihood(z[here], words[here])
        return likelihood

    def _likelihood(self, z: Tensor, words: Tensor) -> Tensor:
        begin = torch.full_like(words[:, :1], BOS)
        memory = self.expand(z)[:, None]
        logits = self.decoder(torch.cat([begin, words[:, :-1]], dim=1), memory, None)
        likelihood = -F.cross_entropy(
            logits.float().transpose(1, 2), words, ignore_index=PAD, reduction="none"
        )
        return likelihood.sum(1)
