"""A language model in a folder that answers prompts: greedy decoding, prompts of like length together."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.packages import lacking
from harness.core.weights import quiet_loading
from harness.metrics.pretrained import weights_digest

if TYPE_CHECKING:
    from torch import Tensor

PROMPT, SYSTEM = "prompt.txt", "system.txt"
PLACES = ("{reference}", "{candidate}")
"""What a prompt file has to hold; ``{context}`` is allowed, too."""

BATCH = 8
"""Prompts in a forward pass, and answers after which results are saved."""

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_READ_TOO = ("config.json", "tokenizer*", "special_tokens_map.json", "chat_template*", "*.model", "vocab*")


@dataclass(frozen=True)
class JudgeFolder:
    """A folder with a model in the Hugging Face layout and the prompt that it was trained on.

    Attributes:
        setting: environment variable that names the folder.
        metric: name of the metric, for advice.
    """

    setting: str
    metric: str

    @property
    def path(self) -> Path | None:
        """The folder; None where the variable is not set."""
        name = os.environ.get(self.setting)
        return Path(name) if name else None

    def unavailable(self) -> str | None:
        """One line of advice where the model or its prompt is absent."""
        if (reason := lacking("clinical", "torch", "transformers")) is not None:
            return reason
        path = self.path
        if path is None or not path.joinpath("config.json").is_file() or not _files(path, _WEIGHTS):
            files = f"its weights, tokenizer and {PROMPT}"
            return f"no model ({self.metric}): set {self.setting} to a folder with {files}"
        if not path.joinpath(PROMPT).is_file():
            return f"{path / PROMPT} not found ({self.metric}): docs/metrics.md says how to write it"
        absent = [place for place in PLACES if place not in self.template]
        return f"{path / PROMPT} lacks {', '.join(absent)} ({self.metric})" if absent else None

    @property
    def template(self) -> str:
        """The prompt with its places."""
        return self._text(PROMPT)

    @property
    def system(self) -> str:
        """The system message; empty where there is none."""
        return self._text(SYSTEM).strip()

    def prompt(self, reference: str, candidate: str, context: str = "") -> str:
        """The prompt about a pair. Without context, its paragraph goes."""
        template = self.template if context else re.sub(r"\{context\}\s*", "", self.template)
        parts = re.split(r"(\{reference\}|\{candidate\}|\{context\})", template)
        filled = {"{reference}": reference, "{candidate}": candidate, "{context}": context}
        return "".join(filled.get(part, part) for part in parts)

    @property
    def identity(self) -> str:
        """Parts of a signature: model, weights with tokenizer, prompt, decoding, number format."""
        path = self.path
        if path is None or self.unavailable():
            return "model:absent|weights:absent|prompt:absent"
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name)[:40] or "folder"
        prompt = hashlib.sha256(f"{self.template}\0{self.system}".encode()).hexdigest()[:8]
        return f"model:{name}|weights:{_digest_of(path)}|prompt:{prompt}|decode:greedy|dtype:{_dtype_name()}"

    def _text(self, name: str) -> str:
        path = self.path
        file = path / name if path is not None else None
        return file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})


def _digest_of(folder: Path) -> str:
    files = _files(folder, (*_WEIGHTS, *_READ_TOO))
    return _combined(tuple((file.name, weights_digest(file)) for file in files))


@lru_cache(maxsize=32)
def _combined(parts: tuple[tuple[str, str], ...]) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def _dtype_name() -> str:
    import torch

    return "bfloat16" if torch.cuda.is_available() else "float32"


class Writer:
    """A causal language model that continues prompts.

    Args:
        folder: with the model and its tokenizer.
        chat: from a tokenizer, a system message and a prompt to the text that the model reads.
        max_new_tokens: longest answer.
        special_tokens: whether the tokenizer adds its own special tokens to that text.
    """

    def __init__(
        self,
        folder: Path,
        chat: Callable[[Any, str, str], str],
        max_new_tokens: int,
        special_tokens: bool = False,
    ) -> None:
        self._folder, self._chat = folder, chat
        self._max_new_tokens, self._special_tokens = max_new_tokens, special_tokens

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's tokenizer, which pads on the left."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self._folder, padding_side="left", local_files_only=True)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @cached_property
    def model(self) -> Any:
        """The folder's model in evaluation mode, on a GPU where there is one."""
        import torch
        from transformers import AutoModelForCausalLM

        with quiet_loading():
            model: Any = AutoModelForCausalLM.from_pretrained(
                self._folder, dtype=getattr(torch, _dtype_name()), local_files_only=True
            )
        return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()

    def texts(self, system: str, prompts: Sequence[str]) -> list[str]:
        """What the model reads for each prompt."""
        return [self._chat(self.tokenizer, system, prompt) for prompt in prompts]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        listed = self.tokenizer(list(texts), add_special_tokens=self._special_tokens)["input_ids"]
        return [len(tokens) for tokens in listed]

    def answers(self, texts: Sequence[str]) -> list[str]:
        """What the model writes after each text, at most a batch of them."""
        import torch
        from transformers import GenerationConfig

        read = self.tokenizer(
            list(texts), return_tensors="pt", padding=True, add_special_tokens=self._special_tokens
        ).to(self.model.device)
        ends = self.model.generation_config.eos_token_id
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=self._max_new_tokens,
            eos_token_id=self.tokenizer.eos_token_id if ends is None else ends,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        with torch.inference_mode():
            written: Tensor = self.model.generate(
                input_ids=read["input_ids"],
                attention_mask=read["attention_mask"],
                generation_config=config,
            )
        rest = written[:, read["input_ids"].shape[1] :]
        decoded: list[str] = self.tokenizer.batch_decode(rest, skip_special_tokens=True)
        return decoded
