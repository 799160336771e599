"""VDGen's whole network: the prompt with image vectors, and the language model that continues it (Fig. 2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from methods.vdgen.config import VDGenConfig
from methods.vdgen.losses import DiseaseInformationDistillation, VisionSelfEquilibration
from methods.vdgen.vision import ENCODERS


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
        vectors = torch.cat(
            [self.null.expand(size, 1, -1), (encoded + self.views[:, None]).flatten(1, 2)], dim=1
        )
        embed, image = self.llm.get_input_embeddings(), self.project(vectors)
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

    def logits(self, encoded: Tensor, present: Tensor, report: Tensor, tokens_present: Tensor) -> Tensor:
        """Logits of a report's tokens, each given the prompt and the tokens before it.

        Args:
            encoded: I^e (B, N, S, D); present: bool (B, N).
            report: tokens (B, T); tokens_present: bool (B, T), M of them True, where they are no padding.

        Returns:
            (M, V).
        """
        read = self._continued(*self.prompt(encoded, present), report)
        hidden = self.llm.get_decoder()(**read, use_cache=False).last_hidden_state[:, -report.shape[1] :]
        last = hidden.flatten(0, 1) if tokens_present.is_meta else hidden[tokens_present]
        return self.llm.get_output_embeddings()(last)  # Eq. (1), Eq. (7)

    def _continued(self, start: Tensor, mask: Tensor, report: Tensor) -> dict[str, Tensor]:
        """What the language model reads where a report (B, T) follows the prompt, without its last token."""
        words = self.llm.get_input_embeddings()(report[:, :-1]).to(start.dtype)
        mask = torch.cat([mask, torch.ones_like(report[:, 1:], dtype=torch.bool)], dim=1)
        length = mask.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
        alone = torch.eye(length, dtype=torch.bool, device=mask.device)  # padding attends to itself: no NaN
        return {
            "inputs_embeds": torch.cat([start, words], dim=1).to(self.llm.dtype),
            "attention_mask": ((causal & mask[:, None]) | alone)[:, None],
            "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
        }

    def image_attention(self, encoded: Tensor, present: Tensor, report: Tensor) -> Tensor:
        """Self-attention (B, T, N S) of the places that a report's tokens are written at on the image tokens.

        Mean over the language model's heads and layers; 0 for views that are not there.

        Args:
            encoded: I^e (B, N, S, D); present: bool (B, N); report: tokens (B, T).
        """
        start, mask = self.prompt(encoded, present)
        read = self._continued(start, mask, report)
        allowed = read["attention_mask"]
        lowest = torch.finfo(self.llm.dtype).min
        read["attention_mask"] = torch.zeros_like(allowed, dtype=self.llm.dtype).masked_fill(~allowed, lowest)
        with eager(self.llm.get_decoder()) as decoder:
            layers = decoder(**read, use_cache=False, output_attentions=True).attentions
        weights = torch.stack([layer.float().mean(1) for layer in layers]).mean(0)[:, -report.shape[1] :]
        there = present.repeat_interleave(encoded.shape[2], dim=1)
        end = start.shape[1] - len(self.after)
        result = weights.new_zeros(*weights.shape[:2], there.shape[1])
        for row, places in enumerate(there):
            count = int(places.sum())
            result[row][:, places] = weights[row][:, end - count : end]
        return result

    @torch.no_grad()
    def teacher(self, report: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, T), the begin mark first, to report vectors (B, D_t) that no gradient leaves.

        The mean runs over the positions where bool (B, T) holds. The begin mark is read and does not count: a
        language model was trained to find it there, and its own state is that of no word.
        """
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


@contextmanager
def eager(model: Any) -> Iterator[Any]:
    """A model of transformers with attention that gives its weights, for as long as the context lasts."""
    former = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield model
    finally:
        model.set_attn_implementation(former)


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
