"""DiA-gnostic VLVAE behind the harness' interface: losses, optimiser, decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.core.types import CONTEXT, DatasetInfo, Inputs, Prediction, Study, Targets
from harness.core.words import frequent_words
from harness.method.attention import WordAttention
from harness.method.card import MethodCard
from harness.method.contract import FitRun
from harness.method.probes import Probe
from harness.method.torch_method import TorchMethod
from methods.common.attention import Positions, cross_weights, of_words
from methods.common.feature_cache import FeatureCache
from methods.common.generation import Decoding, draw_seeds, write
from methods.common.optim import Optimizer, clip_parts, rate_groups, schedule, scheduled
from methods.common.text import CONTEXT_WORDS, PAD, TransformerDecoder, Vocabulary, cut
from methods.common.views import complete_inputs, stacked_views
from methods.dia.card import CARD
from methods.dia.config import DiAConfig
from methods.dia.decoder import LlamaXDecoder
from methods.dia.losses import alignment, orthogonality
from methods.dia.network import DiANetwork, Encoded
from methods.dia.probes import hiding_probes, latent_probes


class DiA(TorchMethod[DiAConfig]):
    """DiA-gnostic VLVAE behind the harness' interface."""

    card: ClassVar[MethodCard] = CARD
    Config = DiAConfig
    has_attention: ClassVar[bool] = True
    network: DiANetwork

    def __init__(self, config: DiAConfig, info: DatasetInfo) -> None:
        super().__init__(config, info)
        self._cache = FeatureCache()

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """The vocabulary of training reports and contexts, and the reports' mean length in words."""
        reports = [self.info.words.split(study.report or "") for study in train]
        contexts = [CONTEXT_WORDS.split(study.context or "") for study in train]
        config = self.config
        lengths = [len(cut(report, config.report_words)) + 1 for report in reports]
        return {
            "words": frequent_words([*reports, *contexts], config.min_count, config.max_words),
            "report_length": sum(lengths) / len(lengths),
        }

    def reference_artifacts(self) -> dict[str, Any]:
        """A stand-in vocabulary of the size that the paper's Table 3 counts: MIMIC-CXR's 4,000 words."""
        return {"words": [f"word{number}" for number in range(3996)], "report_length": 50.0}

    def example_batch(self, batch_size: int = 1) -> tuple[Inputs, Targets]:
        """All views, a full-length context and a full-length report: what FLOPs are counted on."""
        config = self.config
        context = " ".join(["word1"] * config.context_words)
        inputs = complete_inputs(self.info, batch_size, config.image_size, context)
        return inputs, Targets([" ".join(["word1"] * config.report_words)] * batch_size)

    def build(self, artifacts: dict[str, Any]) -> DiANetwork:
        """The network for a vocabulary."""
        self.vocabulary = Vocabulary(artifacts["words"], self.info.words)
        self._context_vocabulary = Vocabulary(artifacts["words"], CONTEXT_WORDS)
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
            remains = torch.rand(has_context.shape, device=views.device) >= config.context_dropout
            has_context = has_context & remains
        code = network.encode(frozen, views, words, has_context)
        report = self._framed(targets).to(views.device)
        nats = self._nats(report, code)
        per_word = nats / (report[:, 1:] != PAD).sum()
        # The mean report length instead of the batch's: a batch of short reports weighs less.
        ce = nats / len(report) / self._report_length
        if code.latents is None:
            return {"loss": ce, "ce": ce, "select": per_word}
        bound = network.bound(code, views, words).losses()
        orth = align = ce.new_zeros(())
        if config.lambda_orth:
            orth = orthogonality(network.correlations(code))
        if config.lambda_align:
            z_v, z_l, z_s = code.latents
            align = alignment(z_s, z_v, z_l, code.present, config)
        parts = {"ce": ce, **bound, "orth": orth, "align": align}
        terms = self.loss_terms(parts)
        return {"loss": torch.stack(list(terms.values())).sum(), **parts, "select": per_word}  # Eq. (7)

    def loss_terms(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """L_CE, the five terms of -L_ELBO, lambda_1 L_orth and lambda_2 L_align."""
        weights = {"orth": self.config.lambda_orth, "align": self.config.lambda_align}
        names = ("ce", "recon_v", "recon_l", "kl_v", "kl_l", "jsd", "orth", "align")
        return {name: losses[name] * weights.get(name, 1.0) for name in names if name in losses}

    def probes(self, inputs: Inputs, targets: Targets) -> list[Probe]:
        """Posteriors; orthogonality and alignment beside noise; what hiding the latents costs."""
        if not self.config.vae:
            return []
        frozen, views, words, has_context = self._read(inputs)
        report = self._framed(targets).to(views.device)
        count = (report[:, 1:] != PAD).sum()
        whole = self.network.encode(frozen, views, words, has_context)
        lost = self.network.encode(frozen, views, words, torch.zeros_like(has_context))
        costs = {
            state: float((self._nats(report, code.without_latents()) - self._nats(report, code)) / count)
            for state, code in (("present", whole), ("absent", lost))
        }
        return latent_probes(whole, self.config) + hiding_probes(costs)

    def _framed(self, targets: Targets) -> Tensor:
        return self.vocabulary.batch(targets.reports, self.config.report_words, framed=True, marks=False)

    def _nats(self, report: Tensor, code: Encoded) -> Tensor:
        """-log p(R) of framed reports (B, S), summed over the batch."""
        logits = self.network.decoder(report[:, :-1], code.memory, code.mask).float()
        following = report[:, 1:].flatten()
        return F.cross_entropy(logits.flatten(0, 1), following, ignore_index=PAD, reduction="sum")

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
        if config.part_clip:
            optimizer.register_step_pre_hook(lambda *_: clip_parts(self.network, config.part_clip))
        warm = max(1, round(config.warmup * steps))
        return scheduled(optimizer, schedule(steps, warm, config.schedule))

    def generate(self, inputs: Inputs) -> list[Prediction]:
        """Greedy or beam search with cached decoding; latents are posterior means."""
        decoding = Decoding(self.config.report_tokens, beams=self.config.num_beams)
        return [Prediction(report=text) for text in self._write(inputs, decoding)]

    def draw_reports(self, inputs: Inputs, draws: int) -> list[list[str]]:
        """Reports drawn word by word; latents are posterior means, and studies are encoded once."""
        seeds = draw_seeds(inputs.seeds, draws)
        limit, temperature = self.config.report_tokens, self.config.draw_temperature
        texts = self._write(inputs, Decoding(limit, seeds=seeds, temperature=temperature))
        return [texts[start : start + draws] for start in range(0, len(texts), draws)]

    def latent_vectors(self, inputs: Inputs) -> dict[str, Tensor]:
        """Posterior means z_v, z_l and z_s (B, D), NaN without their modality; what Figures 3 and 4 show."""
        code = self.network.encode(*self._read(inputs))
        here = (code.present[:, 0], code.present[:, 1], code.present.any(1))
        names = ("z_v", "z_l", "z_s")
        return {
            name: z.masked_fill(~there[:, None], float("nan"))
            for name, z, there in zip(names, code.latents or (), here, strict=False)
        }

    def attention_maps(self, inputs: Inputs, reports: Sequence[str]) -> list[WordAttention]:
        """Cross-attention on F_VL's image tokens; none with GPT-2, whose layers are its own."""
        decoder = self.network.decoder
        if not isinstance(decoder, (LlamaXDecoder, TransformerDecoder)):
            return []
        frozen, views, context, has_context = self._read(inputs)
        code = self.network.encode(frozen, views, context, has_context)
        report = self._framed(Targets(list(reports))).to(views.device)
        weights = cross_weights(
            decoder.cross_layers(), lambda: decoder(report[:, :-1], code.memory, code.mask)
        )
        words = [cut(self.info.words.split(text), self.config.report_words) for text in reports]
        count = self.network.vision.positions.shape[1]
        return of_words(words, Positions(1, views.shape[1], count).of(weights))

    def _write(self, inputs: Inputs, decoding: Decoding) -> list[str]:
        """Texts about a batch, each study encoded once."""
        code = self.network.encode(*self._read(inputs))
        words = write(self.network.decoder, code.memory, code.mask, decoding)
        rule, limit = self.vocabulary.words, self.config.report_words
        texts = map(self.vocabulary.decode, words.tolist())
        return [rule.join(cut(rule.split(text), limit)) for text in texts]

    def _read(self, inputs: Inputs) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """Batch to (output of ``frozen``, views present, context indices, context present)."""
        pixels, views = stacked_views(inputs, self.info.image_modalities)
        has_context = inputs.present.get(CONTEXT, torch.zeros_like(views[:, 0]))
        texts = inputs.context if CONTEXT in inputs.present else [None] * len(inputs)
        words = self._context_vocabulary.batch(texts, self.config.context_words, marks=False)
        words = words.to(pixels.device)
        frozen = self._cache(inputs.ids, lambda rows: self.network.frozen(pixels[rows], views[rows]), pixels)
        return frozen, views, words, has_context
