"""The frozen transformer with what learns under missing modalities: prompts, pooler, classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.missing_prompts.config import MissingPromptsConfig
from methods.missing_prompts.transformer import Transformer


class MissingPromptsNetwork(nn.Module):
    """Transformer, prompts of each missing case, pooler and classifier.

    Modalities are numbered: views in the dataset's order, then the context. A missing case is the set of
    modalities that a study has; M modalities have 2^M - 1 of them.
    """

    prior: Tensor
    powers: Tensor

    def __init__(
        self, config: MissingPromptsConfig, views: int, pieces: list[int] | None, prior: Tensor
    ) -> None:
        """``pieces``: as for ``Transformer``; ``prior``: logits (L,) of the training label frequencies."""
        super().__init__()
        modalities, width = views + (pieces is not None), config.width
        self.transformer = Transformer(config, views, pieces)
        self.level = config.prompts
        last = nn.Linear(2 * width, len(prior))
        last.bias.data.copy_(prior)
        self.pooler = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.classifier = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.LayerNorm(2 * width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            last,
        )
        self.register_buffer("prior", prior)
        self.register_buffer("powers", 2 ** torch.arange(modalities), persistent=False)
        # Last, so that a seed's first stage is the same for all kinds of prompts.
        self.prompts: nn.Parameter | None = None
        if config.prompts != "none":
            layers = min(config.prompt_layers, config.depth)
            self.prompts = nn.Parameter(torch.empty(2**modalities - 1, layers, config.prompt_length, width))
            nn.init.normal_(self.prompts, std=0.02)
        self.freeze(True)

    def freeze(self, frozen: bool) -> None:
        """Second stage (True): all learns but the transformer. First stage (False): all but the prompts."""
        self.frozen = frozen
        self.transformer.requires_grad_(not frozen)
        for part in self.transformer.fixed_parts():
            part.requires_grad_(False)
        if self.prompts is not None:
            self.prompts.requires_grad_(frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> MissingPromptsNetwork:
        """The frozen transformer stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.transformer.eval()
        return self

    def cases(self, present: Tensor) -> Tensor:
        """Bool (B, M) of all modalities to the number of the missing case (B,); without any, to the first."""
        return ((present.long() * self.powers).sum(1) - 1).clamp(min=0)

    def forward(
        self, trunk: Tensor, present: Tensor, rows: Tensor | None, cases: Tensor | None = None
    ) -> Tensor:
        """Logits (B, L).

        Args:
            trunk: output of ``transformer.images.trunk`` (B, N, ...).
            present: bool (B, M), of all modalities.
            rows: the context's words as rows of the table (B, S); None without words.
            cases: whose prompts are read (B,), None for the studies' own. In the first stage none are read.
        """
        if rows is not None:
            rows = rows * present[:, -1:]
        sequence = self.transformer.embed(trunk, present[:, : trunk.shape[1]], rows)
        prompts = None
        if self.prompts is not None and self.frozen:
            prompts = self.prompts[self.cases(present) if cases is None else cases]
        logits = self.classifier(self.pooler(self.transformer(sequence, prompts, self.level)))
        return torch.where(present.any(1, keepdim=True), logits, self.prior)


def other_cases(present: Tensor, rate: float) -> Tensor:
    """Bool (B, M) in which studies lose some of their modalities with probability ``rate``, and keep some.

    What is lost is drawn evenly from all sets that take something and leave something.
    """
    count = present.shape[1]
    if not rate or count < 2:
        return present
    subsets = torch.arange(1, 2**count, device=present.device)
    kept = (subsets[:, None] >> torch.arange(count, device=present.device)) & 1 == 1
    # Weight 1 for each proper, non-empty subset of what a study has.
    inside = ~(kept[None] & ~present[:, None]).any(2)
    proper = inside & (kept.sum(1)[None] < present.sum(1)[:, None])
    possible = proper.any(1)
    weights = proper.float() + (~possible).float()[:, None]
    drawn = kept[torch.multinomial(weights, 1)[:, 0]]
    lose = (torch.rand(len(present), device=present.device) < rate) & possible
    return torch.where(lose[:, None], drawn, present)
