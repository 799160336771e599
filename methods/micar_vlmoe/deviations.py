"""Where the paper is silent, contradicts itself, or is not followed."""

from __future__ import annotations

from harness.method.card import Deviation

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        id="views",
        where="views: the paper has one image a study; IU X-Ray studies have up to two",
        chosen="each view passes the vision encoder alone; the tokens of all present views are "
        "concatenated, told apart by one learned vector per view, and masked where a view is "
        "absent. With none left the image is one learned null token",
    ),
    Deviation(
        id="bottlenecks",
        where="Eq. 2 prints a down-projection, RMSNorm and up-projection each for query, key and value",
        chosen="the three are stacked as in the released code: one bottleneck of 3 d_model/h in "
        "self-attention (192), one of d_model/h for queries (64) and one of 2 d_model/h for "
        "keys and values (128) in cross-attention. The stacked up-projection is a full "
        "matrix, so the printed form is a special case but for the norm's mean",
    ),
    Deviation(
        id="attention-scale",
        where="Eq. 3 divides by the root of d_latent, the released code by the root of a head's width",
        chosen="the paper: the root of 768, not of 96",
    ),
    Deviation(
        id="rope",
        where="RoPE branch of 48 dimensions; the released code rotates 24 of them",
        chosen="the paper: all 48. Pairs are (i, i + 24) and the base is 10,000, on which the paper "
        "is silent",
    ),
    Deviation(
        id="rope-in-cross-attention",
        where="RoPE in cross-attention: what position an image token has",
        chosen="its place in the sequence of tokens, counted from 0, as in the released code; words "
        "have theirs",
    ),
    Deviation(
        id="residual",
        where="Eq. 4 adds H_sa to GatedFusion(H_sa, I), whose own Eq. 5 has already added it",
        chosen="as printed: the text's residual counts twice",
    ),
    Deviation(
        id="fusion-input",
        where="Eq. 5: Fusion reads I_att as it is; the released code gives it RMSNorm(I_att)",
        chosen="the paper: I_att as it is",
    ),
    Deviation(
        id="fusion-size",
        where="Eq. 5: sizes of MLP and Fusion are not given",
        chosen="two layers each, width d_model in between, SiLU, biases; Fusion has dropout after both",
    ),
    Deviation(
        id="absent-tokens",
        where="Eq. 5: mean and maximum where tokens are absent",
        chosen="over the tokens that are there",
    ),
    Deviation(
        id="expert-weights",
        where="Eq. 6 weights expert i by S_top,i; the released code multiplies every chosen expert "
        "by the sum of the renormalised weights, which is 1, so that its gate learns from the "
        "balancing loss alone",
        chosen="the paper, without renormalising: the gate learns from the report, too",
    ),
    Deviation(
        id="balance-tokens",
        where="Eq. 6: over which tokens the mean score of L_b runs",
        chosen="over all words of the batch; padding neither counts nor passes an expert",
    ),
    Deviation(
        id="loss-mean",
        where="Eq. 7: L_lang is a sum over words, and N counts words in one place and layers in the other",
        chosen="the mean over the batch's words, L_balance the mean over decoder blocks: the loss "
        "reads per word",
    ),
    Deviation(
        id="final-norm",
        where="the norm before the projection to the vocabulary is not mentioned",
        chosen="an RMSNorm, as pre-normalised blocks need one and the released code has one",
    ),
    Deviation(
        id="patches",
        where="number of patches s_i",
        chosen="7 x 7, the released code's; tiny and base 4 x 4; an interpolated level is bilinear; "
        "phi and Psi have biases",
    ),
    Deviation(
        id="initialisation",
        where="initialisation",
        chosen="Xavier uniform for linear layers outside the vision encoder, word vectors of "
        "expected norm 1; paper trains only where backbone_weights names ImageNet weights of ResNet-101 "
        "(no package ships them), or says random",
    ),
    Deviation(
        id="depth",
        where="encoder and decoder depth, epochs, batch: set per dataset, none for IU X-Ray",
        chosen="COVCTR's: 2 blocks, 100 epochs, batch 16; reports of at most 60 words",
    ),
    Deviation(
        id="parameters",
        where="parameters: none printed; the released code has 156.8 M at 1,000 words",
        chosen="156.8 M: vision 88.1, projection 1.1, encoder 8.2, decoder 58.4 and its words 1.0",
    ),
    Deviation(
        id="schedule",
        where="StepLR without a step; AMSGrad is the released code's",
        chosen="a tenth of the rate in the second half of the training; AdamW with AMSGrad",
    ),
    Deviation(
        id="epoch",
        where="which epoch's weights are evaluated",
        chosen="those of the lowest cross-entropy on validation studies (tiny and base: the last epoch's); "
        "training.monitor=text and training.patience=50 take the highest score of generated reports, as "
        "the released code does, which has METEOR in it, too",
    ),
    Deviation(
        id="beam-search",
        where="beam search, width 3, without details; in the released search all beams start alike",
        chosen="hypotheses compete by mean log-probability per word; a finished one is frozen; one "
        "beam branches at the first word",
    ),
    Deviation(
        id="words",
        where="words",
        chosen="those of the dataset's tokenisation profile, at least 3 occurrences; <unk> is never "
        "generated, save under the profiles micar-vlmoe, whose reports have it in place of rare words",
    ),
    Deviation(
        id="ablations",
        where="ablations of Table III: what stands in the place of what is taken away",
        chosen="no-moe: one feed-forward network of d_ff; no-latent-encoder: the projected patches; "
        "no-msve: the backbone's last map, pooled and projected",
    ),
    Deviation(
        id="images",
        where="image size 224 and normalisation",
        chosen="views are resized, not cropped; grey ones are shown in all three channels; "
        "ImageNet's mean and deviation",
    ),
    Deviation(
        id="presets",
        where="presets tiny and base",
        chosen="EfficientNet-Lite0 in ResNet-101's place, whose weights a package ships. base fine-tunes "
        "it; in tiny it is frozen, and its maps are averaged and standardised per view, channel and "
        "position before the pyramid",
    ),
)
