"""CoDi XR behind the harness' interface: training in stages, generation of views and reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from harness.core.errors import HarnessError
from harness.core.types import Inputs, Prediction, Study, Targets
from harness.core.words import frequent_words
from harness.method.card import MethodCard
from harness.method.config import TrainingConfig
from harness.method.contract import FitRun
from harness.method.torch_method import TorchMethod
from harness.method.training import train_network
from methods.codi_xr.card import CARD
from methods.codi_xr.config import MODALITIES, REPORT, VIEWS, CoDiXRConfig
from methods.codi_xr.losses import Losses, noise_terms, whole_loss
from methods.codi_xr.network import CoDiNetwork
from methods.codi_xr.pretrained import load_pretrained, tokenizers
from methods.codi_xr.probes import Probes
from methods.codi_xr.stages import Objective, Stage, adamw
from methods.codi_xr.studies import Studies
from methods.codi_xr.subwords import Vocabularies
from methods.common.generation import Decoding, generate
from methods.common.optim import Optimizer
from methods.common.pixels import resized

FOLDERS = ("0-images", "0-reports", "1-contrastive", "2-diffusion", "3-alignment")
"""Of the checkpoints of the five training runs, in order."""


class CoDiXR(TorchMethod[CoDiXRConfig]):
    """CoDi XR behind the harness' interface."""

    card: ClassVar[MethodCard] = CARD
    Config = CoDiXRConfig
    network: CoDiNetwork
    SAMPLERS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "10 DPM-Solver++ steps": {"sampler": "dpm-solver++", "steps": 10},
        "20 DPM-Solver++ steps": {"sampler": "dpm-solver++", "steps": 20},
        "50 DDIM steps": {"sampler": "ddim", "steps": 50},
    }
    """What ``harness bench sampling`` compares; the last one is the paper's."""

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """The vocabulary of training reports, and the tokenizers of pretrained text parts."""
        reports = (self.info.words.split(study.report or "") for study in train)
        return {"words": frequent_words(reports, self.config.min_count), **tokenizers(self.config)}

    def reference_artifacts(self) -> dict[str, Any]:
        """A stand-in vocabulary."""
        return {"words": [f"word{number}" for number in range(3996)]}

    def example_batch(self, batch_size: int = 1) -> tuple[Inputs, Targets]:
        """Both views and a full-length report: what FLOPs are counted on."""
        shape = (batch_size, self.info.channels, self.config.image_size, self.config.image_size)
        images = {view: torch.zeros(shape) for view in VIEWS}
        present = {view: torch.ones(batch_size, dtype=torch.bool) for view in VIEWS}
        inputs = Inputs(["example"] * batch_size, images, [None] * batch_size, present, [0] * batch_size)
        return inputs, Targets([" ".join(["word1"] * (self.config.report_words - 2))] * batch_size)

    def build(self, artifacts: dict[str, Any]) -> CoDiNetwork:
        """The network for a vocabulary."""
        self.vocabularies = Vocabularies.of(artifacts, self.info.words)
        return CoDiNetwork(self.config, self.vocabularies, self.info.channels)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """Autoencoders, then the three stages; each resumes in its own folder of ``run.directory``."""
        if not train:
            raise HarnessError("codi_xr: no training studies", "raise --limit")
        torch.manual_seed(run.seed)
        self.prepare(self.artifacts(train))
        load_pretrained(self.network, self.config, self.vocabularies)
        self.network.to(run.device)
        studies = Studies([*train, *val], self.network, self.vocabularies, self.info)
        config, parts = self.config, self.network
        steps = config.report_autoencoder.epochs * -(-len(train) // config.report_autoencoder.batch_size)
        losses, probes = Losses(studies, steps), Probes(studies)
        studies.project(len(train))
        studies.count_words(len(train))

        def stage(number: int, network: nn.Module, settings: TrainingConfig, objective: Objective) -> None:
            folder = FOLDERS[number]
            one = Stage(folder, network, settings, objective, config.rates[number], config, self.info)
            self._train(one, train, val, run, number)

        images = Objective(losses.image_autoencoder, losses.image_terms, probes.image_autoencoder)
        reports = Objective(losses.report_autoencoder, losses.report_terms, probes.report_autoencoder)
        contrastive = Objective(losses.contrastive, whole_loss, probes.contrastive)
        diffusion = Objective(losses.diffusion, noise_terms, probes.diffusion)
        alignment = Objective(losses.alignment, losses.alignment_terms, probes.alignment)
        stage(0, parts.image_autoencoder, config.image_autoencoder, images)
        stage(1, parts.report_autoencoder, config.report_autoencoder, reports)
        for name in MODALITIES:
            studies.encode(name)
            if name == REPORT or not config.latent_scale:
                studies.calibrate(name, len(train))
        stage(2, parts.contrastive, config.contrastive, contrastive)
        studies.embed()
        studies.diffuse(len(train))
        denoisers = nn.ModuleDict({f"{name}_denoiser": parts.denoiser(name) for name in MODALITIES})
        stage(3, denoisers, config.training, diffusion)
        if config.joint:
            hearing = nn.ModuleList([*parts.environments.values(), *parts.connectors()])
            stage(4, hearing, config.alignment, alignment)
        self.network.requires_grad_(True).eval()

    def _train(
        self, stage: Stage, train: Sequence[Study], val: Sequence[Study], run: FitRun, number: int
    ) -> None:
        """Train one stage; all other parameters are frozen."""
        if not stage.settings.epochs:
            return
        self.network.requires_grad_(False).eval()
        stage.network.requires_grad_(True).train()
        if stage.folder == FOLDERS[3]:
            for connector in self.network.connectors():
                connector.requires_grad_(False)
        directory = run.directory / stage.folder
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

        def progress(fraction: float, status: str) -> None:
            run.progress((number + fraction) / 5, f"{stage.folder[2:]}: {status}")

        train_network(stage, train, val, FitRun(directory, run.device, run.seed, progress))
        stage.network.eval()

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Stage 2's loss of a batch from its images and reports: what costs are counted on."""
        embeddings, present, latents = self._encode(inputs, targets.reports)
        words = self.vocabularies.read.batch(targets.reports, self.config.report_words, framed=True)
        latents[REPORT] = self.network.report_autoencoder.encode(words.to(embeddings.device))
        diffused = {name: self.network.diffused(name, latents[name]) for name in MODALITIES}
        return self.network.diffusion_loss(diffused, present, embeddings)

    def optimizer(self, steps: int) -> Optimizer:
        """Stage 2's optimiser over the whole network."""
        return adamw(self.network, self.config.rates[3], self.config, steps)

    def sample_with(self, sampler: Literal["dpm-solver++", "ddim"], steps: int) -> None:
        """Draw with another sampler from here on; nothing that was learned changes."""
        self.config = self.config.model_copy(update={"sampler": sampler, "steps": steps})
        self.network.config = self.config

    def generate(self, inputs: Inputs) -> list[Prediction]:
        """Reports from the views that are present."""
        return self._synthesize(inputs, [REPORT])

    def synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        """The targets, jointly where there are several, from every other modality that is present.

        Args:
            inputs: views, and reports where ``inputs.reports`` has them; the targets' own are not read.
            targets: some of ``frontal``, ``lateral`` and ``report``.

        Raises:
            HarnessError: no target, or one that the method or the dataset does not know.
        """
        possible = [*(view for view in VIEWS if view in self.info.image_modalities), REPORT]
        unknown = [name for name in targets if name not in possible]
        if unknown or not targets:
            raise HarnessError(
                f"codi_xr cannot generate {', '.join(unknown) or 'nothing'}",
                f"choose from {', '.join(possible)}",
            )
        return self._frozen(self._synthesize, inputs, [name for name in MODALITIES if name in targets])

    def _synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        reports = inputs.reports or [None] * len(inputs)
        embeddings, present, _ = self._encode(inputs, reports)
        latents = self.network.generate(targets, embeddings, present, inputs.seeds)
        texts: Sequence[str | None] = [None] * len(inputs)
        if REPORT in latents:
            texts = self._write(latents[REPORT])
        images = {view: self._draw(latents[view], view) for view in VIEWS if view in latents}
        return [
            Prediction(report=text, images={view: batch[row] for view, batch in images.items()} or None)
            for row, text in enumerate(texts)
        ]

    def _encode(
        self, inputs: Inputs, reports: Sequence[str | None]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Embeddings (B, 3, D), present (B, 3) and image latents of a batch."""
        network, config, device = self.network, self.config, self.network.signal.device
        here = [inputs.present.get(view, torch.zeros(len(inputs), dtype=torch.bool)) for view in VIEWS]
        has_report = torch.tensor([bool(text) for text in reports])
        present = torch.stack([each.to(device) for each in (*here, has_report)], dim=1)
        shape = (len(inputs), self.info.channels, config.image_size, config.image_size)
        images, latents = {}, {}
        for number, view in enumerate(VIEWS):
            pixels = inputs.images.get(view)
            images[view] = (
                torch.zeros(shape, device=device) if pixels is None else resized(pixels, config.image_size)
            )
            latents[view] = network.image_autoencoder.encode(images[view], number)
        words = self.vocabularies.context.batch(reports, config.text_words - 2, framed=True).to(device)
        features = network.embed(latents if config.encoders == "latent" else images, latents, words)
        stacked = torch.stack([features[name] for name in MODALITIES], dim=1).float()
        return nn.functional.normalize(stacked, dim=-1), present, latents

    def _write(self, latents: Tensor) -> list[str]:
        """Standardised report latents (B, Z) to texts, the most probable word at each place."""
        model = self.network.report_autoencoder
        state = model.start(model.raw(latents))
        step: Callable[[Tensor], Tensor] = partial(model.step, state=state)
        decoding = Decoding(self.config.report_words)
        words = generate(step, state, len(latents), decoding, latents.device)
        return [self.vocabularies.written.decode(row) for row in words.tolist()]

    def _draw(self, latents: Tensor, view: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Standardised image latents (B, c, h, w) to uint8 images (B, H, W, C) of the dataset's size."""
        images = self.network.image_autoencoder.decode(latents, VIEWS.index(view))
        whole = resized(images, self.info.image_size).mul(255.0).round().clamp(0, 255).to(torch.uint8)
        return whole.permute(0, 2, 3, 1).cpu().numpy()
