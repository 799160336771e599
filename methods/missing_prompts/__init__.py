"""Missing-aware prompts: a frozen multimodal transformer, with learned prompts for every missing case.

Lee et al., "Multimodal Prompting with Missing Modalities for Visual Recognition", CVPR 2023 (arXiv
2303.03369). A transformer reads the words of the context and the patches of all views as one sequence. It is
frozen after a training of its own. Each missing case, that is each set of modalities which a study may have,
then has prompts of its own, which the first layers read beside the sequence; the prompts, the pooler and the
classifier alone learn under missing modalities. Prompts stand in the sequence (input level) or beside the
keys and values of the attention (attention level), section 3.3 of the paper.

Facts from the authors' released code: 16 prompts in each of the first 6 layers, a missing rate of 0.7, dummy
inputs (a white image, an empty text), AdamW at 1e-2 with weight decay 2e-2, the two-layer classifier. This is
written from the paper's account and these facts; nothing is copied.

Shapes: batch B, views N, patches of a view P, tokens T, width E, labels L.
"""
