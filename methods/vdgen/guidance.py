"""Guidance by the image: words that the image makes more likely become more likely still."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor


class ImageGuidance(LogitsProcessor):
    """log p_0 + w (log p - log p_0) for each next token: p given the image, p_0 given none.

    Classifier-free guidance (Ho & Salimans 2021) of a language model (Sanchez et al. 2023). For greedy
    search: it takes the rows of a batch to stay in their order.
    """

    def __init__(self, llm: Any, weight: float, prompt: tuple[Tensor, Tensor]) -> None:
        """``prompt``: the vectors (B, P, D_t) of the prompt without an image, and bool (B, P)."""
        self.llm, self.weight = llm, weight
        start, self.mask = prompt
        self.start = start.to(llm.dtype)
        self.past: Any = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Tokens (B, t) so far and logits (B, V), in which forbidden tokens are -inf, to logits (B, V)."""
        if self.past is None:
            read: dict[str, Tensor] = {"inputs_embeds": self.start}
        else:
            self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)
            read = {"input_ids": input_ids[:, -1:]}
        output = self.llm(**read, attention_mask=self.mask.long(), past_key_values=self.past, use_cache=True)
        self.past = output.past_key_values
        without = output.logits[:, -1].float().log_softmax(-1)
        guided = without + self.weight * (scores.float().log_softmax(-1) - without)
        return guided.masked_fill(scores == float("-inf"), float("-inf"))
