"""Where the paper is silent, needs what is absent here, or is not followed."""

from __future__ import annotations

from harness.method.card import Deviation

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        id="transformer",
        where="the frozen transformer is ViLT-B/32, trained on millions of images with captions; no "
        "package ships its weights",
        chosen="a first stage trains a transformer on the training studies as they are, for the same "
        "labels, and then it is frozen with its statistics. It has therefore seen complete "
        "studies of this task alone. paper: ViLT's shape (12 layers of width 768); tiny and base: "
        "a small one",
    ),
    Deviation(
        id="image-tokens",
        where="the tokens of an image are its patches of 32 x 32 pixels",
        chosen="paper: so, for each view, with one position vector per patch and one vector per view. "
        "tiny and base: groups of positions in the map of a frozen EfficientNet-Lite0, "
        "standardised over training studies, through a linear map per view",
    ),
    Deviation(
        id="words",
        where="the words of the text are BERT's word pieces with ViLT's vectors",
        chosen="the same word pieces, of the context (indication and demographics), as far as training "
        "contexts have them; all others share one vector. paper: vectors that the first stage "
        "learns; tiny and base: those of the frozen MiniLM, which a package ships, through a "
        "linear map. A dataset without context has views alone",
    ),
    Deviation(
        id="three-modalities",
        where="the paper has a text and an image, thus three missing cases",
        chosen="each view and the context are modalities: 2^M - 1 cases of M modalities, seven on chest "
        "X-ray, with prompts of their own, as the paper proposes for more modalities",
    ),
    Deviation(
        id="dummy-inputs",
        where="an absent image is a white one, an absent text the empty one",
        chosen="paper: so. tiny and base: the tokens of an absent view are those of mean features",
    ),
    Deviation(
        id="missing-table",
        where="which training studies lack what is fixed before training; the released code can also "
        "draw it anew",
        chosen="drawn anew in each step: 70 % of the studies get one of the cases that take something "
        "and leave something, each equally often. With two modalities that is the paper's setting "
        "of both missing",
    ),
    Deviation(
        id="classifier",
        where="the pooler is ViLT's, the classifier starts at random",
        chosen="both go on from the first stage, whose classes are the same; the bias starts at the "
        "label frequencies. Dropout before the last layer is not in the paper",
    ),
    Deviation(
        id="initial-prompts",
        where="prompts start as zeros with a row of ones in the released code, which layer "
        "normalisation takes away at the input level",
        chosen="normal values of standard deviation 0.02",
    ),
    Deviation(
        id="attention-output",
        where="at the attention level, where the classifier reads the sequence, which no prompt lengthens",
        chosen="at the start token, as at the input level",
    ),
    Deviation(
        id="optimiser",
        where="AdamW, rate 0.01, weight decay 0.02, 10 % warm-up and linear decay, 20 epochs of 256 studies",
        chosen="paper: so in the second stage, without decay of biases and norms; its first stage has "
        "ViLT's rate of 0.0001. tiny and base: chosen on validation studies, see "
        "docs/results/missing_modality.md",
    ),
    Deviation(
        id="epoch",
        where="which epoch is evaluated: validation studies lack modalities as training studies do",
        chosen="in both stages that of the lowest classification loss on validation studies, with "
        "nothing dropped",
    ),
    Deviation(
        id="no-modality",
        where="a study without any modality",
        chosen="the label frequencies",
    ),
)
