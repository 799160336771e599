"""CoDi XR's configuration (the paper's values, and those of CoDi)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.method.config import MethodConfig, TrainingConfig

NAME = "codi_xr"
VIEWS = ("frontal", "lateral")
REPORT = "report"
MODALITIES = (*VIEWS, REPORT)

Rate = Annotated[float, Field(ge=0.0)]
"""A learning rate."""


class CoDiXRConfig(MethodConfig):
    """The paper's values where it prints them, else those of CoDi; presets and variants override them.

    Attributes:
        image_autoencoder, report_autoencoder: training of the two autoencoders; no epochs where a pretrained
            one is used as it is.
        contrastive: training of stage 1; ``training``: of stage 2, the three diffusion models;
            ``alignment``: of stage 3.
        image_size: pixels of the side to which images are resized.
        patch, patch_values: side of the patches that are projected onto their first principal components at
            their place in the image, and how many; 1 hands pixels to the autoencoder.
        image_channels: colour channels of the autoencoder where pixels reach it.
        vae_channels, vae_blocks, latent_channels: of the AutoencoderKL; its blocks halve the side once less
            than there are of them.
        image_kl: weight of the KL term per latent value.
        latent_scale: factor on image latents; 0 standardises them with the training images' moments.
        whiten: share of the mean variance below which directions of image latents are not brought to unit
            variance; where it is not 0, what is diffused is whitened, so that a Gaussian is already coherent.
        prior_mean: diffusion starts and ends around what a linear map expects of the condition.
        mean_guidance, report_mean_guidance: factors on that expectation of views and of reports; above 1 they
            exaggerate, as w does.
        gaussian_start: denoisers learn what they add to the noise in Gaussian latents of unit variance, which
            needs no learning (a preconditioning, as in Karras et al. 2022).
        gaussian_joint: branches of a joint generation start at what is right for jointly Gaussian latents.
        timed_condition: the condition is added to the time embedding, too.
        encoders: ``clip``, a ViT and a Transformer, or ``latent``, small ones of image latents and words.
        clip_*: image side, patch, width, layers and heads of the ViT; text_*: of the text Transformer.
        embedding: width of the contrastive space and of the condition token.
        embedding_dropout: inside the small encoders.
        unet_channels, unet_attention, unet_blocks, unet_heads: per level of the image UNet, its channels,
            whether it has attention, residual blocks, and heads (a size per head in SD 1.5's own naming).
        unet_middle: the image UNet has a middle block.
        report_latent: size of a report's latent.
        bert_*, gpt2_*: vocabulary, width, layers and heads of the report autoencoder.
        report_init: deviation of its initial weights; 0.02 passes next to nothing of the words on to z where
            layers are narrow and training is short.
        report_pooling: what is made into z: BERT's pooled ``first`` token or the ``mean`` over words.
        report_added: GPT-2 reads z as in Optimus; otherwise from its past alone (see ``ReportAutoencoder``).
        report_dropout: inside both of its parts; word_dropout: of words that GPT-2 reads in training.
        report_beta, report_target: final weight of its KL term and the KL per dimension that costs nothing.
        report_bag: weight of the words that z alone is to name, by their rarity; 0 leaves the term out.
        report_noise: factor on the noise that the sampling of a report starts from; 0 leaves it out.
        report_channels, report_multipliers, report_attention, report_blocks: of the report's fully connected
            UNet, the middle two per level.
        report_words: longest report.
        environment: width of the environment encoders' tokens.
        align: weight of the contrastive term of stage 3; ``joint`` switches the stage off.
        weights: of frontal view, lateral view and report where several are conditions.
        drop_condition: training probability that a study's condition is left out.
        sampler, steps: DPM-Solver++ (order 2) or DDIM, and network evaluations per image.
        guidance: w of classifier-free guidance; 1 is none, 0 ignores the condition.
        clip, bert, gpt2, image_vae, unet: folders or hub names of pretrained parts; random initialisation
            where empty. optimus: folder of a checkpoint of Optimus, in the place of bert and gpt2.
        rates: learning rates of the image autoencoder, of the report autoencoder, and of stages 1, 2 and 3.
    """

    image_autoencoder: TrainingConfig = TrainingConfig(epochs=0, batch_size=32, keep="last")
    report_autoencoder: TrainingConfig = TrainingConfig(epochs=100, batch_size=64, keep="last")
    contrastive: TrainingConfig = TrainingConfig(epochs=30, batch_size=64, keep="last")
    training: TrainingConfig = TrainingConfig(epochs=100, batch_size=64, keep="last")
    alignment: TrainingConfig = TrainingConfig(epochs=50, batch_size=64, keep="last")
    image_size: int = 256
    patch: int = Field(default=1, ge=1)
    patch_values: int = 0
    image_channels: int = 3
    vae_channels: tuple[int, ...] = (128, 256, 512, 512)
    vae_blocks: int = 2
    latent_channels: int = 4
    image_kl: float = 1e-6
    latent_scale: float = 0.18215
    whiten: float = Field(default=0.0, ge=0.0)
    encoders: Literal["clip", "latent"] = "clip"
    clip_size: int = 224
    clip_patch: int = 14
    clip_width: int = 1024
    clip_layers: int = 24
    clip_heads: int = 16
    text_vocabulary: int = 49408
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    text_words: int = 77
    embedding: int = 768
    embedding_dropout: float = 0.0
    unet_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    unet_attention: tuple[bool, ...] = (True, True, True, False)
    unet_blocks: int = 2
    unet_heads: int = 8
    unet_middle: bool = True
    gaussian_start: bool = False
    gaussian_joint: bool = False
    timed_condition: bool = False
    prior_mean: bool = False
    mean_guidance: float = Field(default=1.0, ge=0.0)
    report_mean_guidance: float = Field(default=1.0, ge=0.0)
    report_latent: int = 768
    bert_vocabulary: int = 28996
    bert_width: int = 768
    bert_layers: int = 12
    bert_heads: int = 12
    gpt2_vocabulary: int = 50260
    gpt2_width: int = 768
    gpt2_layers: int = 12
    gpt2_heads: int = 12
    report_init: float = 0.02
    report_pooling: Literal["first", "mean"] = "first"
    report_added: bool = True
    report_dropout: float = 0.1
    word_dropout: float = 0.0
    report_beta: float = 1.0
    report_target: float = 3.0
    report_bag: float = Field(default=0.0, ge=0.0)
    report_noise: float = Field(default=1.0, ge=0.0)
    report_channels: int = 320
    report_multipliers: tuple[int, ...] = (1, 2, 4, 4)
    report_attention: tuple[bool, ...] = (True, True, True, False)
    report_blocks: int = 2
    report_words: int = 77
    min_count: int = 3
    environment: int = 1280
    joint: bool = True
    align: float = 1.0
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    drop_condition: float = 0.1
    sampler: Literal["dpm-solver++", "ddim"] = "ddim"
    steps: int = Field(default=50, ge=1)
    guidance: float = Field(default=7.5, ge=0.0)
    clip: str = "openai/clip-vit-large-patch14"
    bert: str = "google-bert/bert-base-cased"
    gpt2: str = "openai-community/gpt2"
    optimus: str = ""
    image_vae: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    unet: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    rates: tuple[Rate, Rate, Rate, Rate, Rate] = (5e-5, 5e-5, 5e-5, 5e-5, 5e-5)
    weight_decay: float = 1e-4
    warmup: float = 0.2
