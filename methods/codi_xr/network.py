"""All parts of CoDi XR, the losses of its stages, and generation of any modality from any other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.codi_xr.autoencoders import ImageAutoencoder, ReportAutoencoder
from methods.codi_xr.blocks import ImageConnector, ReportConnector
from methods.codi_xr.config import MODALITIES, REPORT, VIEWS, CoDiXRConfig
from methods.codi_xr.contrastive import Contrastive, paired
from methods.codi_xr.denoisers import ConditionMean, ImageDenoiser, JointGaussian, ReportDenoiser
from methods.codi_xr.diffusion import TRAINING_STEPS, alphas, guided, mixed, noised, sample, seeded_noise
from methods.codi_xr.environment import ImageEnvironment, ReportEnvironment
from methods.codi_xr.subwords import Vocabularies
from methods.codi_xr.whitening import Whitening

ENVIRONMENT_TEMPERATURE = 0.1


class CoDiNetwork(nn.Module):
    """Autoencoders, contrastive space, a denoiser per modality, environment encoders and connectors."""

    signal: Tensor

    def __init__(self, config: CoDiXRConfig, vocabularies: Vocabularies, channels: int) -> None:
        super().__init__()
        self.config = config
        self.image_autoencoder = ImageAutoencoder(config, channels)
        self.report_autoencoder = ReportAutoencoder(config, len(vocabularies.read), len(vocabularies.written))
        self.contrastive = Contrastive(config, len(vocabularies.context), self.image_autoencoder.shape)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(VIEWS, self.image_autoencoder.shape)
        self.shapes = shapes | {REPORT: (config.report_latent,)}
        for view in VIEWS:
            denoiser = ImageDenoiser(config, self.image_autoencoder.side)
            self.add_module(view, denoiser)
            if config.gaussian_start:
                for parameter in denoiser.unet.conv_out.parameters():
                    nn.init.zeros_(parameter)
        self.add_module(REPORT, ReportDenoiser(config))
        self.spaces = nn.ModuleDict()
        if config.whiten:
            for view in VIEWS:
                self.spaces[f"{view}_space"] = Whitening(math.prod(self.shapes[view]), config.whiten)
        self.means = nn.ModuleDict()
        if config.prior_mean:
            for name, shape in self.shapes.items():
                self.means[f"{name}_mean"] = ConditionMean(config.embedding, shape)
        self.environments = nn.ModuleDict()
        self.couplings = nn.ModuleDict()
        if config.joint and config.gaussian_joint:
            for first, second in combinations(MODALITIES, 2):
                coupling = JointGaussian(self.shapes[first], self.shapes[second])
                self.couplings[f"{first}-{second}_coupling"] = coupling
        if config.joint:
            for view in VIEWS:
                self.environments[view] = ImageEnvironment(config, self.image_autoencoder.side)
            self.environments[REPORT] = ReportEnvironment(config)
        # Made where data are, also while the network is built without any.
        with torch.device("cpu"):
            signal = alphas()
        self.register_buffer("signal", signal.to(self.contrastive.log_scale.device), persistent=False)

    def denoiser(self, name: str) -> ImageDenoiser | ReportDenoiser:
        """The denoiser of one modality."""
        denoiser = self.get_submodule(name)
        assert isinstance(denoiser, ImageDenoiser | ReportDenoiser)
        return denoiser

    def space(self, name: str) -> Whitening | None:
        """The whitening of a modality's latents, where there is one."""
        key = f"{name}_space"
        if key not in self.spaces:
            return None
        space = self.spaces[key]
        assert isinstance(space, Whitening)
        return space

    def mean(self, name: str) -> ConditionMean:
        """What a modality's condition lets expect; only with ``prior_mean``."""
        mean = self.means[f"{name}_mean"]
        assert isinstance(mean, ConditionMean)
        return mean

    def diffused(self, name: str, latents: Tensor) -> Tensor:
        """Standardised latents (B, ...) of a modality as they are diffused."""
        space = self.space(name)
        return latents if space is None else space(latents)

    def restored(self, name: str, diffused: Tensor) -> Tensor:
        """The inverse of ``diffused``."""
        space = self.space(name)
        return diffused if space is None else space.back(diffused)

    def around(self, name: str, latents: Tensor, context: Tensor, sign: float) -> Tensor:
        """Latents (B, ...) plus or minus what their condition (B, D) lets expect."""
        return latents + sign * self.mean(name)(context) if self.config.prior_mean else latents

    def noise_in(
        self, name: str, noisy: Tensor, time: Tensor, context: Tensor, environment: Tensor | None
    ) -> Tensor:
        """What a denoiser takes for noise in noisy latents (B, ...) at steps (B,).

        With ``gaussian_start`` it adds to what is right for Gaussian latents of unit variance,
        sqrt(1 - a_t) x_t.
        """
        noise = self.denoiser(name)(noisy, time, context, environment)
        if not self.config.gaussian_start:
            return noise
        return noise + (1.0 - self.signal[time]).sqrt().view(-1, *[1] * (noisy.dim() - 1)) * noisy

    def coupling(self, first: str, second: str) -> JointGaussian | None:
        """What two branches tell each other without any learning, where that is configured."""
        key = f"{first}-{second}_coupling"
        if key not in self.couplings:
            return None
        coupling = self.couplings[key]
        assert isinstance(coupling, JointGaussian)
        return coupling

    def coupled(
        self, noisy: Mapping[str, Tensor], time: Tensor, present: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """What the others change in each branch's noise estimate, for noisy latents (B, ...) at steps (B,).

        Args:
            present: bool (B,) for each branch; an absent one neither tells nor hears.
        """
        changes = {name: torch.zeros_like(x) for name, x in noisy.items()}
        for first, second in combinations([name for name in MODALITIES if name in noisy], 2):
            coupling = self.coupling(first, second)
            if coupling is None:
                continue
            both = (present[first] & present[second]).float()
            pair = coupling(noisy[first], noisy[second], self.signal[time])
            for name, change in zip((first, second), pair, strict=True):
                changes[name] = changes[name] + change * both.view(-1, *[1] * (change.dim() - 1))
        return changes

    def connectors(self) -> list[nn.Module]:
        """What stage 3 trains beside the environment encoders."""
        return [module for module in self.modules() if isinstance(module, ImageConnector | ReportConnector)]

    def embed(
        self, images: Mapping[str, Tensor], latents: Mapping[str, Tensor], words: Tensor
    ) -> dict[str, Tensor]:
        """Images (B, C, H, W), their latents and report indices (B, S) to features (B, D) of each."""
        encoders = self.contrastive.encoders
        features = {view: encoders.image(images[view], latents[view], VIEWS.index(view)) for view in images}
        return features | {REPORT: encoders.report(words)}

    def diffusion_loss(
        self, latents: Mapping[str, Tensor], present: Tensor, embeddings: Tensor
    ) -> dict[str, Tensor]:
        """Stage 2: mean squared error of the noise of every modality, on conditions drawn from the others.

        Args:
            latents: of each modality (B, ...); present: bool (B, 3); embeddings: (B, 3, D).
        """
        losses = {}
        for number, name in enumerate(MODALITIES):
            context, condition = self._drawn_contexts(embeddings, present, number)
            clean = self.around(name, latents[name], context, -1.0)
            time = torch.randint(TRAINING_STEPS, (len(clean),), device=clean.device)
            noise = torch.randn_like(clean)
            noisy = noised(clean, noise, self.signal[time])
            estimate = self.noise_in(name, noisy, time, condition, None)
            losses[name] = _mean_over(
                F.mse_loss(estimate.float(), noise, reduction="none"), present[:, number]
            )
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def _drawn_contexts(self, embeddings: Tensor, present: Tensor, target: int) -> tuple[Tensor, Tensor]:
        """Conditions (B, D) on one or both of the other modalities; and the same with some left out."""
        others = present.clone()
        others[:, target] = False
        some = others & (torch.rand(others.shape, device=others.device) < 0.5)
        chosen = torch.where(some.any(1, keepdim=True), some, others)
        context = self.context(embeddings, chosen)
        return context, self._dropped(context)

    def context(self, embeddings: Tensor, chosen: Tensor) -> Tensor:
        """The condition (B, D) of the chosen ones, bool (B, 3), of a study's modalities."""
        return mixed(embeddings, chosen * torch.tensor(self.config.weights, device=chosen.device))

    def _dropped(self, context: Tensor) -> Tensor:
        """Conditions (B, D) with some left out, as classifier-free guidance wants it in training."""
        chance = torch.rand(len(context), 1, device=context.device)
        return context * (chance >= self.config.drop_condition)

    def alignment_loss(
        self, latents: Mapping[str, Tensor], present: Tensor, embeddings: Tensor
    ) -> dict[str, Tensor]:
        """Stage 3: of each study two modalities are generated, and the third alone is their condition.

        The noise of either target is estimated given the other's token, and the two tokens of a study are to
        agree. A study without one of its two targets takes no part; one without the third has no condition.

        Args:
            latents: of each modality (B, ...); present: bool (B, 3); embeddings: (B, 3, D).
        """
        source = torch.randint(len(MODALITIES), (len(present),), device=present.device)
        conditions = F.one_hot(source, len(MODALITIES)).bool()
        targets = ~conditions & (present | conditions).all(1, keepdim=True)
        here = dict(zip(MODALITIES, targets.unbind(1), strict=True))
        context = self.context(embeddings, conditions & present)
        condition = self._dropped(context)
        time = torch.randint(TRAINING_STEPS, (len(context),), device=context.device)
        noise = {name: torch.randn_like(clean) for name, clean in latents.items()}
        noisy = {
            name: noised(self.around(name, clean, context, -1.0), noise[name], self.signal[time])
            for name, clean in latents.items()
        }
        tokens, changes = self.tokens(noisy, time, here), self.coupled(noisy, time, here)
        losses = {}
        for number, name in enumerate(MODALITIES):
            # Of the other two, the one that is generated, too: the tokens of conditions are zeros.
            partner = torch.stack([x for other, x in tokens.items() if other != name]).sum(0)
            estimate = self.noise_in(name, noisy[name], time, condition, partner[:, None])
            error = F.mse_loss(estimate.float() + changes[name], noise[name], reduction="none")
            losses[name] = _mean_over(error, targets[:, number])
        agreement = paired(tokens, here, ENVIRONMENT_TEMPERATURE)
        total = torch.stack(list(losses.values())).sum() + self.config.align * agreement
        return {"loss": total, **losses, "agreement": agreement}

    def tokens(
        self, noisy: Mapping[str, Tensor], time: Tensor, present: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Environment tokens (B, E) of noisy latents at steps (B,); zeros where a modality is absent."""
        return {
            name: self.environments[name](x, self.denoiser(name).clock(time, x)) * present[name][:, None]
            for name, x in noisy.items()
        }

    def generate(
        self, targets: Sequence[str], embeddings: Tensor, present: Tensor, seeds: Sequence[int]
    ) -> dict[str, Tensor]:
        """Standardised latents of the targets from conditions that none of them is among.

        Args:
            embeddings: (B, 3, D); present: bool (B, 3), the conditions; seeds: of the B studies' noise.
        """
        config, device = self.config, embeddings.device
        conditions = present.clone()
        conditions[:, [MODALITIES.index(name) for name in targets]] = False
        context = self.context(embeddings, conditions)
        every = dict.fromkeys(targets, torch.ones(len(context), dtype=torch.bool, device=device))

        def denoise(latents: Mapping[str, Tensor], time: int) -> dict[str, Tensor]:
            times = torch.full((len(context),), time, device=device)
            tokens = self.tokens(latents, times, every) if config.joint and len(targets) > 1 else {}
            changes = self.coupled(latents, times, every)
            return {
                name: self.guided_noise(name, x, time, context, others(tokens, name)) + changes[name]
                for name, x in latents.items()
            }

        start = {name: seeded_noise(seeds, name, self.shapes[name]).to(device) for name in targets}
        if REPORT in start:
            start[REPORT] *= config.report_noise
        with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            diffused = sample(start, denoise, config.sampler, config.steps)
        whole = {}
        for name, x in diffused.items():
            factor = config.mean_guidance if name in VIEWS else config.report_mean_guidance
            whole[name] = self.restored(name, self.around(name, x, context, factor * (config.guidance > 0)))
        return whole

    def guided_noise(
        self, name: str, noisy: Tensor, time: int, context: Tensor, environment: Tensor | None
    ) -> Tensor:
        """Classifier-free guidance with one forward pass for both halves."""
        weight = self.config.guidance
        contexts = {0.0: [torch.zeros_like(context)], 1.0: [context]}.get(
            weight, [context, torch.zeros_like(context)]
        )
        times = len(contexts)
        noise = self.noise_in(
            name,
            torch.cat([noisy] * times),
            torch.full((times * len(noisy),), time, device=noisy.device),
            torch.cat(contexts),
            None if environment is None else torch.cat([environment] * times),
        ).float()
        if times == 1:
            return noise
        conditional, unconditional = noise.chunk(2)
        return guided(conditional, unconditional, weight)


def others(tokens: Mapping[str, Tensor], name: str) -> Tensor | None:
    """The tokens (B, M, E) of all branches but one; None where there are none."""
    rest = [x for other, x in tokens.items() if other != name]
    return torch.stack(rest, dim=1) if rest else None


def _mean_over(error: Tensor, rows: Tensor) -> Tensor:
    """Mean of (B, ...) over the values of the bool ``rows`` (B,)."""
    each = error.flatten(1).mean(1)
    return (each * rows).sum() / rows.sum().clamp(min=1)
