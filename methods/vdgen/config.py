"""VDGen's configuration (the paper's symbols and values)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from harness.method.config import MethodConfig, TrainingConfig


class VDGenConfig(MethodConfig):
    """The paper's values (Sec. 4.1.2); presets and variants override them.

    Attributes:
        vision: visual encoder M_v, Swin or frozen EfficientNet-Lite0 features.
        swin: folder or hub name of a pretrained Swin Transformer; empty for random initialisation.
        swin_width, swin_depths, swin_heads, swin_window: its sizes where it is not loaded.
        lite0_stage: stage of EfficientNet-Lite0 whose map is used, 1 to 7.
        token_pool: side of the windows of that map that are averaged into one token.
        visual_width: D behind Lite0; Swin has its own.
        keep_features: hold the frozen features of each study in memory during ``fit``.
        vse, did: train with L_VSE, with L_DID.
        vse_width: size of z^v, the higher-dimensional space of VSE.
        vse_pairs: what S_ii of Eq. 3 is: an image's similarity with itself, which the denominator leaves out,
            or with a second view of the image, which costs a second pass of the encoder.
        vse_dropout: part of the frozen features that is dropped for the second view of a study.
        teacher: a report's representation in DID: mean of the language model's last ``hidden`` states without
            adapters, or of its input ``embeddings``; no gradient reaches either.
        temperature: tau of Eq. 3 and 6.
        llm: folder or hub name of a pretrained causal language model with its tokenizer; empty for a small
            Llama from random initialisation with a tokenizer trained on the reports.
        llm_dtype: type of a pretrained model's weights.
        llm_vocabulary: largest vocabulary of a trained tokenizer.
        llm_width, llm_layers, llm_heads, llm_kv_heads, llm_hidden: sizes of a model that is not loaded.
        adapt: what trains of the language model: LoRA matrices, everything, or nothing.
        lora_rank, lora_alpha, lora_dropout: of LoRA on the query and value projections.
        checkpoint_gradients: recompute the language model's layers in the backward pass, to save memory.
        view_dropout: training probability that a view is taken for absent.
        report_tokens: longest report, in tokens without the end mark.
        num_beams: beams of the search; 1 is greedy.
        min_new_tokens, repetition_penalty, length_penalty, no_repeat_ngram: of the search, as in
            ``methods.common.generation.Decoding``.
        image_guidance: w of ``ImageGuidance`` in greedy search; 1 leaves it out.
        draw_temperature: divides the logits where reports are drawn at random.
        warmup: part of the steps in which the learning rate rises.
    """

    training: TrainingConfig = TrainingConfig(epochs=15, batch_size=16, gradient_clip=1.0, keep="last")
    image_size: int = 224
    vision: Literal["swin", "lite0"] = "swin"
    swin: str = "microsoft/swin-base-patch4-window7-224"
    swin_width: int = 128
    swin_depths: tuple[int, ...] = (2, 2, 18, 2)
    swin_heads: tuple[int, ...] = (4, 8, 16, 32)
    swin_window: int = 7
    lite0_stage: int = 5
    token_pool: int = 8
    visual_width: int = 256
    keep_features: bool = False
    vse: bool = True
    vse_width: int = 2048
    vse_pairs: Literal["itself", "second view"] = "itself"
    vse_dropout: float = 0.2
    did: bool = True
    teacher: Literal["hidden", "embeddings"] = "hidden"
    temperature: float = 0.07
    llm: str = "meta-llama/Llama-2-7b-chat-hf"
    llm_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    llm_vocabulary: int = 32000
    llm_width: int = 4096
    llm_layers: int = 32
    llm_heads: int = 32
    llm_kv_heads: int = 32
    llm_hidden: int = 11008
    adapt: Literal["lora", "full", "none"] = "lora"
    lora_rank: int = 16
    lora_alpha: int = 16
    lora_dropout: float = 0.1
    checkpoint_gradients: bool = True
    view_dropout: float = 0.1
    report_tokens: int = 100
    num_beams: int = 3
    min_new_tokens: int = 80
    repetition_penalty: float = 2.0
    length_penalty: float = 2.0
    no_repeat_ngram: int = 0
    image_guidance: float = Field(default=1.0, ge=0.0)
    draw_temperature: float = 1.0
    learning_rate: float = Field(default=1e-4, ge=0)
    weight_decay: float = 0.01
    warmup: float = 0.0
    schedule: Literal["cosine", "linear"] = "cosine"

    @model_validator(mode="after")
    def _search_is_possible(self) -> Self:
        if self.min_new_tokens > self.report_tokens:
            raise ValueError(
                f"min_new_tokens of {self.min_new_tokens} is above report_tokens of {self.report_tokens}"
            )
        if self.image_guidance != 1.0 and self.num_beams > 1:
            raise ValueError(f"image_guidance of {self.image_guidance} needs num_beams of 1")
        return self
