"""ShaSpec: diagnosis from modalities that may be missing, by shared and specific features.

Wang et al., "Multi-modal Learning with Missing Modality via Shared-Specific Feature Modelling", CVPR 2023
(arXiv 2307.14126). One shared encoder reads every modality, and each modality has a specific encoder of its
own. Their outputs are fused residually; in an absent modality's place stands the mean of the shared features
of those that are present. Two auxiliary losses keep the encoders to their parts: distribution alignment draws
the shared features of a study's modalities together, and domain classification tells the modality from the
specific feature.

Facts from the authors' released code: both weights (0.1 and 0.02), L1 as the alignment, a linear domain
classifier, a residual of one layer, random subsets of modalities in training. This is written from the
paper's account and these facts; nothing is copied.

Shapes: batch B, modalities N, width W, labels L.
"""
