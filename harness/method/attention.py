"""What a method says about where the words of a report look in the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class WordAttention:
    """Attention of a report's words on one study's images.

    Attributes:
        words: of the report, in its order; a language model's tokens where it has no words.
        weights: (words, views, h, w), not negative. Those of a word sum to 1 over views and positions: of
            its attention on the images, the share of each position. What it gives to a context, to latents or
            to other words is left out. All zeros where a study has no image.
    """

    words: tuple[str, ...]
    weights: NDArray[np.float32]
