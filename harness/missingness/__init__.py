"""Which sample loses which modality: drop policies, mechanisms, nested seeded masks, for data of one's own too."""

from harness.missingness.arrays import ArrayMasks, draw_masks
from harness.missingness.plan import Missingness

__all__ = ["ArrayMasks", "Missingness", "draw_masks"]
