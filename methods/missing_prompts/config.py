"""Configuration of the missing-aware prompts (the paper's values)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.method.config import MethodConfig, TrainingConfig


class MissingPromptsConfig(MethodConfig):
    """The paper's values, with ViLT's sizes; presets and variants override them.

    Attributes:
        training: of prompts, pooler and classifier, with the transformer frozen.
        pretraining: of the transformer, on studies as they are.
        images: tokens of a view: ``patches`` of pixels through one linear map, or ``frozen-lite0``, groups of
            positions in the map of a frozen EfficientNet-Lite0.
        patch: pixels of a patch's side.
        stage, grid, cells: of the frozen Lite0, the stage whose map is averaged to grid x grid positions, of
            which cells x cells groups are the tokens.
        image_size: pixels of the side to which images are resized.
        words: vectors of the context's words, ``learned`` or MiniLM's, frozen (``minilm``).
        text_length: word pieces of the context at most.
        width, depth, heads, hidden: of the transformer; ``hidden`` in units of the width.
        dropout: in the transformer while it is trained, and before the classifier.
        feature_dropout: of frozen image features, while the transformer is trained.
        prompts: ``input`` level, ``attention`` level or ``none``.
        prompt_length: prompts per layer and case; the attention level has half of them beside the keys and
            half beside the values.
        prompt_layers: first layers that have prompts.
        missing_rate: training probability that a study is given another missing case than its own, one of
            those that take something and leave something.
        pretraining_rate, pretraining_decay: learning rate and weight decay of the first stage.
        warmup: share of the steps in which the learning rate rises; it falls to 0 in the others.
    """

    training: TrainingConfig = TrainingConfig(epochs=20, batch_size=256)
    pretraining: TrainingConfig = TrainingConfig(epochs=20, batch_size=256)
    images: Literal["patches", "frozen-lite0"] = "patches"
    patch: int = Field(default=32, ge=1)
    stage: int = 5
    grid: int = 4
    cells: int = 2
    image_size: int = 384
    words: Literal["learned", "minilm"] = "learned"
    text_length: int = Field(default=40, ge=1)
    width: int = 768
    depth: int = Field(default=12, ge=1)
    heads: int = 12
    hidden: int = 4
    dropout: float = 0.1
    feature_dropout: float = 0.0
    prompts: Literal["input", "attention", "none"] = "input"
    prompt_length: int = Field(default=16, ge=2, multiple_of=2)
    prompt_layers: int = Field(default=6, ge=1)
    missing_rate: float = Field(default=0.7, ge=0.0, le=1.0)
    pretraining_rate: float = Field(default=1e-4, ge=0)
    pretraining_decay: float = 0.01
    learning_rate: float = Field(default=1e-2, ge=0)
    weight_decay: float = 0.02
    warmup: float = 0.1
