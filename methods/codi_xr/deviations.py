"""Where the paper is silent, contradicts itself, or is not followed."""

from __future__ import annotations

DEVIATIONS: tuple[tuple[str, str], ...] = (("placeholder", "placeholder"),)
