"""VDGen behind the harness' interface: tokenizer and language model, losses, optimiser, decoding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LogitsProcessor

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Inputs, Prediction, Study, Targets
from harness.core.weights import model_folder
from harness.method.attention import WordAttention
from harness.method.card import MethodCard
from harness.method.contract import FitRun
from harness.method.probes import Probe
from harness.method.torch_method import TorchMethod
from methods.common.attention import Positions, of_words
from methods.common.feature_cache import FeatureCache
from methods.common.generation import Decoding, GumbelNoise, draw_seeds
from methods.common.optim import Optimizer, decay_groups, schedule, scheduled
from methods.common.pixels import resized
from methods.common.views import complete_inputs, stacked_views
from methods.vdgen.card import CARD
from methods.vdgen.config import VDGenConfig
from methods.vdgen.guidance import ImageGuidance
from methods.vdgen.language import (
    ReportTokenizer,
    adapted,
    random_llama,
    train_tokenizer,
    without_penalty_note,
)
from methods.vdgen.network import VDGenNetwork, mean_of
from methods.vdgen.pretrained import FILES, fingerprint, load_llm, load_tokenizer
from methods.vdgen.probes import ProbeBatch, probes


class VDGen(TorchMethod[VDGenConfig]):
    """VDGen behind the harness' interface."""

    card: ClassVar[MethodCard] = CARD
    Config = VDGenConfig
    has_attention: ClassVar[bool] = True
    network: VDGenNetwork

    def __init__(self, config: VDGenConfig, info: DatasetInfo) -> None:
        super().__init__(config, info)
        self._cache = FeatureCache()

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """The pretrained language model's name and fingerprint, or a tokenizer of the training reports."""
        if self.config.llm:
            folder = model_folder(self.config.llm, "vdgen.llm", FILES)
            return {"llm": self.config.llm, "fingerprint": fingerprint(folder)}
        words = self.info.words
        reports = (words.join(words.split(study.report)) for study in train if study.report)
        serialised = train_tokenizer(reports, self.config.llm_vocabulary)
        return {"tokenizer": serialised, "vocabulary": len(ReportTokenizer.of(serialised, words))}

    def reference_artifacts(self) -> dict[str, Any]:
        """Sizes without weights: the configured vocabulary; each half of the prompt is one token."""
        return {"tokenizer": train_tokenizer(["report"] * 2, 1000), "vocabulary": self.config.llm_vocabulary}

    def example_batch(self, batch_size: int = 1) -> tuple[Inputs, Targets]:
        """All views and a report of the longest length: what FLOPs are counted on."""
        inputs = complete_inputs(self.info, batch_size, self.config.image_size)
        return inputs, Targets([" ".join(["report"] * self.config.report_tokens)] * batch_size)

    def build(self, artifacts: dict[str, Any]) -> VDGenNetwork:
        """The network around the pretrained language model, or around a small one from scratch.

        Raises:
            UnavailableError: a pretrained model is absent.
            HarnessError: it is broken, or not the one that the artifacts name.
        """
        config = self.config
        if "llm" in artifacts:
            folder = model_folder(config.llm or artifacts["llm"], "vdgen.llm", FILES)
            if fingerprint(folder) != artifacts["fingerprint"]:
                raise HarnessError(
                    f"{folder}: not the language model of this checkpoint", f"it was {artifacts['llm']}"
                )
            self.tokenizer = ReportTokenizer(load_tokenizer(folder), self.info.words)
            llm = load_llm(folder, config.llm_dtype)
        else:
            self.tokenizer = ReportTokenizer.of(artifacts["tokenizer"], self.info.words)
            llm = random_llama(config, artifacts["vocabulary"], self.tokenizer)
        llm.generation_config = self.tokenizer.search(self._decoding())
        views = len(self.info.image_modalities)
        return VDGenNetwork(config, views, adapted(llm, config), self.tokenizer.prompt(), "llm" in artifacts)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """``TorchMethod.fit``; with ``keep_features`` each study passes the frozen layers only once."""
        with self._cache.keeping(self.config.keep_features):
            super().fit(train, val, run)

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Total loss and its parts; ``select`` is the report's cross-entropy."""
        network, config = self.network, self.config
        features, present = self._read(inputs)
        if network.training:
            present = present & (torch.rand(present.shape, device=present.device) >= config.view_dropout)
        report, mask = (
            x.to(features.device) for x in self.tokenizer.batch(targets.reports, config.report_tokens)
        )
        encoded = network.encode(features, present)
        truth = report.flatten() if mask.is_meta else report[mask]
        logits = network.logits(encoded, present, report, mask).float()
        parts = {"report": F.cross_entropy(logits, truth)}  # Eq. (2)
        rows, tokens = present.any(1), present.repeat_interleave(encoded.shape[2], dim=1)
        h = mean_of(encoded.flatten(1, 2), tokens)
        if config.vse:
            second = None
            if config.vse_pairs == "second view":
                other = network.norm(network.vision.second_view(features, present))
                second = mean_of(other.flatten(1, 2), tokens)
            parts["vse"] = network.vse(h, second, rows)
        if config.did:
            has_report = mask.sum(1) > 1
            text = network.teacher(*self.tokenizer.begun(report, mask))
            parts["did"] = network.did(h, text, rows & has_report)
        total = sum(parts.values(), torch.zeros_like(parts["report"]))
        return {"loss": total, **parts, "select": parts["report"]}  # Eq. (8)

    def loss_terms(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of Eq. 8."""
        return {name: losses[name] for name in ("report", "vse", "did") if name in losses}

    def probes(self, inputs: Inputs, targets: Targets) -> list[Probe]:
        """VSE, DID, the image in the prompt, LoRA (``methods.vdgen.probes``)."""
        features, present = self._read(inputs)
        tokens = self.tokenizer.batch(targets.reports, self.config.report_tokens)
        report, mask = (each.to(features.device) for each in tokens)
        text = self.network.teacher(*self.tokenizer.begun(report, mask))
        return list(probes(self.network, ProbeBatch(features, present, report, mask, text)))

    def optimizer(self, steps: int) -> Optimizer:
        """AdamW without decay of vectors; linear warm-up, then cosine or linear to 0."""
        config = self.config
        groups = decay_groups(self.network.parameters(), config.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
        warm = round(config.warmup * steps)
        line = schedule(steps, warm, "linear")

        def half_cosine(step: int) -> float:
            return line(step) if step < warm else 0.5 * (1 - math.cos(math.pi * line(step)))

        return scheduled(optimizer, line if config.schedule == "linear" else half_cosine)

    def generate(self, inputs: Inputs) -> list[Prediction]:
        """Greedy or beam search from the prompt, with a key-value cache; greedy search may be guided."""
        encoded, present = self._encoded(inputs)
        guides = []
        if self.config.image_guidance != 1.0:
            blind = self.network.prompt(encoded, torch.zeros_like(present))
            guides = [ImageGuidance(self.network.llm, self.config.image_guidance, blind)]
        prompt = self.network.prompt(encoded, present)
        return [Prediction(report=text) for text in self._written(*prompt, self._decoding(), *guides)]

    def draw_reports(self, inputs: Inputs, draws: int) -> list[list[str]]:
        """Reports drawn token by token, each from its own seed; images are encoded once."""
        prompt = self.network.prompt(*self._encoded(inputs))
        start, mask = (x.repeat_interleave(draws, dim=0) for x in prompt)
        noise = GumbelNoise(draw_seeds(inputs.seeds, draws), self.config.draw_temperature)
        texts = self._written(start, mask, Decoding(self.config.report_tokens + 1), noise)
        return [texts[first : first + draws] for first in range(0, len(texts), draws)]

    def attention_maps(self, inputs: Inputs, reports: Sequence[str]) -> list[WordAttention]:
        """The language model's attention on the prompt's image tokens, without guidance."""
        encoded, present = self._encoded(inputs)
        tokens, mask = self.tokenizer.batch(reports, self.config.report_tokens)
        weights = self.network.image_attention(encoded, present, tokens.to(encoded.device))
        pieces = [
            [self.tokenizer.decode([token]) for token in row[:count]]
            for row, count in zip(tokens.tolist(), (mask.sum(1) - 1).tolist(), strict=True)
        ]
        return of_words(pieces, Positions(0, *encoded.shape[1:3]).of(weights))

    def _encoded(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """I^e (B, N, S, D) of a batch, and bool (B, N)."""
        features, present = self._read(inputs)
        return self.network.encode(features, present), present

    def _decoding(self) -> Decoding:
        config = self.config
        return Decoding(
            config.report_tokens + 1,
            beams=config.num_beams,
            min_new_tokens=config.min_new_tokens,
            repetition_penalty=config.repetition_penalty,
            length_penalty=config.length_penalty,
            no_repeat_ngram=config.no_repeat_ngram,
        )

    def _written(
        self, start: Tensor, mask: Tensor, decoding: Decoding, *processors: LogitsProcessor
    ) -> list[str]:
        """Reports that follow the prompts (B, P, D_t) with bool (B, P)."""
        with without_penalty_note():
            tokens = self.network.llm.generate(
                inputs_embeds=start.to(self.network.llm.dtype),
                attention_mask=mask.long(),
                generation_config=self.tokenizer.search(decoding),
                logits_processor=list(processors),
            )
        return [self.tokenizer.decode(row) for row in tokens.tolist()]

    def _read(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Batch to (what ``vision.frozen`` gives, bool (B, N) views present)."""
        images, present = stacked_views(inputs, self.info.image_modalities)

        def compute(rows: list[int]) -> list[Tensor]:
            chosen = images if len(rows) == len(images) else images[rows]
            views = present if len(rows) == len(images) else present[rows]
            return [self.network.vision.frozen(resized(chosen, self.config.image_size), views)]

        return self._cache(inputs.ids, compute, images)[0], present
