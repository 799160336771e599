"""Where the paper is silent, contradicts itself, or is not followed."""

from __future__ import annotations

from harness.method.card import Deviation

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        id="clip",
        where="which CLIP: ViT-base in the summary of the method; the code that it builds on has ViT-L/14",
        chosen="ViT-L/14, 224 px, 768-d embeddings, 77 tokens",
    ),
    Deviation(
        id="parameters",
        where="parameters: 6.77 B without a breakdown; 6.675 B by the configurations of the same "
        "group's public code, of which 1.562 B are layers for videos (of UNets, CLIP and "
        "AutoencoderKL) that never run on a still image",
        chosen="5.11 B, all that can act: CLIP 0.43, AutoencoderKL 0.08, Optimus 0.24, two image UNets "
        "0.86 each, report UNet 1.71, connectors 0.24 a branch, environment encoders 0.05 a view "
        "and 0.10 of reports",
    ),
    Deviation(
        id="context",
        where="the context of the denoisers",
        chosen="one token, the mean of the conditions' unit embeddings, made a unit vector again and "
        "scaled by the root of its width; no condition is a token of zeros. tiny and base also "
        "add it to the time embedding, because attention to a single token does little in so few "
        "steps",
    ),
    Deviation(
        id="several-conditions",
        where="several conditions: a weighted mean with weights that are not given",
        chosen="equal weights (weights=...); in training one of the other modalities or both, 10 % of "
        "the time none",
    ),
    Deviation(
        id="stage-2",
        where="stage 2 trains a model per modality",
        chosen="the three share no parameters and train side by side in one loop on kept latents and "
        "embeddings; gradients are clipped together",
    ),
    Deviation(
        id="stage-3-sizes",
        where="environment encoders and the cross-attention between branches are not sized; "
        "hyper-parameters of stage 3 are not given",
        chosen="sizes of the public code: an encoder is its UNet's way down without attention and gives "
        "one token of 1280; a connector is a Transformer block after every one that reads the "
        "condition, save the middle one, and adds nothing at first. A contrastive term between "
        "the tokens of a study at temperature 0.1, weight 1",
    ),
    Deviation(
        id="stage-3-targets",
        where="what stage 3 generates and on which condition",
        chosen="two modalities, at the same time step, from the third, drawn per study; a branch hears "
        "the token of the other one (in the public code it hears its own, so branches exchange "
        "nothing)",
    ),
    Deviation(
        id="diffused-latents",
        where="latents that are diffused: drawn from the posterior in Stable Diffusion",
        chosen="posterior means, computed once per study",
    ),
    Deviation(
        id="latent-scale",
        where="scale of the latents (0.18215 for images, 4.3108 for reports in CoDi)",
        chosen="paper: 0.18215 for images; report latents, and image latents of tiny and base, whose "
        "autoencoder is trained here, are standardised with the training studies' moments; tiny's"
        " are whitened",
    ),
    Deviation(
        id="free-bits",
        where="free bits of 3.0 and a weight of 0 for half of the training: units and slope",
        chosen="KL of a dimension counts from 3 nats on; the weight rises over a quarter of the steps "
        "after half of them; tiny and base: 0.5 and 0.1 nats, and tiny hides 40 % of GPT-2's "
        "words from it in training",
    ),
    Deviation(
        id="how-z-is-read",
        where="how GPT-2 reads z: Optimus adds z to its word embeddings, and gives key and value one map",
        chosen="so in paper; tiny and base: from its past alone, key and value with maps of their own, "
        "which on validation reports holds more of a report in so few steps",
    ),
    Deviation(
        id="bag-of-words",
        where="a report's z holds little of its findings after minutes of training",
        chosen="tiny: a linear layer on z is to name the words of the report, rare ones weighing more (a"
        " bag-of-words term, Zhao et al. 2017); weight 1, chosen among 0, 0.3, 1 and 3 on "
        "validation reports",
    ),
    Deviation(
        id="z",
        where="z is BERT's pooled first token; BERT and GPT-2 are pretrained",
        chosen="tiny and base start from nothing: z is the mean over words, and initial weights are "
        "larger, else z comes to hold nothing of a report (posterior collapse)",
    ),
    Deviation(
        id="reports",
        where="reports: impressions of MIMIC-CXR",
        chosen="the dataset's reports (findings on IU X-Ray), lower case. paper reads CLIP's text side, "
        "BERT and GPT-2 (or a checkpoint of Optimus) with their tokenizers from folders; tiny and"
        " base start from nothing, with one vocabulary of whole words for all three",
    ),
    Deviation(
        id="decoding",
        where="decoding of reports is not described",
        chosen="the most probable word at each step",
    ),
    Deviation(
        id="leaderboard-reports",
        where="reports on the leaderboard",
        chosen="from the views that are present and nothing else, with noise that follows from the "
        "study; tiny: sampling starts from zeros instead of noise, so that a report is the most "
        "likely one",
    ),
    Deviation(
        id="small-images",
        where="tiny: minutes on a CPU",
        chosen="128 px; an image becomes its 256 first principal components, and an AutoencoderKL of one"
        " level makes 128 latents of them, whitened; it starts as the truncation of the "
        "components, without norms before the last convolutions. Contrastive encoders are "
        "perceptrons on these latents and one Transformer layer on words; one level of UNet",
    ),
    Deviation(
        id="expectation",
        where="how strongly a condition acts after minutes of training",
        chosen="tiny: latents are diffused around what ridge regression expects of the condition's "
        "token, a data-dependent prior (Lee et al. 2022), fitted on one and on two conditions "
        "before stage 2; reports multiply the expectation by 2.5; prior_mean=false leaves it out",
    ),
    Deviation(
        id="gaussian-start",
        where="what a denoiser predicts: the noise",
        chosen="tiny: what is missing to the noise in Gaussian latents of unit variance, which needs no "
        "learning (gaussian_start=false leaves it out)",
    ),
    Deviation(
        id="gaussian-joint",
        where="how strongly branches of a joint generation act on each other after minutes of training",
        chosen="tiny: they start at what is right for jointly Gaussian latents, with the covariance of "
        "the training studies; connectors learn what is left, which in so few steps is nothing "
        "that a probe could see (gaussian_joint=false leaves it out; no-alignment has neither)",
    ),
    Deviation(
        id="sampler",
        where="tiny and base: sampler",
        chosen="DPM-Solver++ of order 2 with 10 (tiny) and 20 (base) steps; paper: DDIM with 50, "
        "guidance 7.5",
    ),
)
