"""Where the paper is silent, contradicts itself, or is not followed."""

from __future__ import annotations

from harness.method.card import Deviation

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        id="vse-diagonal",
        where="Eq. 3 sets S_ii = -inf and has exp(S_ii) as numerator: undefined as printed",
        chosen="S_ii is -inf in the denominator alone: the numerator is an image's similarity with "
        "itself, which is constant for vectors of unit length, and the loss pushes the images of "
        "a batch apart. vse_pairs='second view' is the other reading: S_ij compares image i with "
        "a second view of image j (a turned, scaled, shifted image of other brightness and "
        "contrast, never mirrored: sides are findings; on kept features, dropout of 20 % of "
        "them). It takes a second pass of the encoder, and its loss is near 0 from the first step"
        " on (0.013 in tiny, where chance is 2.77)",
    ),
    Deviation(
        id="unit-length",
        where="S_ij of Eq. 3 is an inner product of vectors of any length",
        chosen="z^v is brought to unit length first, as Eq. 4 and 5 do it: at tau's size the loss would "
        "else start in the thousands and could be lowered by shrinking z^v",
    ),
    Deviation(
        id="temperature",
        where="tau and the size of z^v ('higher-dimensional') are not printed",
        chosen="0.07 in Eq. 3 and 6; 2D",
    ),
    Deviation(
        id="image-vector",
        where="Eq. 4 averages I^e, the text then calls z^img 'aligned'; z^text in Eq. 5 and 6 has a hat"
        " or none",
        chosen="the image side has no map of its own; W_2, B_2 map the report to D; S_ij = z_i^img . "
        "z_j^text",
    ),
    Deviation(
        id="text-vector",
        where="Eq. 5's text vector: 'after being encoded by a language model', L vectors become one "
        "unsaid how",
        chosen="mean over the report's tokens, without the begin mark before them, of the decoder's own "
        "last hidden states, adapters off, without gradient (it is the teacher); models trained "
        "from scratch have no knowledge to distil from hidden states, so tiny and base take the "
        "mean of the token embeddings, a sketch of the report's words",
    ),
    Deviation(
        id="report-loss",
        where="Eq. 1 and 7 start at p(T_2 | T_1); Eq. 2 sums over the vocabulary size N and i, n are mixed",
        chosen="cross-entropy of every token from the first to the end mark, averaged over the batch's "
        "tokens",
    ),
    Deviation(
        id="cls",
        where="a [CLS] token is appended for Swin, which has none; LayerNorm 'before VSE'",
        chosen="no [CLS]; a LayerNorm of its own after the encoder gives I^e, which VSE, DID and the "
        "prompt share",
    ),
    Deviation(
        id="prompt",
        where="how I^e of width D enters a prompt of the language model's width",
        chosen="one linear layer; all S vectors of every present view stand between <img> and </img>",
    ),
    Deviation(
        id="views",
        where="the paper's I is one image; IU X-Ray studies have two views",
        chosen="vectors of the present views in the order frontal, lateral, plus a learned vector per "
        "view where a dataset has several; averages run over all of them. With no view left: one "
        "learned null vector, and the study takes no part in VSE and DID",
    ),
    Deviation(
        id="view-dropout",
        where="absent views do not occur in the paper's training",
        chosen="each view is taken for absent with 10 % probability in training, without which the null "
        "vector would never be learned",
    ),
    Deviation(
        id="lora",
        where="which weights LoRA adapts, its dropout, and whether the visual encoder trains",
        chosen="query and value projections (peft's choice for Llama), dropout 0.1; the encoder trains, "
        "for VSE and DID calibrate its features",
    ),
    Deviation(
        id="training",
        where="epochs, optimiser, schedule, weight decay",
        chosen="15 epochs of AdamW, weight decay 0.01 on matrices, cosine to 0 without warm-up, "
        "gradients clipped at norm 1; the last epoch's weights",
    ),
    Deviation(
        id="search",
        where="search: only the limit of 100 tokens is legible",
        chosen="beam 3 with R2GenGPT's values: at least 80 tokens, repetition penalty 2, length penalty "
        "2 (its reports are MIMIC-CXR's; shorter ones need a smaller min_new_tokens); base: beam "
        "3, tiny: greedy with at least 18 tokens, guided by the image with w = 2.5 "
        "(docs/results/vdgen.md), both without penalties; padding, begin and unknown marks are "
        "never generated",
    ),
    Deviation(
        id="report-text",
        where="report text",
        chosen="lower case, numbering and punctuation but '.' removed, as the paper's examples are "
        "printed; an end mark closes each report",
    ),
    Deviation(
        id="pretrained",
        where="Llama-2-7B-chat and Swin-B ship with no package",
        chosen="paper reads both from folders or the hub's cache and downloads only with "
        "HARNESS_ALLOW_DOWNLOADS=1; a checkpoint holds what was trained, and the language model's"
        " name and fingerprint",
    ),
    Deviation(
        id="small-models",
        where="tiny and base: no pretrained language model, no pretrained Swin",
        chosen="a small Llama of which all weights train, for adapters on random weights would adapt "
        "nothing, with a BPE tokenizer trained on the reports in which each half of the prompt is"
        " one token; frozen Lite0 features of 128 pixels at stride 16, averaged to one token per "
        "view, standardised per view and channel, and mapped linearly before I^e. no-lora freezes"
        " that Llama at its random initialisation: what it says can then come from the prompt "
        "alone",
    ),
)
