"""DiA-gnostic VLVAE: Disentangled Alignment-Constrained Vision Language Variational AutoEncoder for Robust
Radiology Reporting with Missing Modalities (Shaik, Cherukuri, Masood, Ye).

Guided Context Attention, its vision attention: arXiv 2406.13126. The paper announces code but links none.
Symbols: V image, L clinical context, R report, E embedding width, Z_v, Z_l, Z_s vision-specific,
language-specific and shared latents. Shapes: batch B, views N, tokens S, latent D.

Deviations from the paper, or choices where it is silent, are ``DiA.card.deviations``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.types import CONTEXT, DatasetInfo, Inputs, Prediction, Study, Targets, Task
from harness.method.card import Deviation, MethodCard
from harness.method.contract import FitRun
from harness.method.torch_method import TorchMethod
from methods.common.feature_cache import FeatureCache
from methods.common.generation import Decoding, draw_seeds, write
from methods.common.optim import Optimizer, rate_groups, schedule, scheduled
from methods.common.pixels import resized
from methods.common.text import PAD, ReportDecoder, Vocabulary
from methods.common.text import words as split_words
from methods.common.views import complete_inputs, stacked_views
from methods.dia.config import BASE, DEVIATIONS, TINY, VARIANTS, DiAConfig
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
    alignment,
    elbo,
    orthogonality,
)

CARD = MethodCard(
    name="dia",
    title="DiA-gnostic VLVAE",
    paper="Shaik et al., DiA-gnostic VLVAE",
    licence="Apache-2.0",
    tasks=frozenset({Task.REPORT}),
    reads=frozenset({"frontal", "lateral", CONTEXT}),
    presets={"tiny": TINY, "base": BASE, "paper": {}},
    variants=VARIANTS,
    deviations=tuple(Deviation(where, chosen) for where, chosen in DEVIATIONS),
    published={"parameters": 589.7e6, "flops": 51.14e9},
    samples=True,
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


class DiA(TorchMethod[DiAConfig]):
    """DiA-gnostic VLVAE behind the harness' interface."""

    card: ClassVar[MethodCard] = CARD
    Config = DiAConfig
    network: DiANetwork

    def __init__(self, config: DiAConfig, info: DatasetInfo) -> None:
        super().__init__(config, info)
        self._cache = FeatureCache()

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """The vocabulary of training reports and contexts, and the reports' mean length in words."""
        texts = [text for study in train for text in (study.report, study.context) if text]
        counts = [len(split_words(study.report or "")) for study in train]
        lengths = [min(count, self.config.report_words) + 1 for count in counts]
        return {
            "words": Vocabulary.train(texts, self.config.min_count).entries,
            "report_length": sum(lengths) / len(lengths),
        }

    def reference_artifacts(self) -> dict[str, Any]:
        """A stand-in vocabulary of the size that the paper's Table 3 counts: MIMIC-CXR's 4,000 words."""
        return {"words": [f"word{number}" for number in range(3996)], "report_length": 50.0}

    def example_batch(self, batch_size: int = 1) -> tuple[Inputs, Targets]:
        """All views, a full-length context and a full-length report: what FLOPs are counted on."""
        config = self.config
        context = " ".join(["word1"] * (config.context_words - 1))
        inputs = complete_inputs(self.info, batch_size, config.image_size, context)
        return inputs, Targets([" ".join(["word1"] * (config.report_words - 1))] * batch_size)

    def build(self, artifacts: dict[str, Any]) -> DiANetwork:
        """The network for a vocabulary."""
        self.vocabulary = Vocabulary(artifacts["words"])
        self._report_length = float(artifacts["report_length"])
        views = len(self.info.image_modalities)
        return DiANetwork(len(self.vocabulary), self.config, views, self.info.channels)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """``TorchMethod.fit``; with ``keep_trunk`` each study passes the frozen stages only once."""
        with self._cache.keeping(self.config.keep_trunk):
            super().fit(train, val, run)

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Total loss (Eq. 7) and its parts; ``select`` is the report's cross-entropy."""
        config, network = self.config, self.network
        frozen, views, words, has_context = self._read(inputs)
        if network.training:
            views = views & (torch.rand(views.shape, device=views.device) >= config.view_dropout)
            kept = torch.rand(has_context.shape, device=views.device) >= config.context_dropout
            has_context = has_context & kept
        code = network.encode(frozen, views, words, has_context)
        report = self.vocabulary.batch(targets.reports, config.report_words, framed=True).to(views.device)
        nats = self._nats(report, code)
        per_word = nats / (report[:, 1:] != PAD).sum()
        # Eq. (7) in nats per study, over the mean report length: a batch of short reports weighs less.
        ce = nats / len(report) / self._report_length
        if not config.vae:
            return {"loss": ce, "ce": ce, "select": per_word}
        terms = network.bound(code, views, words)
        negative_elbo = -elbo(terms).mean()
        assert code.latents is not None
        z_v, z_l, z_s = code.latents
        orth = align = ce.new_zeros(())
        if config.lambda_orth:
            orth = orthogonality(z_s, z_v, z_l, code.present)
        if config.lambda_align:
            align = alignment(z_s, z_v, z_l, code.present, config)
        others = negative_elbo + config.lambda_orth * orth + config.lambda_align * align
        loss = ce + others / self._report_length
        parts = {name: value.mean() for name, value in terms.items()}
        return {
            "loss": loss,
            "ce": ce,
            "nelbo": negative_elbo,
            "orth": orth,
            "align": align,
            **parts,
            "select": per_word,
        }

    def _nats(self, report: Tensor, code: Encoded) -> Tensor:
        """-log p(R) of framed reports (B, S), summed over the batch.

        On a CPU the shorter and the longer half pass the decoder apart: less of what it computes is padding.
        """
        lengths = (report != PAD).sum(1)
        nats = code.memory.new_zeros(())
        for rows in lengths.argsort(stable=True).chunk(2 if report.device.type == "cpu" else 1):
            words = report[rows] if report.is_meta else report[rows, : int(lengths[rows].max())]
            logits = self.network.decoder(words[:, :-1], code.memory[rows], code.mask[rows]).float()
            following = words[:, 1:].flatten()
            nats = nats + F.cross_entropy(logits.flatten(0, 1), following, ignore_index=PAD, reduction="sum")
        return nats

    def optimizer(self, steps: int) -> Optimizer:
        """AdamW; no decay for biases, norms, embeddings' null vectors (1-d); linear warm-up."""
        config = self.config
        groups = rate_groups(
            self.network,
            config.learning_rate,
            config.weight_decay,
            pretrained=lambda name: name.startswith("vision.backbone"),
            factor=config.backbone_rate,
        )
        optimizer = torch.optim.AdamW(
            groups, lr=config.learning_rate, betas=config.betas, eps=1e-8, fused=True
        )
        warm = max(1, round(config.warmup * steps))
        return scheduled(optimizer, schedule(steps, warm, config.schedule))

    def generate(self, inputs: Inputs) -> list[Prediction]:
        """Greedy or beam search with cached decoding; latents are posterior means."""
        decoding = Decoding(self.config.report_words + 1, beams=self.config.num_beams)
        return [Prediction(report=text) for text in self._write(inputs, decoding)]

    def draw_reports(self, inputs: Inputs, draws: int) -> list[list[str]]:
        """Reports drawn word by word; latents are posterior means, and studies are encoded once."""
        seeds = draw_seeds(inputs.seeds, draws)
        limit, temperature = self.config.report_words + 1, self.config.draw_temperature
        texts = self._write(inputs, Decoding(limit, seeds=seeds, temperature=temperature))
        return [texts[start : start + draws] for start in range(0, len(texts), draws)]

    def _write(self, inputs: Inputs, decoding: Decoding) -> list[str]:
        """Texts about a batch, each study encoded once."""
        code = self.network.encode(*self._read(inputs))
        words = write(self.network.decoder, code.memory, code.mask, decoding)
        return [self.vocabulary.decode(row) for row in words.tolist()]

    def _read(self, inputs: Inputs) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """Batch to (output of ``frozen``, views present, context indices, context present)."""
        pixels, views = stacked_views(inputs, self.info.image_modalities)
        has_context = inputs.present.get(CONTEXT, torch.zeros_like(views[:, 0]))
        texts = inputs.context if CONTEXT in inputs.present else [None] * len(inputs)
        words = self.vocabulary.batch(texts, self.config.context_words).to(pixels.device)
        frozen = self._cache(inputs.ids, lambda rows: self.network.frozen(pixels[rows], views[rows]), pixels)
        return frozen, views, words, has_context
