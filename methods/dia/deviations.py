"""Where the paper is silent, contradicts itself, or is not followed."""

from __future__ import annotations

from harness.method.card import Deviation

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        id="views",
        where="views: the paper's V is one image; IU X-Ray studies have two",
        chosen="tokens of all present views are concatenated with a view-and-position embedding; VGG "
        "features are averaged over present views (tiny's maps stand side by side); the vision "
        "decoder draws every view, and absent ones do not count",
    ),
    Deviation(
        id="guided-context-attention",
        where="guided context attention is cited, not defined (the supplement's Table 4 calls it global)",
        chosen="arXiv 2406.13126 with a softmax over H x W, a bottleneck of C/8 and no norm inside the gate",
    ),
    Deviation(
        id="null-tokens",
        where="how the null token enters F_V, F_L, q(Z_v|V), q(Z_l|L) and the experts",
        chosen="one learned null vector in each place; the experts and the router see the null features",
    ),
    Deviation(
        id="modality-dropout",
        where="the router 'learns' pi_L ~ 0 because it met null in training; no training dropout is "
        "described",
        chosen="context and views are dropped in training (15 % and 10 %; tiny: 60 % and 10 %), and the "
        "router's logit of an absent modality is masked, so that pi is 0 from the first step instead "
        "of merely tending to it",
    ),
    Deviation(
        id="shared-experts",
        where="what the shared experts read (F_VL is said to feed the VLVAE, but then q(Z_s|V) would depend "
        "on L)",
        chosen="the means over tokens of F_V and of F_L, before fusion: Eq. 3 needs unimodal experts. No "
        "gradient flows back: on F_V the constraint's was ten times the report's, and the extractors "
        "are the paper's baseline, trained 'before probabilistic modeling'",
    ),
    Deviation(
        id="drawing-z-s",
        where="drawing Z_s from the mixture (Eq. 3), whose experts are to be combined",
        chosen="the pi-weighted mean of the experts, of their reparameterised samples in training and of "
        "their means at inference: Z_s holds both modalities, where a choice of one expert per study "
        "let the router leave the other",
    ),
    Deviation(
        id="reconstructions",
        where="Eq. 4 conditions the reconstructions on Z_s; the supplement says decoders do not use it",
        chosen="the supplement: p(V|Z_v) and p(L|Z_l)",
    ),
    Deviation(
        id="jsd",
        where="the JSD of a mixture and a Gaussian has no closed form",
        chosen="Monte Carlo with reparameterised draws, stratified by expert so that it trains the router; "
        "prior N(0, I). Of each latent dimension: over all together it is at its bound, log 2, and "
        "has no gradient",
    ),
    Deviation(
        id="likelihoods",
        where="the likelihoods of Eq. 4 and the scale of Eq. 7 against L_CE's sum over words",
        chosen="pixels are unit-variance Gaussian; each term is a mean over its own elements: L_CE over "
        "words (the batch's nats per study, divided by the mean length of the training reports), the "
        "reconstructions over pixels and over context words, KL and JSD over latent dimensions. In "
        "nats per study pixels were 89 % of the loss (paper preset: 99.7 %), and the posteriors fell "
        "onto the prior",
    ),
    Deviation(
        id="sign-of-elbo",
        where="sign of L_ELBO in Eq. 7 (a bound that is maximised is added to a loss)",
        chosen="its negative is added",
    ),
    Deviation(
        id="whitening",
        where="whitening in Eq. 5: 'unit covariance', 'via a batch normalization layer'; the norm's scale",
        chosen="of posterior means, batch normalisation without affine part over the studies that have the "
        "pair's modalities; cross-correlations are running means over batches (a batch counts 5 %), "
        "because those of one batch are mostly noise: with the paper's four studies and 256 "
        "dimensions nothing else; each squared norm is divided by D; lambda_1 is 0.3, of tiny 0.1",
    ),
    Deviation(
        id="negatives",
        where="Eq. 6 contrasts Z_v with Z_l of the same study; Prop. 2 uses other studies' latents. Eq. 6 "
        "as printed is smallest (2 log 2) whenever both similarities are equal, however small: it "
        "aligns nothing",
        chosen="Prop. 2, in-batch negatives; Eq. 6 as printed is negatives=pair",
    ),
    Deviation(
        id="latents-in-memory",
        where="how Z_v, Z_l and Z_s reach the decoder",
        chosen="three more tokens of the memory after F_VL, each through its own linear layer, then "
        "normalised",
    ),
    Deviation(
        id="swiglu",
        where="SwiGLU is printed (xW1) * sigma(xW2)W3, without saying where the product ends",
        chosen="((xW1) * SiLU(xW2)) W3; RMSNorm has a learned gain",
    ),
    Deviation(
        id="cross-attention",
        where="LLaMA-X's cross-attention ('GPT-derived') and its heads",
        chosen="full multi-head without positions, keys and values projected once; grouped queries in "
        "self-attention",
    ),
    Deviation(
        id="widths",
        where="feed-forward widths of the abstractor, the context decoder and LLaMA-X; width of VGG's MLP; "
        "vision decoder",
        chosen="4E wherever Table 4 gives none; VGG's own 4096; the vision decoder mirrors that MLP and has "
        "one transposed convolution per VGG block: 573.9 M parameters at MIMIC-CXR's 4,000 words "
        "(published, on MIMIC-CXR: 589.7 M, 2.8 % more), 555.5 M at IU X-Ray's 1,000",
    ),
    Deviation(
        id="flops",
        where="FLOPs: 51.14 G without saying of what",
        chosen="counted for the training forward pass on one 224-pixel colour view, 50 context and 50 report "
        "words; 9.6 G of it are the two VAE decoders, which inference does not run, and 30.7 G are "
        "VGG16",
    ),
    Deviation(
        id="vgg-mlp",
        where="main text: one fully connected layer after VGG16; Table 4: a two-layer MLP",
        chosen="Table 4; batch statistics are not used, VGG16 has no normalisation layers",
    ),
    Deviation(
        id="words",
        where="words and report length; of MIMIC-CXR, words seen fewer than 4 times are discarded; IU X-Ray "
        "has a 1,000 word vocabulary, of which texts is not said",
        chosen="one word-level vocabulary of training reports and contexts, words seen at least 4 times; "
        "with max_words=1000 and min_count=1, as printed for IU X-Ray, the 1,000 most frequent ones, ties "
        "alphabetical, besides the marks for padding, begin, end and unknown; "
        "reports cut at 50 words, where the '.' that closes a sentence is not counted; lower case, numbers "
        "and '.' kept, <unk> never generated",
    ),
    Deviation(
        id="chosen-epoch",
        where="which epoch's weights are evaluated",
        chosen="the last one's: the number of epochs is all that the paper states",
    ),
    Deviation(
        id="search",
        where="search is not described",
        chosen="greedy; num_beams switches to beam search with length-normalised scores",
    ),
    Deviation(
        id="learning-rate",
        where="learning rate after the warm-up",
        chosen="constant (paper preset); falls linearly to 0 (tiny, base)",
    ),
    Deviation(
        id="clipping",
        where="gradient clipping is not described",
        chosen="none (paper preset); tiny clips the gradient of each part by itself, so that a large one of "
        "the posteriors does not shrink the decoder's step",
    ),
    Deviation(
        id="table-3-decoders",
        where="GPT-2 and Transformer decoders of Table 3: no sizes",
        chosen="LLaMA-X's width, depth and heads from random initialisation, the report vocabulary, no cache",
    ),
    Deviation(
        id="imagenet-weights",
        where="ImageNet weights of EfficientNet-B0 and VGG16 ship with no package",
        chosen="paper trains only where backbone_weights and vgg_weights name them, or say random; base "
        "fine-tunes Lite0, whose weights a package ships, and a narrower VGG from scratch; tiny uses "
        "Lite0's, frozen and cut at stride 16: averaged into one token per view and "
        "standardised for F_V, averaged to 4 x 4 and standardised for q(Z_v|V), in VGG16's place",
    ),
    Deviation(
        id="rad-dino",
        where="Table 3's RAD-DINO + CXR-BERT encoder variant",
        chosen="not implemented: its weights ship with no package",
    ),
)
