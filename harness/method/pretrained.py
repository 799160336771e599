"""Pretrained weights that settings of a method name: which it wants, and what a run starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.weights import PACKAGE, RANDOM, state_dict_file


@dataclass(frozen=True, slots=True)
class PretrainedPart:
    """A part of a network that starts from pretrained weights.

    Attributes:
        setting: the method's setting that names them, ``method.field``.
        network: whose weights they are, e.g. ``timm's resnet50``.
        source: what the setting says: a file, a folder, the hub's ``owner/model``, ``package``, ``random``;
            empty where nothing is named.
        example: a model of the hub that would do.
        packaged: an installed package ships weights of this network.
    """

    setting: str
    network: str
    source: str
    example: str = ""
    packaged: bool = False

    @property
    def advice(self) -> str:
        """What to say on the command line."""
        choices = [f"={PACKAGE}"] if self.packaged else []
        choices += [
            "=FILE.safetensors",
            "=FILE.pth",
            "=FOLDER",
            *([f"={self.example}"] if self.example else []),
        ]
        return f"--set {self.setting}{', '.join(choices)}, or ={RANDOM}"

    def facts(self) -> dict[str, Any]:
        """What a manifest says: no path, but the digest of the file."""
        kind = self.source if self.source in (RANDOM, PACKAGE) else "file" if self.source else "none"
        digest = _digest(self.source, self.setting) if kind == "file" else ""
        return {"setting": self.setting, "network": self.network, "source": kind, "digest": digest}


def require_weights(parts: Sequence[PretrainedPart]) -> None:
    """Nothing where each part's setting says what it starts from.

    Raises:
        HarnessError: one says nothing: training would start from random weights without a word.
    """
    silent = [part for part in parts if not part.source]
    if silent:
        wanted = " and ".join(f"{part.setting} (weights of {part.network})" for part in silent)
        raise HarnessError(f"{wanted}: not named", "; ".join(part.advice for part in silent))


def _digest(source: str, setting: str) -> str:
    """Sixteen hexadecimal digits of a file's content; empty where it is not there."""
    try:
        path = state_dict_file(source, setting)
        stat = path.stat()
    except (HarnessError, OSError):
        return ""
    return _digest_of(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@cache
def _digest_of(path: Path, *state: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
