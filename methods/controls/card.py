"""The cards of the controls."""

from __future__ import annotations

from harness.core.types import Task
from harness.method.card import MethodCard

BOTH_TASKS = frozenset({Task.REPORT, Task.DIAGNOSE})


TEMPLATE = MethodCard(
    name="template",
    title="medoid training report, class priors",
    paper="",
    licence="Apache-2.0",
    tasks=BOTH_TASKS,
    reads=frozenset(),
    learned=False,
)

RETRIEVAL = MethodCard(
    name="retrieval",
    title="nearest training study by frozen ImageNet features",
    paper="",
    licence="Apache-2.0",
    tasks=BOTH_TASKS,
    reads=frozenset({"frontal", "lateral", "clinical", "dermoscopic", "fundus", "oct", "slo"}),
    learned=False,
)

NOISE = MethodCard(
    name="noise",
    title="Gaussian pixels around the mean training image, no condition",
    paper="",
    licence="Apache-2.0",
    tasks=frozenset({Task.SYNTHESIZE}),
    reads=frozenset(),
    learned=False,
)
