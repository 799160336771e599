"""VDGen: visual and diagnostic representations calibrated for radiology report generation (anonymous ACL
submission).

The paper links no code. Its recipe (Swin-B, Llama-2-7B-chat, image vectors inside a prompt) is R2GenGPT's
(Wang et al. 2023, https://github.com/wang-zhanyu/R2GenGPT); new are VSE and DID.
Symbols: I^e encoded image, h its mean, z^v, z^img, z^text what VSE and DID compare, T report tokens.
Shapes: batch B, views N, vectors per view S, their width D, report tokens T, language model's width D_t.

Implemented: visual encoders (``vision``), VSE and DID (``losses``), tokens, prompt and LoRA (``language``),
guidance by the image (``guidance``).
Deviations from the paper, or choices where it is silent, are ``VDGen.card.deviations``.
"""
