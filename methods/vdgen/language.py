"""The report's side: tokens, the prompt's text, the language model and its adapters."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from harness.core.words import Words
from methods.common.generation import Decoding
from methods.vdgen.config import VDGenConfig

PROMPT = (
    "Human: <img>",
    "</img> Generate a comprehensive and detailed diagnosis report for this chest X-ray image.\nAssistant:",
)
"""What stands before and after the image (Sec. 3.4)."""


def train_tokenizer(reports: Iterable[str], size: int) -> str:
    """A byte-pair tokenizer of at most ``size`` entries as JSON; each half of the prompt is one token.

    Args:
        reports: joined words.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=["<pad>", "<s>", "</s>", "<unk>", *PROMPT],
        show_progress=False,
    )
    tokenizer.train_from_iterator(reports, trainer)
    return tokenizer.to_str()


class ReportTokenizer:
    """Reports to tokens and back, with any tokenizer that has a begin and an end mark."""

    def __init__(self, tokenizer: Any, words: Words) -> None:
        self.tokenizer, self.words = tokenizer, words
        self.begin: int = tokenizer.bos_token_id
        self.end: int = tokenizer.eos_token_id
        spare = tokenizer.unk_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self.pad: int = self.end if spare is None else spare
        self.marks = {self.begin, self.pad, tokenizer.unk_token_id, *tokenizer.added_tokens_decoder}

    @classmethod
    def of(cls, serialised: str, words: Words) -> ReportTokenizer:
        """The tokenizer that ``train_tokenizer`` gave."""
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(serialised),
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            unk_token="<unk>",
        )
        return cls(tokenizer, words)

    def __len__(self) -> int:
        return len(self.tokenizer)

    def prompt(self) -> tuple[list[int], list[int]]:
        """Tokens before the image, from the begin mark on, and after it."""
        before, after = (self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in PROMPT)
        return [self.begin, *before], after

    def begun(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T) and bool (B, T) behind the begin mark, whose place in the mask is False."""
        first = torch.full_like(tokens[:, :1], self.begin)
        return torch.cat([first, tokens], dim=1), torch.cat([torch.zeros_like(mask[:, :1]), mask], dim=1)

    def batch(self, reports: Sequence[str], limit: int) -> tuple[Tensor, Tensor]:
        """Tokens (B, T) of reports cut at ``limit``, each with its end mark, and bool (B, T)."""
        texts = [self.words.join(self.words.split(report)) for report in reports]
        rows = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        rows = [[*row[:limit], self.end] for row in rows]
        tokens = torch.full((len(rows), max(map(len, rows))), self.pad)
        mask = torch.zeros_like(tokens, dtype=torch.bool)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = True
        return tokens, mask

    def decode(self, tokens: Sequence[int]) -> str:
        """Text up to the first end mark."""
        shortened = list(tokens)
        if self.end in shortened:
            shortened = shortened[: shortened.index(self.end)]
        # transformers would else join "clear ." to "clear.", which is another word in some profiles.
        text = self.tokenizer.decode(shortened, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text).strip()

    def search(self, decoding: Decoding) -> GenerationConfig:
        """How reports are generated; marks are never written."""
        return GenerationConfig(
            **decoding.options(),
            suppress_tokens=sorted(self.marks - {self.end, None}),
            bos_token_id=self.begin,
            eos_token_id=self.end,
            pad_token_id=self.pad,
        )


def random_llama(config: VDGenConfig, vocabulary: int, tokenizer: ReportTokenizer) -> LlamaForCausalLM:
    """A Llama of the configured sizes from random initialisation."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=config.llm_width,
            intermediate_size=config.llm_hidden,
            num_hidden_layers=config.llm_layers,
            num_attention_heads=config.llm_heads,
            num_key_value_heads=config.llm_kv_heads,
            bos_token_id=tokenizer.begin,
            eos_token_id=tokenizer.end,
            pad_token_id=tokenizer.pad,
        )
    )


def adapted(llm: Any, config: VDGenConfig) -> nn.Module:
    """The language model with its LoRA matrices, all of it or nothing of it set to train."""
    if config.checkpoint_gradients:
        with _without_renaming_notes():
            llm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if config.adapt == "full":
        return llm
    if config.adapt == "none":
        return llm.requires_grad_(False)
    from peft import LoraConfig, TaskType, get_peft_model

    lora = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=["q_proj", "v_proj"],
    )
    with _without_renaming_notes():
        return get_peft_model(llm, lora)


@contextmanager
def without_penalty_note() -> Iterator[None]:
    """``generate`` says that a prompt of vectors has no repeated words, which is as it should be."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Passing `repetition_penalty` with `inputs_embeds`", UserWarning)
        yield


@contextmanager
def _without_renaming_notes() -> Iterator[None]:
    """Newer transformers rename what older ones, and peft, call gradient checkpointing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
        yield
