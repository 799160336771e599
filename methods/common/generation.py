"""Words one after another: greedy, beam and sampled decoding for every report decoder.

The search is transformers' ``generate``. A decoder brings a step function and a ``DecodingState``. This
module adds three things. Finished sequences leave the state. Banned words have probability 0 before
normalisation. A sampled report depends on its own seed and on nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    GenerationMixin,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutput

from methods.common.text import BOS, EOS, PAD, UNK, DecodingState, ReportDecoder

Step = Callable[[Tensor], Tensor]
"""Prefixes (N, t) to logits of the next word (N, V)."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How words are chosen.

    Attributes:
        limit: most words, the end mark included; at least 1.
        beams: 1 takes the most probable word at each step; more is beam search, won by the hypothesis of the
            highest log-probability divided by its length to the power of ``length_penalty``: 1 is the mean
            per word, more prefers long reports.
        min_new_tokens: the end mark is not written before so many words.
        repetition_penalty: the logit of a word that was written before is divided by it where it is positive,
            else multiplied (Keskar et al. 2019); 1 changes nothing.
        no_repeat_ngram: no sequence of so many words is written twice; 0 allows all.
        banned: words that are never written.
        seeds: draw each sequence from the softmax with noise that follows from its seed alone; else the most
            probable word.
        temperature: divides the logits that are drawn from.
    """

    limit: int
    beams: int = 1
    banned: tuple[int, ...] = (PAD, BOS, UNK)
    seeds: Sequence[int] | None = None
    temperature: float = 1.0
    min_new_tokens: int = 0
    repetition_penalty: float = 1.0
    length_penalty: float = 1.0
    no_repeat_ngram: int = 0

    def options(self) -> dict[str, Any]:
        """Fields of transformers' ``GenerationConfig``: all but the banned words and the drawing."""
        options: dict[str, Any] = {"max_new_tokens": self.limit, "do_sample": False}
        if self.beams > 1:
            options |= {"num_beams": self.beams, "length_penalty": self.length_penalty}
        if self.min_new_tokens:
            options["min_new_tokens"] = self.min_new_tokens
        if self.repetition_penalty != 1.0:
            options["repetition_penalty"] = self.repetition_penalty
        if self.no_repeat_ngram:
            options["no_repeat_ngram_size"] = self.no_repeat_ngram
        return options

    def check(self, batch: int) -> None:
        """Refuse what contradicts itself.

        Raises:
            ValueError: beams together with seeds, a temperature that is not positive, another number of
                seeds than ``batch``, or more words at least than at most.
        """
        if self.min_new_tokens > self.limit:
            raise ValueError(f"at least {self.min_new_tokens} and at most {self.limit} words")
        seeds = self.seeds
        if seeds is not None and (self.beams > 1 or self.temperature <= 0 or len(seeds) != batch):
            raise ValueError(
                f"drawing takes one beam, a positive temperature and one seed per sequence; got beams "
                f"{self.beams}, temperature {self.temperature:g}, {len(seeds)} seeds for {batch} sequences"
            )


def write(decoder: ReportDecoder, memory: Tensor, mask: Tensor | None, decoding: Decoding) -> Tensor:
    """Reports that a decoder writes about encoded studies.

    Args:
        memory: (B, T, E), what the decoder reads of each study; mask: bool (B, T), which of it is there.
        decoding: with seeds for several reports per study, those of one study next to each other
            (``draw_seeds``).

    Returns:
        Word indices (B, <= limit), or one row per seed, padded with PAD after the end mark.

    Raises:
        ValueError: as ``Decoding.check``.
    """
    state, size, device = decoder.start(memory, mask), len(memory), memory.device
    if decoding.seeds is not None:
        draws = len(decoding.seeds) // max(1, size)
        state.select(torch.arange(size, device=device).repeat_interleave(draws))
        size *= draws
    return generate(partial(decoder.step, state=state), state, size, decoding, device)


def generate(
    step: Step, state: DecodingState, batch: int, decoding: Decoding, device: torch.device
) -> Tensor:
    """Decode ``batch`` sequences; finished ones cost nothing more.

    Args:
        step: called with the prefixes of the sequences that ``state`` still holds, in its order.
        state: what the decoder keeps for ``batch`` sequences before their first word.

    Returns:
        Indices (batch, <= limit), padded with PAD after the end mark.

    Raises:
        ValueError: as ``Decoding.check``.
    """
    decoding.check(batch)
    beams, seeds = decoding.beams, decoding.seeds
    if beams > 1:
        state.select(torch.arange(batch, device=device).repeat_interleave(beams))
    search = _Search(step, state, batch, decoding, device)
    noise = [] if seeds is None else [GumbelNoise(seeds, decoding.temperature, lambda: search.rows)]
    config = GenerationConfig(
        use_cache=False,  # the cache is ours: every step gets whole prefixes
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        **decoding.options(),
    )
    model: Any = search  # transformers types ``generate`` for its own models alone
    words: Tensor = model.generate(
        torch.full((batch, 1), BOS, device=device),
        generation_config=config,
        logits_processor=LogitsProcessorList(noise),
        past_key_values=_Cache(search),
    )[:, 1:]
    ended = (words == EOS).cumsum(1)
    return words.masked_fill((ended - (words == EOS).long()) > 0, PAD)


def draw_seeds(seeds: Sequence[int], draws: int) -> list[int]:
    """63-bit seeds of ``draws`` sequences per study, a study's next to each other."""
    return [_hash(seed, draw) for seed in seeds for draw in range(draws)]


def _hash(seed: int, draw: int) -> int:
    digest = hashlib.blake2b(f"{seed}\0{draw}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class _Search(PreTrainedModel, GenerationMixin):
    """The model that ``generate`` sees.

    ``rows`` are the sequences that the state holds, as indices into ``generate``'s batch x beams; the others
    are finished, and the logits that are returned for them are not used.
    """

    config_class = PreTrainedConfig

    def __init__(
        self,
        step: Step,
        state: DecodingState,
        batch: int,
        decoding: Decoding,
        device: torch.device,
    ) -> None:
        super().__init__(PreTrainedConfig())
        self.step, self.state, self.beams, self.banned = step, state, decoding.beams, list(decoding.banned)
        self._device = device
        self.size = batch * decoding.beams
        self.rows = torch.arange(self.size, device=device)
        self.parents: Tensor | None = None
        self.open: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where the step function runs: this module has no parameters to ask."""
        return self._device

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, *args: Any, past_key_values: Any = None, **options: Any
    ) -> dict[str, Tensor]:
        """Whole prefixes (N, t), whatever is cached. The library looks for ``past_key_values`` by name."""
        return {"input_ids": input_ids}

    def forward(self, input_ids: Tensor, return_dict: bool = True) -> CausalLMOutput:
        """Prefixes (N, t) to logits (N, 1, V)."""
        if input_ids.shape[1] > 1:
            self._settle(input_ids[:, -1])
        whole = len(self.rows) == self.size
        logits = self.step(input_ids if whole else input_ids[self.rows]).float()
        logits[:, self.banned] = float("-inf")
        if not whole:
            logits = logits.new_zeros(self.size, logits.shape[1]).index_copy_(0, self.rows, logits)
        return CausalLMOutput(logits=logits[:, None])

    def _settle(self, last: Tensor) -> None:
        """Bring the state to the sequences that go on, in ``generate``'s order."""
        if self.beams == 1:
            keep = last[self.rows] != EOS
        elif self.open is None:
            keep = torch.ones_like(self.rows, dtype=torch.bool)
        else:
            keep = self.open.repeat_interleave(self.beams)[self.rows]
        rows = self.rows[keep]
        if self.parents is not None:
            place = torch.empty_like(self.parents)
            place[self.rows] = torch.arange(len(self.rows), device=place.device)
            self.state.select(place[self.parents[rows]])
        elif len(rows) < len(self.rows):
            self.state.select(keep.nonzero().flatten())
        self.rows, self.parents = rows, None

    def _check_early_stop_heuristic(  # type: ignore[override]  # static in the library
        self, *args: Any, **options: Any
    ) -> Tensor:
        """Beam search asks whether a study's hypotheses can still improve: those that cannot are done."""
        unsatisfied: Tensor = GenerationMixin._check_early_stop_heuristic(*args, **options)
        self.open = unsatisfied.flatten()
        return unsatisfied


class _Cache:
    """What ``generate`` takes for a cache: it only has to follow the beams."""

    is_compileable = False

    def __init__(self, search: _Search) -> None:
        self.search = search

    def get_seq_length(self) -> int:
        """Nothing is cached in ``generate``'s sense."""
        return 0

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row i of the next step continues row ``beam_idx[i]`` of this one."""
        self.search.parents = beam_idx.long()


class GumbelNoise(LogitsProcessor):
    """Adds Gumbel noise, after which the argmax is an exact draw from the softmax (Gumbel 1954)."""

    def __init__(
        self, seeds: Sequence[int], temperature: float, rows: Callable[[], Tensor] | None = None
    ) -> None:
        """Noise of a sequence comes from its own seed; ``rows`` gives those that go on (None: all)."""
        self.temperature, self.rows = temperature, rows
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits (N, V) to perturbed logits of the same shape."""
        noise = torch.ones(scores.shape)
        for row in range(len(noise)) if self.rows is None else self.rows().tolist():
            noise[row].exponential_(generator=self.generators[row])
        return scores / self.temperature - noise.clamp_(min=1e-30).log_().to(scores.device)
