"""DiA-gnostic VLVAE: Disentangled Alignment-Constrained Vision Language Variational AutoEncoder for Robust
Radiology Reporting with Missing Modalities (Shaik, Cherukuri, Masood, Ye).

Guided Context Attention, its vision attention: arXiv 2406.13126. The paper announces code but links none.
Symbols: V image, L clinical context, R report, E embedding width, Z_v, Z_l, Z_s vision-specific,
language-specific and shared latents. Shapes: batch B, views N, tokens S, latent D.

Implemented: extraction and fusion of both modalities (``features``), VL-MoE-VAE (``vae``) and its losses
(``losses``), LLaMA-X and the decoders of Table 3 (``decoder``). Deviations from the paper, or choices where
it is silent, are ``DiA.card.deviations``.
"""
