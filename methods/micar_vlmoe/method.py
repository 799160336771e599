"""MicarVLMoE behind the harness' interface: losses, optimiser, decoding, routing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.errors import HarnessError
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
from methods.common.optim import Optimizer, schedule, scheduled
from methods.common.text import BOS, PAD, Vocabulary
from methods.common.views import complete_inputs, stacked_views
from methods.micar_vlmoe.card import CARD
from methods.micar_vlmoe.config import MicarConfig
from methods.micar_vlmoe.losses import balancing
from methods.micar_vlmoe.network import MicarNetwork
from methods.micar_vlmoe.probes import Reports, expert_probes, image_probes
from methods.micar_vlmoe.routing import Routing


class MicarVLMoE(TorchMethod[MicarConfig]):
    """MicarVLMoE behind the harness' interface."""

    card: ClassVar[MethodCard] = CARD
    Config = MicarConfig
    peer: ClassVar[str] = "methods.micar_vlmoe.official"
    has_experts: ClassVar[bool] = True
    has_attention: ClassVar[bool] = True
    network: MicarNetwork

    def __init__(self, config: MicarConfig, info: DatasetInfo) -> None:
        super().__init__(config, info)
        self._cache = FeatureCache()

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """The vocabulary of the training reports."""
        reports = (self.info.words.split(study.report or "") for study in train)
        return {"words": frequent_words(reports, self.config.min_count)}

    def reference_artifacts(self) -> dict[str, Any]:
        """A stand-in vocabulary of 1,000 words, at which the published size was counted."""
        return {"words": [f"word{number}" for number in range(996)]}

    def example_batch(self, batch_size: int = 1) -> tuple[Inputs, Targets]:
        """One view, as the paper has it, and a full-length report: what FLOPs are counted on."""
        inputs = complete_inputs(self.info, batch_size, self.config.image_size)
        return inputs, Targets([" ".join(["word1"] * (self.config.report_words - 1))] * batch_size)

    def build(self, artifacts: dict[str, Any]) -> MicarNetwork:
        """The network for a vocabulary."""
        self.vocabulary = Vocabulary(artifacts["words"], self.info.words)
        return MicarNetwork(len(self.vocabulary), self.config, len(self.info.image_modalities))

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """``TorchMethod.fit``; with ``keep_maps`` each study passes the frozen backbone only once."""
        with self._cache.keeping(self.config.keep_maps):
            super().fit(train, val, run)

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Total loss (Eq. 7) and its parts; ``select`` is the report's cross-entropy."""
        network, config = self.network, self.config
        image, mask = self._encoded(inputs)
        report = self.vocabulary.batch(targets.reports, config.report_words, framed=True).to(image.device)
        words = report[:, :-1]
        logits, routes = network.decoder(words, image, mask, words != PAD)
        ce = F.cross_entropy(logits.float().flatten(0, 1), report[:, 1:].flatten(), ignore_index=PAD)
        if not routes:
            return {"loss": ce, "ce": ce, "select": ce}
        balance = torch.stack([balancing(route.scores) for route in routes]).mean()
        parts = {"ce": ce, "balance": balance, "select": ce}
        return {"loss": sum(self.loss_terms(parts).values(), ce.new_zeros(()))} | parts  # Eq. (7)

    def loss_terms(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy of the report, and the balancing loss where there are experts."""
        terms = {"report": losses["ce"]}
        if "balance" in losses:
            terms["balance"] = self.config.balance * losses["balance"]
        return terms

    def probes(self, inputs: Inputs, targets: Targets) -> list[Probe]:
        """Vital signs of the image's way into the decoder and of its experts."""
        image, mask = self._encoded(inputs)
        indices = self.vocabulary.batch(targets.reports, self.config.report_words, framed=True)
        reports = Reports(self.network.decoder, indices.to(image.device))
        probes = list(image_probes(reports, image, mask, len(self.info.image_modalities)))
        # The studies' features are cached by now, as they are with all views.
        nothing = {view: torch.zeros_like(here) for view, here in inputs.present.items()}
        _, full = reports.read(image, mask)
        _, blind = reports.read(*self._encoded(replace(inputs, present=nothing)))
        return probes + list(expert_probes(full, blind, self.config.top_k))

    def optimizer(self, steps: int) -> Optimizer:
        """AdamW with AMSGrad; the vision encoder has a rate of its own."""
        config = self.config
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                groups[name.startswith("vision.")].append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {"params": parameters, "lr": config.learning_rate * (config.vision_rate if vision else 1.0)}
                for vision, parameters in groups.items()
                if parameters
            ],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            amsgrad=True,
            fused=True,
        )
        return scheduled(optimizer, schedule(steps, 0, config.schedule))

    def generate(self, inputs: Inputs) -> list[Prediction]:
        """Greedy or beam search; attention is cached in latent width."""
        return [Prediction(report=self.vocabulary.decode(row)) for row in self._search(inputs).tolist()]

    def draw_reports(self, inputs: Inputs, draws: int) -> list[list[str]]:
        """Reports drawn word by word; studies are encoded once."""
        seeds = draw_seeds(inputs.seeds, draws)
        limit, temperature = self.config.report_words + 1, self.config.draw_temperature
        words = self.search(*self._encoded(inputs), Decoding(limit, seeds=seeds, temperature=temperature))
        texts = [self.vocabulary.decode(row) for row in words.tolist()]
        return [texts[start : start + draws] for start in range(0, len(texts), draws)]

    def routing(self, inputs: Inputs) -> list[Routing]:
        """Generate each study's report and say which experts its words passed.

        Raises:
            HarnessError: the variant without experts.
        """
        if not self.config.moe:
            raise HarnessError(f"{self.card.name}: a network without experts has no routing")
        self.network.eval()
        inputs = inputs.to(next(self.network.parameters()).device)
        with torch.inference_mode():
            reports = self._search(inputs)
            image, mask = self._encoded(inputs)
            start = torch.full_like(reports[:, :1], BOS)
            _, routes = self.network.decoder(torch.cat([start, reports], dim=1), image, mask)
        stacked = [
            torch.stack(
                [getattr(route, name).unflatten(0, (len(reports), -1))[:, 1:] for route in routes], dim=1
            )
            for name in ("experts", "weights", "scores")
        ]
        result = []
        for row, name in enumerate(inputs.ids):
            words = self.vocabulary.decode(reports[row].tolist()).split()
            arrays = [values[row, :, : len(words)].cpu().numpy() for values in stacked]
            result.append(Routing(name, words, *arrays))
        return result

    def attention_maps(self, inputs: Inputs, reports: Sequence[str]) -> list[WordAttention]:
        """Attention of gated fusion on the image tokens (Eq. 5: I_att)."""
        image, mask = self._encoded(inputs)
        decoder, limit = self.network.decoder, self.config.report_words
        indices = self.vocabulary.batch(reports, limit, framed=True).to(image.device)[:, :-1]
        weights = cross_weights(decoder.cross_layers(), lambda: decoder(indices, image, mask, indices != PAD))
        words = [self.info.words.split(text)[:limit] for text in reports]
        views = len(self.info.image_modalities)
        return of_words(words, Positions(0, views, (image.shape[1] - 1) // views).of(weights))

    def search(self, image: Tensor, mask: Tensor, decoding: Decoding) -> Tensor:
        """Image tokens (B, T, E) and bool (B, T) to word indices (B, <= limit), padded after the end mark."""
        return write(self.network.decoder, image, mask, decoding)

    def _search(self, inputs: Inputs) -> Tensor:
        """Word indices (B, <= report_words + 1), padded after the end mark."""
        decoding = Decoding(self.config.report_words + 1, beams=self.config.num_beams)
        return self.search(*self._encoded(inputs), decoding)

    def _encoded(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Image tokens (B, T, E) and bool (B, T) of a batch."""
        images, present = stacked_views(inputs, self.info.image_modalities)
        vision = self.network.vision

        def trunk(rows: list[int]) -> list[Tensor]:
            return vision.trunk(images[rows], present[rows])

        return self.network.encode(self._cache(inputs.ids, trunk, images), present)
