"""R2Gen's base model behind the harness' interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.core.types import DatasetInfo, Inputs, Prediction, Study, Targets
from harness.core.words import frequent_words
from harness.method.attention import WordAttention
from harness.method.card import MethodCard
from harness.method.contract import FitRun
from harness.method.probes import Probe
from harness.method.torch_method import TorchMethod
from methods.common.attention import Positions, cross_weights, of_words
from methods.common.feature_cache import FeatureCache
from methods.common.generation import Decoding, draw_seeds, write
from methods.common.optim import Optimizer, rate_groups, schedule, scheduled
from methods.common.text import PAD, Vocabulary
from methods.common.views import complete_inputs, stacked_views
from methods.r2gen_base.card import CARD
from methods.r2gen_base.config import R2GenBaseConfig
from methods.r2gen_base.network import R2GenBaseNetwork

WORTH = 0.05
"""Nats per word that the right images save a decoder that reads them."""


class R2GenBase(TorchMethod[R2GenBaseConfig]):
    """R2Gen's base model behind the harness' interface."""

    card: ClassVar[MethodCard] = CARD
    Config = R2GenBaseConfig
    has_attention: ClassVar[bool] = True
    network: R2GenBaseNetwork

    def __init__(self, config: R2GenBaseConfig, info: DatasetInfo) -> None:
        super().__init__(config, info)
        self._cache = FeatureCache()

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """The vocabulary of the training reports."""
        reports = (self.info.words.split(study.report or "") for study in train)
        return {"words": frequent_words(reports, self.config.min_count)}

    def reference_artifacts(self) -> dict[str, Any]:
        """A stand-in vocabulary of 1,000 words."""
        return {"words": [f"word{number}" for number in range(996)]}

    def example_batch(self, batch_size: int = 1) -> tuple[Inputs, Targets]:
        """All views and a report of the longest length: what FLOPs are counted on."""
        inputs = complete_inputs(self.info, batch_size, self.config.image_size)
        return inputs, Targets([" ".join(["word1"] * self.config.report_words)] * batch_size)

    def build(self, artifacts: dict[str, Any]) -> R2GenBaseNetwork:
        """The network for a vocabulary."""
        self.vocabulary = Vocabulary(artifacts["words"], self.info.words)
        return R2GenBaseNetwork(len(self.vocabulary), self.config, len(self.info.image_modalities))

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """``TorchMethod.fit``; each study passes a frozen backbone only once."""
        with self._cache.keeping(self.config.backbone == "frozen-lite0"):
            super().fit(train, val, run)

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Cross-entropy of a word, in nats."""
        trunk, present = self._read(inputs)
        if self.network.training:
            hidden = torch.rand(present.shape, device=present.device) < self.config.view_dropout
            present = present & ~hidden
        ce = self._cross_entropy(self._framed(targets, trunk), *self.network.encode(trunk, present))
        return {"loss": ce, "select": ce}

    def probes(self, inputs: Inputs, targets: Targets) -> list[Probe]:
        """Whether the decoder reads the images of its study."""
        trunk, present = self._read(inputs)
        if len(present) < 2:
            return []
        report = self._framed(targets, trunk)
        memory, mask = self.network.encode(trunk, present)
        own = self._cross_entropy(report, memory, mask)
        other = self._cross_entropy(report, memory.roll(1, 0), mask.roll(1, 0))
        what = "cross-entropy with another study's images minus with the own, nats per word"
        return [Probe("encoder", what, float((other - own).detach()), 0.0, WORTH)]

    def optimizer(self, steps: int) -> Optimizer:
        """AdamW with AMSGrad; a trained backbone has a rate of its own."""
        config = self.config
        groups = rate_groups(
            self.network,
            config.learning_rate,
            config.weight_decay,
            pretrained=lambda name: name.startswith("vision."),
            factor=config.vision_rate,
        )
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, amsgrad=True, fused=True)
        return scheduled(optimizer, schedule(steps, 0, config.schedule))

    def generate(self, inputs: Inputs) -> list[Prediction]:
        """Greedy or beam search."""
        decoding = Decoding(self.config.report_words + 1, beams=self.config.num_beams)
        return [Prediction(report=text) for text in self._write(inputs, decoding)]

    def draw_reports(self, inputs: Inputs, draws: int) -> list[list[str]]:
        """Reports drawn word by word; studies are encoded once."""
        seeds = draw_seeds(inputs.seeds, draws)
        limit, temperature = self.config.report_words + 1, self.config.draw_temperature
        texts = self._write(inputs, Decoding(limit, seeds=seeds, temperature=temperature))
        return [texts[start : start + draws] for start in range(0, len(texts), draws)]

    def attention_maps(self, inputs: Inputs, reports: Sequence[str]) -> list[WordAttention]:
        """The decoder's attention on the encoded patches."""
        trunk, present = self._read(inputs)
        memory, mask = self.network.encode(trunk, present)
        report = self._framed(Targets(list(reports)), trunk)
        decoder = self.network.decoder
        weights = cross_weights(decoder.cross_layers(), lambda: decoder(report[:, :-1], memory, mask))
        words = [self.info.words.split(text)[: self.config.report_words] for text in reports]
        views = present.shape[1]
        return of_words(words, Positions(1, views, (memory.shape[1] - 1) // views).of(weights))

    def _framed(self, targets: Targets, like: Tensor) -> Tensor:
        return self.vocabulary.batch(targets.reports, self.config.report_words, framed=True).to(like.device)

    def _cross_entropy(self, report: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Mean over the words of framed reports (B, S)."""
        logits = self.network.decoder(report[:, :-1], memory, mask).float()
        return F.cross_entropy(logits.flatten(0, 1), report[:, 1:].flatten(), ignore_index=PAD)

    def _write(self, inputs: Inputs, decoding: Decoding) -> list[str]:
        memory, mask = self.network.encode(*self._read(inputs))
        words = write(self.network.decoder, memory, mask, decoding)
        return [self.vocabulary.decode(row) for row in words.tolist()]

    def _read(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Batch to (output of ``vision.frozen``, bool (B, N) views present)."""
        images, present = stacked_views(inputs, self.info.image_modalities)

        def frozen(rows: list[int]) -> list[Tensor]:
            return [self.network.vision.frozen(images[rows], present[rows])]

        return self._cache(inputs.ids, frozen, images)[0], present
