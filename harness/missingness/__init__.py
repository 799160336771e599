"""Which sample loses which modality: drop policies, mechanisms, and nested, seeded masks."""

from harness.missingness.arrays import ArrayMasks, draw_masks
from harness.missingness.plan import Missingness

__all__ = ["ArrayMasks", "Missingness", "draw_masks"]
