"""MicarVLMoE: A Modern Gated Cross-Aligned Vision-Language Mixture of Experts Model for Medical Image
Captioning and Report Generation (Izhar, Japar, Idris, Dang).

Official code: https://github.com/AI-14/micar-vl-moe (no licence; this is written from the paper).
Shapes: batch B, views N, patches of a view s, image tokens T, words S, width E (d_model).

Implemented: the multiscale vision encoder (``vision``), latent attention (``attention``), encoder and
decoder with gated fusion and experts (``decoder``), load balancing (``losses``). Deviations from the paper,
or choices where it is silent, are ``MicarVLMoE.card.deviations``.
"""
