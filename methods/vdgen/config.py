"""VDGen's configuration (the paper's symbols and values), presets and ablations."""

from __future__ import annotations

from typing import Any, Literal

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
    draw_temperature: float = 1.0
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    warmup: float = 0.0
    schedule: Literal["cosine", "linear"] = "cosine"


TINY: dict[str, Any] = {
    "training": {"epochs": 8, "batch_size": 16, "val_every": 4, "bucket": 8},
    "image_size": 128,
    "vision": "lite0",
    "visual_width": 256,
    "keep_features": True,
    "vse_width": 512,
    "teacher": "embeddings",
    "llm": "",
    "llm_vocabulary": 1200,
    "llm_width": 128,
    "llm_layers": 2,
    "llm_heads": 4,
    "llm_kv_heads": 4,
    "llm_hidden": 256,
    "adapt": "full",
    "checkpoint_gradients": False,
    "report_tokens": 60,
    "num_beams": 1,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "warmup": 0.1,
    "schedule": "linear",
}

BASE: dict[str, Any] = {
    **TINY,
    "training": {"epochs": 20, "batch_size": 16, "val_every": 4, "bucket": 8},
    "visual_width": 512,
    "llm_vocabulary": 2000,
    "vse_width": 1024,
    "llm_width": 384,
    "llm_layers": 6,
    "llm_heads": 6,
    "llm_kv_heads": 6,
    "llm_hidden": 1024,
    "report_tokens": 100,
    "num_beams": 3,
    "learning_rate": 6e-4,
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "no-vse": ("without Vision Self-Equilibration (Table 2)", {"vse": False}),
    "no-did": ("without Disease Information Distillation (Table 2)", {"did": False}),
    "no-lora": ("the language model stays as it is (Table 2)", {"adapt": "none"}),
}

DEVIATIONS: tuple[tuple[str, str], ...] = (
    (
        "Eq. 3 sets S_ii = -inf and has exp(S_ii) as numerator: undefined as printed",
        "S_ij compares image i with a second view of image j, so that S_ii is the similarity of two views of "
        "one image, an image's similarity with itself (-inf) does not occur; the second view is a turned, "
        "scaled, shifted image of other brightness and contrast (never mirrored: sides are findings), or, "
        "on kept features, dropout of 20 % of them; in evaluation the views are equal",
    ),
    (
        "S_ij of Eq. 3 is an inner product of vectors of any length",
        "z^v is brought to unit length first, as Eq. 4 and 5 do it: at tau's size the loss would else start "
        "in the thousands and could be lowered by shrinking z^v",
    ),
    ("tau and the size of z^v ('higher-dimensional') are not printed", "0.07 in Eq. 3 and 6; 2D"),
    (
        "Eq. 4 averages I^e, the text then calls z^img 'aligned'; z^text in Eq. 5 and 6 has a hat or none",
        "the image side has no map of its own; W_2, B_2 map the report to D; S_ij = z_i^img . z_j^text",
    ),
    (
        "Eq. 5's text vector: 'after being encoded by a language model', L vectors become one unsaid how",
        "mean over the report's tokens of the decoder's own last hidden states, adapters off, without "
        "gradient (it is the teacher); models trained from scratch have no knowledge to distil from hidden "
        "states, so tiny and base take the mean of the token embeddings, a sketch of the report's words",
    ),
    (
        "Eq. 1 and 7 start at p(T_2 | T_1); Eq. 2 sums over the vocabulary size N and i, n are mixed",
        "cross-entropy of every token from the first to the end mark, averaged over the batch's tokens",
    ),
    (
        "a [CLS] token is appended for Swin, which has none; LayerNorm 'before VSE'",
        "no [CLS]; a LayerNorm of its own after the encoder gives I^e, which VSE, DID and the prompt share",
    ),
    (
        "how I^e of width D enters a prompt of the language model's width",
        "one linear layer; all S vectors of every present view stand between <img> and </img>",
    ),
    (
        "the paper's I is one image; IU X-Ray studies have two views",
        "vectors of the present views in the order frontal, lateral, plus a learned vector per view where "
        "a dataset has several; averages run over all of them. With no view left: one learned null vector, "
        "and the study takes no part in VSE and DID",
    ),
    (
        "absent views do not occur in the paper's training",
        "each view is taken for absent with 10 % probability in training, without which the null vector "
        "would never be learned",
    ),
    (
        "which weights LoRA adapts, its dropout, and whether the visual encoder trains",
        "query and value projections (peft's choice for Llama), dropout 0.1; the encoder trains, for VSE and "
        "DID calibrate its features",
    ),
    (
        "epochs, optimiser, schedule, weight decay",
        "15 epochs of AdamW, weight decay 0.01 on matrices, cosine to 0 without warm-up, gradients clipped "
        "at norm 1; the last epoch's weights",
    ),
    (
        "search: only the limit of 100 tokens is legible",
        "beam 3 without penalties (greedy in tiny); padding, begin and unknown marks are never generated",
    ),
    (
        "report text",
        "lower case, numbering and punctuation but '.' removed, as the paper's examples are printed; "
        "an end mark closes each report",
    ),
    (
        "Llama-2-7B-chat and Swin-B ship with no package",
        "paper reads both from folders or the hub's cache and downloads only with HARNESS_ALLOW_DOWNLOADS=1; "
        "a checkpoint holds what was trained, and the language model's name and fingerprint",
    ),
    (
        "tiny and base: no pretrained language model, no pretrained Swin",
        "a small Llama of which all weights train, for adapters on random weights would adapt nothing, with "
        "a BPE tokenizer trained on the reports in which each half of the prompt is one token; frozen Lite0 "
        "features of 128 pixels at stride 16, averaged to one token per view, standardised per view and "
        "channel, and mapped linearly before I^e. no-lora "
        "freezes that Llama at its random initialisation: what it says can then come from the prompt alone",
    ),
)
