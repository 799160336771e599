"""Pretrained models from a folder or the hub's local cache; nothing is fetched unless the user allows it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, SwinModel
from transformers.utils import logging

from harness.errors import HarnessError, UnavailableError
from harness.weights import ALLOW_DOWNLOADS, downloads_allowed

FILES = ["*.json", "*.safetensors", "tokenizer.model"]
EDGE = 1 << 20


def model_folder(name: str, setting: str) -> Path:
    """The folder ``name``, or that of the hub's model ``name``.

    Args:
        name: a folder, or ``owner/model``.
        setting: the configuration's field, for the advice.

    Raises:
        UnavailableError: there is no such folder, and no such model in the cache or, if allowed, on the hub.
    """
    if Path(name).is_dir():
        return Path(name)
    advice = f"--set vdgen.{setting}=FOLDER with the model's files"
    if Path(name).is_absolute() or name.startswith(".") or name.count("/") != 1:
        raise UnavailableError(f"vdgen.{setting}: no folder {name}", advice)
    from huggingface_hub import snapshot_download

    allowed = downloads_allowed()
    try:
        return Path(snapshot_download(name, allow_patterns=FILES, local_files_only=not allowed))
    except (OSError, ValueError) as error:
        where = "cannot be fetched" if allowed else "is neither a folder nor in the local cache"
        more = "accept the model's licence and log in" if allowed else f"{ALLOW_DOWNLOADS}=1"
        raise UnavailableError(f"vdgen.{setting}: {name} {where}", f"{advice}, or {more}") from error


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


def load_llm(folder: Path, dtype: str) -> PreTrainedModel:
    """The causal language model in ``folder``.

    Raises:
        HarnessError: it cannot be read, or weights are missing from it.
    """
    try:
        with _quiet():
            model, report = AutoModelForCausalLM.from_pretrained(
                folder, dtype=getattr(torch, dtype), local_files_only=True, output_loading_info=True
            )
    except Exception as error:
        raise _broken(folder, error, "a causal language model") from error
    _complete(folder, report)
    return model


def load_tokenizer(folder: Path) -> AutoTokenizer:
    """The tokenizer in ``folder``.

    Raises:
        HarnessError: it cannot be read.
    """
    try:
        with _quiet():
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise _broken(folder, error, "a tokenizer") from error


def load_swin(folder: Path) -> SwinModel:
    """The Swin Transformer in ``folder``, without its classifier.

    Raises:
        HarnessError: it cannot be read, or weights are missing from it.
    """
    try:
        with _quiet():
            model, report = SwinModel.from_pretrained(
                folder, add_pooling_layer=False, local_files_only=True, output_loading_info=True
            )
    except Exception as error:
        raise _broken(folder, error, "a Swin Transformer") from error
    _complete(folder, report)
    return model


def _complete(folder: Path, report: dict[str, object]) -> None:
    missing = sorted(report["missing_keys"])
    if missing:
        raise HarnessError(
            f"{folder}: {len(missing)} weights are missing, first {missing[0]}",
            "copy the model's files again",
        )


def _broken(folder: Path, error: Exception, what: str) -> HarnessError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return HarnessError(f"{folder}: cannot read {what}: {reason}", "copy the model's files again")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars and the list of layers that are left out on purpose."""
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
