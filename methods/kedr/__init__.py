"""KEDR: Knowledge-enhanced Explicitly Disentangled Representation with Missing Modality for Medical Image
Diagnosis (Li et al., Information Fusion 136, 2026, https://doi.org/10.1016/j.inffus.2026.104502).

Official code: https://github.com/lijing-coder/KEDR (no licence; this is written from the paper).
Shapes: batch B, two modalities, classes or findings K, width d. Branches: modality 1, modality 2, shared.

Implemented: backbones and encoders (``vision``), semantic priors (``knowledge``), alignment, orthogonality
and confidence (``losses``), fusion at a fixed point (``fusion``, ``equilibrium``), weight averaging
(``averaging``). Deviations from the paper, or choices where it is silent, are ``KEDR.card.deviations``.
"""
