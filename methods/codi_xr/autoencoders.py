"""The two autoencoders whose latents are diffused: AutoencoderKL for images, Optimus for reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from transformers import BertConfig, BertModel, DynamicCache, GPT2Config, GPT2LMHeadModel

from methods.codi_xr.config import VIEWS, CoDiXRConfig
from methods.common.layers import gaussian_kl, reparameterise
from methods.common.text import BOS, EAGER, EOS, PAD, UNK

QUIET = -6.0
"""Log-variance of the posterior at the start."""


def groups(channels: int, side: int) -> int:
    """Groups of a normalisation: one at a single position, whose channels would lose their size."""
    return min(32, channels // 8) if side > 1 else 1


class PatchBasis(nn.Module):
    """Principal components of patches at their place in the image: what aligned images have in common.

    Grid positions P = (side / patch)^2, pixels of a patch D = channels x patch^2, K components.
    """

    mean: Tensor
    axes: Tensor
    scale: Tensor

    def __init__(self, side: int, patch: int, channels: int, values: int) -> None:
        super().__init__()
        self.patch, self.grid = patch, side // patch
        pixels = channels * patch * patch
        self.register_buffer("mean", torch.zeros(len(VIEWS), self.grid**2, pixels))
        self.register_buffer("axes", torch.zeros(len(VIEWS), self.grid**2, pixels, values))
        self.register_buffer("scale", torch.ones(len(VIEWS)))

    def fit(self, view: int, images: Tensor) -> None:
        """Learn one view's components from training images (N, C, H, W)."""
        patches = self._cut(images)
        self.mean[view] = patches.mean(0)
        size = self.axes.shape[-1]
        for place in range(self.grid**2):
            centred = patches[:, place] - self.mean[view, place]
            rank = min(size, *centred.shape)
            self.axes[view, place, :, :rank] = torch.pca_lowrank(centred, rank, center=False, niter=2)[2]
        self.scale[view] = self.coefficients(images, view).std()

    def coefficients(self, images: Tensor, view: int) -> Tensor:
        """Images (B, C, H, W) to components (B, K, g, g), not scaled."""
        components = torch.einsum("bpd,pdk->bkp", self._cut(images) - self.mean[view], self.axes[view])
        return components.unflatten(2, (self.grid, self.grid))

    def forward(self, images: Tensor, view: int) -> Tensor:
        """Images (B, C, H, W) to components (B, K, g, g)."""
        return self.coefficients(images, view) / self.scale[view]

    def images(self, components: Tensor, view: int) -> Tensor:
        """The inverse of ``forward``, as far as K components go."""
        patches = torch.einsum("bkp,pdk->bpd", components.flatten(2) * self.scale[view], self.axes[view])
        columns = (patches + self.mean[view]).transpose(1, 2)
        side = self.grid * self.patch
        return F.fold(columns, (side, side), self.patch, stride=self.patch)

    def _cut(self, images: Tensor) -> Tensor:
        return F.unfold(images, self.patch, stride=self.patch).transpose(1, 2)


@torch.no_grad()
def start_linear(vae: Any, values: int) -> None:
    """Let an ``AutoencoderKL`` of components begin as what keeps the first ``values`` of them, without noise.

    What passes by the residual blocks stays linear (no norm and activation before the last convolutions), and
    the blocks start as nothing: training then adds to the best linear code instead of searching for it.
    """
    for half in (vae.encoder, vae.decoder):
        half.conv_norm_out, half.conv_act = nn.Identity(), nn.Identity()
        for module in half.modules():
            if isinstance(module, ResnetBlock2D):
                nn.init.zeros_(module.conv2.weight)
                assert module.conv2.bias is not None
                nn.init.zeros_(module.conv2.bias)
        for layer in (half.conv_in, half.conv_out):
            nn.init.dirac_(layer.weight)
            nn.init.zeros_(layer.bias)
    for layer in (vae.quant_conv, vae.post_quant_conv):
        nn.init.dirac_(layer.weight)
        nn.init.zeros_(layer.bias)
    vae.quant_conv.bias[values:] = QUIET


class ImageAutoencoder(nn.Module):
    """AutoencoderKL, shared by the views; latents leave it with about unit variance."""

    shift: Tensor
    scale: Tensor

    def __init__(self, config: CoDiXRConfig, channels: int) -> None:
        super().__init__()
        self.config, self.channels = config, channels
        self.basis = None
        width = config.image_channels
        if config.patch > 1:
            self.basis = PatchBasis(config.image_size, config.patch, channels, config.patch_values)
            width = config.patch_values
        blocks = len(config.vae_channels)
        self.side = config.image_size // config.patch // 2 ** (blocks - 1)
        self.vae = AutoencoderKL(
            in_channels=width,
            out_channels=width,
            down_block_types=("DownEncoderBlock2D",) * blocks,
            up_block_types=("UpDecoderBlock2D",) * blocks,
            block_out_channels=config.vae_channels,
            layers_per_block=config.vae_blocks,
            latent_channels=config.latent_channels,
            norm_num_groups=groups(config.vae_channels[0], self.side),
            sample_size=config.image_size,
            mid_block_add_attention=config.patch == 1,
        )
        if self.basis is not None:
            start_linear(self.vae, config.latent_channels)
        shape = (len(VIEWS), config.latent_channels)
        self.register_buffer("shift", torch.zeros(*shape, self.side, self.side))
        self.register_buffer("scale", torch.full((*shape, 1, 1), config.latent_scale or 1.0))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image's latent."""
        return (self.config.latent_channels, self.side, self.side)

    def read(self, images: Tensor, view: int) -> Tensor:
        """Images (B, C, H, W) in [0, 1] as the network takes them."""
        x = images * 2.0 - 1.0
        if self.basis is not None:
            return self.basis(x, view)
        return (
            x if x.shape[1] == self.config.image_channels else self._channels(x, self.config.image_channels)
        )

    def loss(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error of what ``read`` gives (B, k, h, w), and KL per latent value."""
        posterior = self.vae.encode(x).latent_dist
        error = F.mse_loss(self.vae.decode(posterior.sample()).sample, x)
        return error, posterior.kl().mean() / posterior.mean[0].numel()

    def encode(self, images: Tensor, view: int) -> Tensor:
        """Images (B, C, H, W) in [0, 1] to standardised posterior means (B, c, h, w)."""
        return self.compressed(self.read(images, view), view)

    def compressed(self, readings: Tensor, view: int) -> Tensor:
        """What ``read`` gives (B, k, h, w) to standardised posterior means (B, c, h, w)."""
        mean = self.vae.encode(readings).latent_dist.mode()
        return (mean.float() - self.shift[view]) * self.scale[view]

    def decode(self, latents: Tensor, view: int) -> Tensor:
        """Standardised latents (B, c, h, w) to images (B, C, H, W) in [0, 1]."""
        x = self.vae.decode(latents / self.scale[view] + self.shift[view]).sample.float()
        x = x if self.basis is None else self.basis.images(x, view)
        if x.shape[1] != self.channels:
            x = self._channels(x, self.channels)
        return (x / 2.0 + 0.5).clamp(0.0, 1.0)

    def calibrate(self, view: int, latents: Tensor) -> None:
        """Standardise with the moments of one view's ``encode``d training latents (N, c, h, w)."""
        raw = latents / self.scale[view] + self.shift[view]
        self.shift[view] = raw.mean(0)
        deviation = (raw - raw.mean(0)).square().mean((0, 2, 3)).sqrt()
        self.scale[view] = 1.0 / deviation.clamp(min=1e-6)[:, None, None]

    @staticmethod
    def _channels(x: Tensor, count: int) -> Tensor:
        return x.mean(1, keepdim=True).expand(-1, count, -1, -1)


@dataclass(slots=True)
class Memory:
    """State of a decoding: what GPT-2 keeps of the latents and the prefixes.

    Attributes:
        cache: keys and values of each layer; the first position is z's.
        added: what is added to the embedding of every word, (B, E).
    """

    cache: DynamicCache
    added: Tensor

    def select(self, rows: Tensor) -> None:
        """Keep (or repeat, or reorder) sequences."""
        if rows.dtype == torch.bool:
            rows = rows.nonzero().flatten()
        self.cache.batch_select_indices(rows)
        self.added = self.added[rows]


class ReportAutoencoder(nn.Module):
    """Optimus (Li et al. 2020): BERT's pooled output to a Gaussian; GPT-2 reads z.

    z is the first position of every layer's past. In Optimus key and value are the same linear map of z, and
    another map of it is added to the embedding of every word. Without ``report_added`` key and value have
    maps of their own, and nothing is added.
    """

    shift: Tensor
    scale: Tensor
    trained: Tensor
    rarity: Tensor

    def __init__(self, config: CoDiXRConfig, read: int, written: int) -> None:
        """``read`` and ``written`` are the sizes of the vocabularies of BERT and of GPT-2."""
        super().__init__()
        self.config = config
        length = config.report_words + 2
        bert = BertConfig(
            vocab_size=max(read, config.bert_vocabulary) if config.encoders == "clip" else read,
            hidden_size=config.bert_width,
            num_hidden_layers=config.bert_layers,
            num_attention_heads=config.bert_heads,
            intermediate_size=4 * config.bert_width,
            hidden_dropout_prob=config.report_dropout,
            attention_probs_dropout_prob=config.report_dropout,
            max_position_embeddings=max(length, 512) if config.encoders == "clip" else length,
            pad_token_id=PAD,
            initializer_range=config.report_init,
            **EAGER,
        )
        gpt2 = GPT2Config(
            vocab_size=max(written, config.gpt2_vocabulary) if config.encoders == "clip" else written,
            n_embd=config.gpt2_width,
            n_layer=config.gpt2_layers,
            n_head=config.gpt2_heads,
            resid_pdrop=config.report_dropout,
            embd_pdrop=config.report_dropout,
            attn_pdrop=config.report_dropout,
            activation_function="gelu" if config.encoders == "latent" else "gelu_new",
            n_positions=max(length, 1024) if config.encoders == "clip" else length + 1,
            bos_token_id=BOS,
            eos_token_id=EOS,
            initializer_range=config.report_init,
            **EAGER,
        )
        self.encoder = BertModel(bert)
        self.moments = nn.Linear(config.bert_width, 2 * config.report_latent, bias=False)
        self.maps = 1 if config.report_added else 2
        width = config.gpt2_width
        self.past = nn.Linear(config.report_latent, self.maps * config.gpt2_layers * width, bias=False)
        self.added = nn.Linear(config.report_latent, width, bias=False) if config.report_added else None
        self.decoder = GPT2LMHeadModel(gpt2)
        self.bag = nn.Linear(config.report_latent, written) if config.report_bag else None
        self.register_buffer("rarity", torch.ones(written), persistent=False)
        self.register_buffer("shift", torch.zeros(config.report_latent))
        self.register_buffer("scale", torch.ones(config.report_latent))
        self.register_buffer("trained", torch.zeros((), dtype=torch.long))

    def posterior(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Framed indices (B, S) to mean and log-variance (B, D)."""
        # Four-dimensional: passed on as it is, also for tensors without data.
        mask = (words == PAD)[:, None, None].to(self.moments.weight.dtype) * -1e4
        states = self.encoder(input_ids=words, attention_mask=mask)
        pooled = states.pooler_output
        if self.config.report_pooling == "mean":
            there = (words != PAD)[..., None].to(pooled.dtype)
            pooled = (states.last_hidden_state * there).sum(1) / there.sum(1).clamp(min=1)
        mean, log_variance = self.moments(pooled).float().chunk(2, dim=-1)
        return mean, log_variance.clamp(-10.0, 5.0)

    def loss(self, read: Tensor, words: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """Parts of the loss of the reports among bool ``rows`` (B,).

        Args:
            read: their framed indices (B, R) in BERT's vocabulary; words: the same (B, S) in GPT-2's.

        Returns:
            ``ce``, nats per word; ``kl``, the KL per word that is not free; ``bag``, nats per word of the
            words that a report has, read from z alone, rare words weighing more (0 where it is not trained).
        """
        mean, log_variance = self.posterior(read)
        z = reparameterise(mean, log_variance) if self.training else mean
        words = words.masked_fill(~rows[:, None], PAD)
        count = (words[:, 1:] != PAD).sum().clamp(min=1)
        kl = gaussian_kl(mean, log_variance)
        # A dimension costs nothing until it holds report_target nats ("free bits").
        paid = torch.where(kl > self.config.report_target, kl, torch.zeros_like(kl)).sum(1)
        return {
            "ce": self.word_loss(z, words),
            "kl": (paid * rows).sum() / count,
            "bag": self.bag_loss(z, words[:, 1:]),
        }

    def word_loss(self, z: Tensor, words: Tensor) -> Tensor:
        """Nats per word of framed reports (B, S) given latents (B, D); in training some words are hidden."""
        targets, inputs = words[:, 1:], words[:, :-1]
        if self.training and self.config.word_dropout:
            gone = torch.rand(inputs.shape, device=inputs.device) < self.config.word_dropout
            inputs = inputs.masked_fill(gone & (inputs > UNK), UNK)
        logits = self.logits(inputs, z).float()
        total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="sum")
        return total / (targets != PAD).sum().clamp(min=1)

    def fit_rarity(self, words: Tensor) -> None:
        """Learn how rare words are from the training reports (N, S): log of N over reports that have it."""
        counts = self._bags(words).sum(0)
        self.rarity.copy_((len(words) / counts.clamp(min=1.0)).log().clamp(min=0.0))

    def _bags(self, words: Tensor) -> Tensor:
        """Which words (B, V) reports (B, S) have; marks and unknown words are none."""
        bags = torch.zeros(len(words), len(self.rarity), device=words.device)
        bags.scatter_(1, words, 1.0)
        bags[:, : UNK + 1] = 0.0
        return bags

    def bag_loss(self, z: Tensor, words: Tensor) -> Tensor:
        """Cross-entropy of the words of reports (B, S) given latents (B, D) alone (Zhao et al. 2017)."""
        if self.bag is None:
            return z.new_zeros(())
        weights = self._bags(words) * self.rarity
        nats = -self.bag(z).float().log_softmax(1)
        return (weights * nats).sum() / weights.sum().clamp(min=1e-6)

    def logits(self, words: Tensor, z: Tensor) -> Tensor:
        """Prefixes (B, S) and latents (B, D) to logits of each next word (B, S, V)."""
        return self._run(words, self.start(z), 0)

    def start(self, z: Tensor) -> Memory:
        """State before the first word, for latents (B, D) as ``posterior`` gives them."""
        nothing = z.new_zeros(len(z), self.config.gpt2_width)
        return Memory(self._cache(z), nothing if self.added is None else self.added(z))

    def step(self, prefix: Tensor, state: Memory) -> Tensor:
        """Logits (B, V) of the word after ``prefix`` (B, t)."""
        return self._run(prefix[:, -1:], state, prefix.shape[1] - 1)[:, -1]

    def _run(self, words: Tensor, state: Memory, offset: int) -> Tensor:
        # Position 0 is z's.
        places = torch.arange(1 + offset, 1 + offset + words.shape[1], device=words.device)
        embedded = self.decoder.transformer.wte(words) + state.added[:, None]
        return self.decoder(
            inputs_embeds=embedded,
            position_ids=places.expand(words.shape),
            past_key_values=state.cache,
            use_cache=True,
        ).logits

    def _cache(self, z: Tensor) -> DynamicCache:
        """One past position per layer, its key and value linear in z."""
        config = self.config
        heads, size = config.gpt2_heads, config.gpt2_width // config.gpt2_heads
        parts = self.past(z).view(len(z), config.gpt2_layers, self.maps, heads, 1, size)
        cache = DynamicCache()
        for layer in range(config.gpt2_layers):
            cache.update(parts[:, layer, 0], parts[:, layer, -1], layer)
        return cache

    def encode(self, words: Tensor) -> Tensor:
        """Framed indices (B, S) to standardised posterior means (B, D)."""
        return (self.posterior(words)[0] - self.shift) * self.scale

    def raw(self, latents: Tensor) -> Tensor:
        """Standardised latents (B, D) as the decoder takes them."""
        return latents / self.scale + self.shift

    def calibrate(self, latents: Tensor) -> None:
        """Standardise with the moments of ``encode``d training latents (N, D)."""
        raw = self.raw(latents)
        self.shift.copy_(raw.mean(0))
        self.scale.copy_(1.0 / raw.std(0).clamp(min=1e-6))
