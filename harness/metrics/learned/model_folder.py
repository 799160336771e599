"""Where the model of a metric is: in a folder that the user names, or in the hub's cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import require
from harness.core.packages import lacking
from harness.core.weights import ALLOW_DOWNLOADS, downloads_allowed
from harness.metrics.pretrained import hub_file, weights_digest

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_FILES = ("*.json", "*.txt", "*.model", *WEIGHTS)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model in the Hugging Face layout.

    Attributes:
        setting: environment variable that names the user's folder.
        part: subfolder of it; empty where the model lies in the folder itself.
        repository: ``owner/model`` on the hub, for its cache.
    """

    setting: str
    part: str
    repository: str

    def path(self) -> Path | None:
        """The folder, or None where it lacks the configuration or the weights."""
        named = os.environ.get(self.setting)
        if named:
            folder = Path(named, self.part)
        else:
            config = hub_file(self.repository, "config.json")
            folder = config.parent if config else Path("/nowhere")
        return folder if (folder / "config.json").is_file() and _weights(folder) else None

    def lacking(self, metric: str) -> str | None:
        """One line of advice for a metric where a package or the model is absent; None if it can run."""
        if (reason := lacking("clinical", "torch", "transformers")) is not None:
            return reason
        named = os.environ.get(self.setting)
        if self.path() is not None or (downloads_allowed() and not named):
            return None
        if named:
            folder = Path(named, self.part)
            return f"no model in {self.setting} ({metric}): {folder} lacks config.json or weights"
        what = f"a folder with {self.part}/" if self.part else "its folder"
        return f"{self.repository} not found ({metric}): set {self.setting} to {what}, or {ALLOW_DOWNLOADS}=1"

    def fetched(self, metric: str) -> Path:
        """The folder, fetched first where downloads are allowed.

        Raises:
            UnavailableError: a package or the model is absent.
        """
        require(self.lacking(metric))
        if (folder := self.path()) is not None:
            return folder
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(self.repository, allow_patterns=list(_FILES)))

    def weights(self) -> Path | None:
        """The file with the weights."""
        folder = self.path()
        return _weights(folder) if folder else None

    @property
    def digest(self) -> str:
        """Digest of the weights for signatures, ``absent`` where there are none."""
        file = self.weights()
        return weights_digest(file) if file else "absent"


def _weights(folder: Path) -> Path | None:
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
