"""Which sample loses which modality: drop policies, mechanisms, nested, seeded masks; corruptions."""

from harness.missingness.arrays import ArrayMasks, draw_masks
from harness.missingness.corruptions import CORRUPTIONS, corrupt
from harness.missingness.plan import Missingness

__all__ = ["CORRUPTIONS", "ArrayMasks", "Missingness", "corrupt", "draw_masks"]
