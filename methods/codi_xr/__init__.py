"""CoDi XR: Any-to-Any Vision-Language Model for Multimodal X-ray Imaging and Radiological Report Generation
(Molino, Di Feola, Shen, Soda, Guarrasi), arXiv 2505.01091.

It adapts CoDi (Tang et al. 2023, arXiv 2305.11846) to frontal view, lateral view and report. Stage 1 aligns
them in one space, stage 2 trains a latent diffusion model for each, stage 3 conditions each of these on the
others.
Shapes: batch B, embedding D, image latent c x h x w, report latent Z, environment E, branches M.

Implemented: autoencoders of images and reports (``autoencoders``), stage 1 (``contrastive``), denoisers with
their connectors (``denoisers``, ``blocks``), environment encoders of stage 3 (``environment``), samplers
(``diffusion``), pretrained parts and their tokenizers (``pretrained``, ``subwords``). Deviations
from the paper, or choices where it is silent, are ``CoDiXR.card.deviations``.
"""
