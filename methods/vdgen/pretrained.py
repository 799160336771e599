"""Pretrained models from a folder or the hub's local cache; nothing is fetched unless the user allows it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, SwinModel

from methods.common.pretrained import load_model

FILES = ["*.json", "*.safetensors", "tokenizer.model"]
EDGE = 1 << 20


def fingerprint(folder: Path) -> str:
    """Sixteen hex digits that differ between models.

    Names, sizes, and the first and last MiB of configuration, weights and tokenizer: gigabytes of weights are
    not read for it.
    """
    digest = hashlib.sha256()
    files = {path for pattern in FILES for path in folder.glob(pattern)}
    for path in sorted(files, key=lambda path: path.name):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with open(path, "rb") as stream:
            digest.update(stream.read(EDGE))
            stream.seek(max(0, size - EDGE))
            digest.update(stream.read(EDGE))
    return digest.hexdigest()[:16]


def load_llm(folder: Path, dtype: str) -> Any:
    """The causal language model in ``folder``.

    Raises:
        HarnessError: it cannot be read, or weights are missing from it.
    """
    options = {"dtype": getattr(torch, dtype), "output_loading_info": True}
    return load_model(AutoModelForCausalLM.from_pretrained, folder, "a causal language model", **options)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in ``folder``.

    Raises:
        HarnessError: it cannot be read.
    """
    return load_model(AutoTokenizer.from_pretrained, folder, "a tokenizer")


def load_swin(folder: Path) -> Any:
    """The Swin Transformer in ``folder``, without its classifier.

    Raises:
        HarnessError: it cannot be read, or weights are missing from it.
    """
    options = {"add_pooling_layer": False, "output_loading_info": True}
    return load_model(SwinModel.from_pretrained, folder, "a Swin Transformer", **options)
