"""Pretrained models from a folder or the hub's local cache; nothing is fetched unless the user allows it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, SwinModel

from harness.core.errors import HarnessError
from harness.core.weights import quiet_loading

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
    try:
        with quiet_loading():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=getattr(torch, dtype), local_files_only=True, output_loading_info=True
            )
            model, report = loaded
    except Exception as error:
        raise _broken(folder, error, "a causal language model") from error
    _complete(folder, report)
    return model


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in ``folder``.

    Raises:
        HarnessError: it cannot be read.
    """
    try:
        with quiet_loading():
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise _broken(folder, error, "a tokenizer") from error


def load_swin(folder: Path) -> SwinModel:
    """The Swin Transformer in ``folder``, without its classifier.

    Raises:
        HarnessError: it cannot be read, or weights are missing from it.
    """
    try:
        with quiet_loading():
            loaded: Any = SwinModel.from_pretrained(
                folder, add_pooling_layer=False, local_files_only=True, output_loading_info=True
            )
            model, report = loaded
    except Exception as error:
        raise _broken(folder, error, "a Swin Transformer") from error
    _complete(folder, report)
    return model


def _complete(folder: Path, report: Mapping[str, Any]) -> None:
    missing = sorted(report["missing_keys"])
    if missing:
        raise HarnessError(
            f"{folder}: {len(missing)} weights are missing, first {missing[0]}",
            "copy the model's files again",
        )


def _broken(folder: Path, error: Exception, what: str) -> HarnessError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return HarnessError(f"{folder}: cannot read {what}: {reason}", "copy the model's files again")
