"""Controls: what a method that has learned nothing about the image scores.

A fixed normal report does as well on IU X-Ray as many published systems, and copying the report of the study
that looks most alike comes close. A leaderboard without both says little.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.core.types import Inputs, Prediction, Study
from harness.method.config import MethodConfig
from harness.method.contract import FitRun, Method
from methods.common.lite0 import PooledLite0
from methods.controls.card import RETRIEVAL
from methods.controls.shared import read_json


class RetrievalConfig(MethodConfig):
    """``batch_size``: images per forward pass while the training set is embedded."""

    batch_size: int = 64


class Retrieval(Method[RetrievalConfig]):
    """Report and labels of the training study whose images look most alike.

    Similarity is the mean cosine, over the views that the query has, between pooled features of an
    EfficientNet-Lite0 that was trained on ImageNet and never on radiographs. Context is not used. A query
    without any view gets the training report nearest to the mean of all training studies.
    """

    Config = RetrievalConfig
    card = RETRIEVAL
    device = "cpu"

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """Embed every view of every training study."""
        self.to(run.device)
        self._start()
        self.reports = [study.report for study in train]
        self.labels = [None if study.labels is None else study.labels.tolist() for study in train]
        self.features, self.present = {}, {}
        views = self.info.image_modalities
        for number, view in enumerate(views):
            blocks = []
            for start in range(0, len(train), self.config.batch_size):
                batch = train[start : start + self.config.batch_size]
                blocks.append(self._embed(_stack(batch, view, self.info.image_size, self.info.channels)))
                run.progress((number + start / len(train)) / len(views), f"embedding {view} views")
            self.present[view] = torch.tensor([view in study.images for study in train])
            self.features[view] = torch.cat(blocks) * self.present[view][:, None]

    def predict(self, inputs: Inputs) -> list[Prediction]:
        """Copy the nearest neighbour's report and labels."""
        self._start()
        similarity = torch.zeros(len(inputs), len(self.reports))
        for view in self.info.image_modalities:
            here = inputs.present[view].cpu()
            if here.any():
                query = self._embed(inputs.images[view]) * here[:, None]
                similarity += query @ self.features[view].T
        blind = ~torch.stack([inputs.present[view].cpu() for view in self.info.image_modalities]).any(dim=0)
        if blind.any():
            similarity[blind] = self._typicality()
        nearest = similarity.argmax(dim=1).tolist()
        return [Prediction(report=self.reports[i], probabilities=self._label(i)) for i in nearest]

    def to(self, device: str) -> Retrieval:
        """Where features are computed; the index itself stays on the CPU."""
        self.device = device
        return self

    def save(self, directory: Path) -> None:
        """Write the index: ``features.safetensors`` and ``index.json``."""
        from safetensors.torch import save_file

        directory.mkdir(parents=True, exist_ok=True)
        tensors = {f"features.{view}": tensor.contiguous() for view, tensor in self.features.items()}
        save_file(tensors, str(directory / "features.safetensors"))
        (directory / "index.json").write_text(json.dumps({"reports": self.reports, "labels": self.labels}))

    def load(self, directory: Path) -> None:
        """Read the index."""
        from safetensors.torch import load_file

        tensors = load_file(str(directory / "features.safetensors"))
        self.features = {view: tensors[f"features.{view}"] for view in self.info.image_modalities}
        content = read_json(directory / "index.json")
        self.reports, self.labels = content["reports"], content["labels"]

    def _start(self) -> None:
        if not hasattr(self, "network"):
            self.network = PooledLite0().eval()
        self.network.to(self.device)

    @torch.inference_mode()
    def _embed(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] to unit features (B, 1280) on the CPU."""
        features = self.network(images.to(self.device, memory_format=torch.channels_last))
        return torch.nn.functional.normalize(features.float(), dim=1).cpu()

    def _typicality(self) -> Tensor:
        """Similarity (n_train,) of each training study to the mean training study."""
        return torch.stack([f @ f.mean(dim=0) for f in self.features.values()]).sum(dim=0)

    def _label(self, index: int) -> NDArray[np.float64] | None:
        labels = self.labels[index]
        return None if labels is None else np.asarray(labels, dtype=np.float64)


def _stack(studies: Sequence[Study], view: str, size: int, channels: int) -> Tensor:
    blank = np.zeros((size, size, channels), dtype=np.uint8)
    pixels = np.stack([study.images.get(view, blank) for study in studies])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255.0
