"""VDGen: visual and diagnostic representations calibrated for radiology report generation (anonymous ACL
submission).

The paper links no code. Its recipe (Swin-B, Llama-2-7B-chat, image vectors inside a prompt) is R2GenGPT's
(Wang et al. 2023, https://github.com/wang-zhanyu/R2GenGPT); new are VSE and DID.
Symbols: I^e encoded image, h its mean, z^v, z^img, z^text what VSE and DID compare, T report tokens.
Shapes: batch B, views N, vectors a view S, their width D, report tokens T, language model's width D_t.

Deviations from the paper, or choices where it is silent, are ``VDGen.card.deviations``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Inputs, Prediction, Study, Targets, Task
from harness.core.weights import model_folder
from harness.method.card import Deviation, MethodCard
from harness.method.contract import FitRun
from harness.method.torch_method import TorchMethod
from methods.common.feature_cache import FeatureCache
from methods.common.generation import GumbelNoise, draw_seeds
from methods.common.optim import Optimizer, decay_groups, schedule, scheduled
from methods.common.pixels import resized
from methods.common.views import complete_inputs, stacked_views
from methods.vdgen.config import BASE, DEVIATIONS, TINY, VARIANTS, VDGenConfig
from methods.vdgen.language import ReportTokenizer, adapted, random_llama, train_tokenizer
from methods.vdgen.pretrained import FILES, fingerprint, load_llm, load_tokenizer
from methods.vdgen.vision import ENCODERS, DiseaseInformationDistillation, VisionSelfEquilibration

CARD = MethodCard(
    name="vdgen",
    title="VDGen",
    paper="VDGen, anonymous ACL submission",
    licence="Apache-2.0",
    tasks=frozenset({Task.REPORT}),
    reads=frozenset({"frontal", "lateral"}),
    presets={"tiny": TINY, "base": BASE, "paper": {}},
    variants=VARIANTS,
    samples=True,
    deviations=tuple(Deviation(where, chosen) for where, chosen in DEVIATIONS),
)


class VDGenNetwork(nn.Module):
    """Visual encoder, VSE, DID, and the language model that reads the prompt (Fig. 2).

    Its state dict leaves out the weights of a pretrained language model that do not train.
    """

    before: Tensor
    after: Tensor

    def __init__(
        self, config: VDGenConfig, views: int, llm: Any, prompt: tuple[list[int], list[int]], borrowed: bool
    ) -> None:
        super().__init__()
        self.config = config
        self.vision = ENCODERS[config.vision](config, views)
        width = self.vision.width
        self.norm = nn.LayerNorm(width)
        self.llm: Any = llm
        self.text_width: int = llm.config.hidden_size
        if config.vse:
            self.vse = VisionSelfEquilibration(width, config.vse_width, config.temperature)
        if config.did:
            self.did = DiseaseInformationDistillation(self.text_width, width, config.temperature)
        self.project = nn.Linear(width, self.text_width)
        self.views = nn.Parameter(torch.zeros(views, width), requires_grad=views > 1)
        self.null = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("before", torch.tensor(prompt[0]), persistent=False)
        self.register_buffer("after", torch.tensor(prompt[1]), persistent=False)
        frozen = {f"llm.{name}" for name, p in llm.named_parameters() if not p.requires_grad}
        self.borrowed = frozen if borrowed else set()
        self.register_state_dict_post_hook(_leave_out)
        self.register_load_state_dict_post_hook(_do_not_miss)

    def encode(self, features: Tensor, present: Tensor) -> Tensor:
        """What ``vision.frozen`` gives, and bool (B, N), to I^e (B, N, S, D)."""
        return self.norm(self.vision(features, present))

    def prompt(self, encoded: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """The prompt with image vectors: (B, P, D_t), and bool (B, P), False on the padding at its left."""
        size, tokens = len(encoded), encoded.shape[2]
        seen = torch.cat(
            [self.null.expand(size, 1, -1), (encoded + self.views[:, None]).flatten(1, 2)], dim=1
        )
        embed, image = self.llm.get_input_embeddings(), self.project(seen)
        parts = [embed(ids).expand(size, -1, -1).to(image.dtype) for ids in (self.before, self.after)]
        whole = torch.cat([parts[0], image, parts[1]], dim=1)
        fixed = torch.ones(size, 1, dtype=torch.bool, device=whole.device)
        mask = torch.cat(
            [
                fixed.expand(-1, len(self.before)),
                ~present.any(1, keepdim=True),
                present.repeat_interleave(tokens, dim=1),
                fixed.expand(-1, len(self.after)),
            ],
            dim=1,
        )
        order = mask.to(torch.uint8).argsort(dim=1, stable=True)
        if not mask.is_meta:
            order = order[:, -int(mask.sum(1).max()) :]
        return whole.gather(1, order[..., None].expand(-1, -1, whole.shape[-1])), mask.gather(1, order)

    def logits(self, encoded: Tensor, present: Tensor, report: Tensor, said: Tensor) -> Tensor:
        """Logits of a report's tokens, each given the prompt and the tokens before it.

        Args:
            encoded: I^e (B, N, S, D); present: bool (B, N).
            report: tokens (B, T); said: bool (B, T), M of them True, where they are no padding.

        Returns:
            (M, V).
        """
        start, mask = self.prompt(encoded, present)
        words = self.llm.get_input_embeddings()(report[:, :-1]).to(start.dtype)
        mask = torch.cat([mask, torch.ones_like(said[:, 1:])], dim=1)
        length = mask.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
        alone = torch.eye(length, dtype=torch.bool, device=mask.device)  # padding attends to itself: no NaN
        hidden = self.llm.get_decoder()(
            inputs_embeds=torch.cat([start, words], dim=1).to(self.llm.dtype),
            attention_mask=((causal & mask[:, None]) | alone)[:, None],
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state[:, -report.shape[1] :]
        last = hidden.flatten(0, 1) if said.is_meta else hidden[said]
        return self.llm.get_output_embeddings()(last)  # Eq. (1), Eq. (7)

    @torch.no_grad()
    def teacher(self, report: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, T) and bool (B, T) to report vectors (B, D_t) that no gradient leaves."""
        if self.config.teacher == "embeddings":
            vectors = self.llm.get_input_embeddings()(report)
        else:
            adapters_off = getattr(self.llm, "disable_adapter", nullcontext)
            with adapters_off():
                attend = torch.ones(*report.shape, report.shape[1], dtype=torch.bool, device=report.device)
                vectors = self.llm.get_decoder()(
                    input_ids=report, attention_mask=attend.tril()[:, None], use_cache=False
                ).last_hidden_state
        return mean_of(vectors.float(), mask)


def mean_of(vectors: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, S, D) over the positions where bool (B, S) holds; zeros where it never does."""
    weights = mask[..., None].to(vectors.dtype)
    return (vectors * weights).sum(1) / weights.sum(1).clamp(min=1)


def _leave_out(network: VDGenNetwork, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in network.borrowed:
        state.pop(prefix + name, None)


def _do_not_miss(network: VDGenNetwork, keys: Any) -> None:
    keys.missing_keys[:] = [
        key for key in keys.missing_keys if "llm." + key.partition("llm.")[2] not in network.borrowed
    ]


class VDGen(TorchMethod[VDGenConfig]):
    """VDGen behind the harness' interface."""

    card: ClassVar[MethodCard] = CARD
    Config = VDGenConfig
    network: VDGenNetwork

    def __init__(self, config: VDGenConfig, info: DatasetInfo) -> None:
        super().__init__(config, info)
        self._cache = FeatureCache()

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """The pretrained language model's name and fingerprint, or a tokenizer of the training reports."""
        if self.config.llm:
            folder = model_folder(self.config.llm, "vdgen.llm", FILES)
            return {"llm": self.config.llm, "fingerprint": fingerprint(folder)}
        reports = [study.report for study in train if study.report]
        serialised = train_tokenizer(reports, self.config.llm_vocabulary)
        return {"tokenizer": serialised, "vocabulary": len(ReportTokenizer.of(serialised))}

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
            self.tokenizer = ReportTokenizer(load_tokenizer(folder))
            llm = load_llm(folder, config.llm_dtype)
        else:
            self.tokenizer = ReportTokenizer.of(artifacts["tokenizer"])
            llm = random_llama(config, artifacts["vocabulary"], self.tokenizer)
        llm.generation_config = self.tokenizer.search(config, config.num_beams)
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
        report, said = (
            x.to(features.device) for x in self.tokenizer.batch(targets.reports, config.report_tokens)
        )
        encoded = network.encode(features, present)
        truth = report.flatten() if said.is_meta else report[said]
        logits = network.logits(encoded, present, report, said).float()
        parts = {"report": F.cross_entropy(logits, truth)}  # Eq. (2)
        rows, tokens = present.any(1), present.repeat_interleave(encoded.shape[2], dim=1)
        h = mean_of(encoded.flatten(1, 2), tokens)
        if config.vse:
            other = (
                network.norm(network.vision.second_view(features, present)) if network.training else encoded
            )
            parts["vse"] = network.vse(h, mean_of(other.flatten(1, 2), tokens), rows)
        if config.did:
            told = said.sum(1) > 1
            parts["did"] = network.did(h, network.teacher(report, said), rows & told)
        total = sum(parts.values(), torch.zeros_like(parts["report"]))
        return {"loss": total, **parts, "select": parts["report"]}  # Eq. (8)

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
        """Greedy or beam search from the prompt, with a key-value cache."""
        start, mask = self._prompted(inputs)
        return [Prediction(report=text) for text in self._written(start, mask, self.config.num_beams)]

    def draw_reports(self, inputs: Inputs, draws: int) -> list[list[str]]:
        """Reports drawn token by token, each from its own seed; images are encoded once."""
        start, mask = (x.repeat_interleave(draws, dim=0) for x in self._prompted(inputs))
        noise = GumbelNoise(draw_seeds(inputs.seeds, draws), self.config.draw_temperature)
        texts = self._written(start, mask, 1, noise)
        return [texts[first : first + draws] for first in range(0, len(texts), draws)]

    def _prompted(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        features, present = self._read(inputs)
        return self.network.prompt(self.network.encode(features, present), present)

    def _written(self, start: Tensor, mask: Tensor, beams: int, *processors: GumbelNoise) -> list[str]:
        """Reports that follow the prompts (B, P, D_t) with bool (B, P)."""
        found = self.network.llm.generate(
            inputs_embeds=start.to(self.network.llm.dtype),
            attention_mask=mask.long(),
            generation_config=self.tokenizer.search(self.config, beams),
            logits_processor=list(processors),
        )
        return [self.tokenizer.decode(row) for row in found.tolist()]

    def _read(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Batch to (what ``vision.frozen`` gives, bool (B, N) views present)."""
        images, present = stacked_views(inputs, self.info.image_modalities)

        def compute(rows: list[int]) -> list[Tensor]:
            chosen = images if len(rows) == len(images) else images[rows]
            views = present if len(rows) == len(images) else present[rows]
            return [self.network.vision.frozen(resized(chosen, self.config.image_size), views)]

        return self._cache(inputs.ids, compute, images)[0], present
