"""The control of synthesis: images that no condition and no learning has touched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.errors import CorruptFileError
from harness.core.types import Inputs, Prediction, Study
from harness.method.config import MethodConfig
from harness.method.contract import FitRun, Method
from methods.controls.card import NOISE


class NoiseConfig(MethodConfig):
    """``limit``: training studies whose pixels are counted."""

    limit: int = 500


class Noise(Method[NoiseConfig]):
    """Every pixel on its own: Gaussian noise with the mean and deviation of the view's training pixels."""

    Config = NoiseConfig
    card = NOISE

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """Mean and deviation of each pixel of each view."""
        self.moments = {}
        for view in self.info.image_modalities:
            pixels = [study.images[view] for study in train if view in study.images][: self.config.limit]
            if pixels:
                stacked = np.stack(pixels).astype(np.float32)
                self.moments[view] = np.stack([stacked.mean(0), stacked.std(0)])

    def predict(self, inputs: Inputs) -> list[Prediction]:
        """Images of all views."""
        return self.synthesize(inputs, list(self.moments))

    def synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        """Images of the targets; a study's noise follows from its seed."""
        predictions = []
        for seed in inputs.seeds:
            generator = torch.Generator().manual_seed(seed)
            images = {}
            for view in targets:
                mean, deviation = self.moments[view]
                noise = torch.randn(mean.shape, generator=generator).numpy()
                images[view] = np.clip(np.round(mean + deviation * noise), 0, 255).astype(np.uint8)
            predictions.append(Prediction(images=images))
        return predictions

    def save(self, directory: Path) -> None:
        """Write ``noise.npz``."""
        directory.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = self.moments
        np.savez(directory / "noise.npz", **arrays)

    def load(self, directory: Path) -> None:
        """Read ``noise.npz``."""
        path = directory / "noise.npz"
        try:
            with np.load(path) as content:
                self.moments = {view: content[view] for view in content.files}
        except (OSError, ValueError) as error:
            raise CorruptFileError(f"{path}: {error}", "delete its folder and run again") from error
