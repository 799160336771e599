"""Vital signs of the prompts."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from harness.method.probes import Probe
from methods.common.diagnosis import relative_change
from methods.missing_prompts.network import MissingPromptsNetwork


def prompt_probes(
    network: MissingPromptsNetwork,
    trunk: Tensor,
    present: Tensor,
    rows: Tensor | None,
    names: list[str],
) -> Iterator[Probe]:
    """Whether it matters for a study without one modality that it reads the prompts of its own case."""
    for number, name in enumerate(names):
        here = present.clone()
        here[:, number] = False
        some = present[:, number] & here.any(1)
        if int(some.sum()) < 2:
            continue
        words = None if rows is None else rows[some]
        own = network(trunk[some], here[some], words)
        other = network(trunk[some], here[some], words, network.cases(present[some]))
        share = relative_change(own - other, own)
        what = (
            f"change of the logits without {name} under the prompts of studies with it, relative to variation"
        )
        yield Probe("missing-aware prompts", what, share, 0.0, 0.5)
