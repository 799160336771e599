"""What a sampler's steps cost and gain: images per second beside the FID of the generated images.

Only trained methods are measured: images of random weights have no quality that fewer steps could lose.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.bench.rows import Row, measured
from harness.core import registry
from harness.core.config import RunSettings
from harness.core.types import DatasetInfo, Prediction, Reference, Study
from harness.evaluation.benchmark import open_benchmark
from harness.evaluation.synthesis import conditioned, generated
from harness.evaluation.trial import Trial
from harness.method.batching import collate
from harness.method.contract import Method
from harness.metrics.images.distances import Lite0Distance

_SUITE = "sampling"
_VIEW = "frontal"
_BATCH = 64
FID = "fid_lite0"
_FIRST = 8
"""Studies that are drawn before the clock starts."""


def sampled_methods() -> list[str]:
    """Registered methods that say which samplers they can draw with (``SAMPLERS``)."""
    return [name for name in registry.names("methods") if registry.load("methods", name).SAMPLERS]


def sampling_benchmark(name: str, store: Path, preset: str, device: str) -> list[Row]:
    """Frontal views of all test studies from their reports, once with each sampler; the last one is the peer.

    Args:
        name: a method with ``SAMPLERS``, and ``sample_with`` that chooses one without training again.
        store: where it was trained.
        preset: its size.
        device: torch device.
    """
    settings = RunSettings.build({"methods": [name], "preset": preset, "store": store, "device": device})
    bench = open_benchmark(settings)
    trial = Trial(bench, bench.entries[0], settings.config.seeds[0])
    if not trial.cell.is_fitted():
        note = f"no trained {name} ({preset}) in {store}: harness run --methods {name} --preset {preset}"
        return [Row(_SUITE, f"{name} ({preset})", note=note, state="skipped")]
    method: Any = trial.method
    studies = [one for one in bench.splits["test"] if _VIEW in one.images and one.report]
    return compared(method, f"{name} ({preset})", studies, bench.dataset.info, bench.device)


def compared(
    method: Method[Any], label: str, studies: Sequence[Study], info: DatasetInfo, device: str = "cpu"
) -> list[Row]:
    """Images per second and FID of every sampler of a trained method, beside its last one's.

    Args:
        method: trained, on its device; label: what the rows call it.
        studies: have a frontal view and a report; info: of their dataset.
    """
    import torch

    references = [Reference(one.id, one.patient_id, images=one.images) for one in studies]
    metric, scores = Lite0Distance(), {}
    for sampler, options in method.SAMPLERS.items():
        method.sample_with(**options)
        list(_drawn(method, studies[:_FIRST], info))
        started = time.perf_counter()
        predictions = list(_drawn(method, studies, info))
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        speed = len(predictions) / (time.perf_counter() - started)
        rows = metric.statistics(predictions, references)
        scores[sampler] = speed, float(metric.values(rows, rows[None, :, 0])[FID][0])
    *others, last = scores
    return [
        measured(
            _SUITE,
            f"{label}, {_VIEW} from report, {sampler}, {device}",
            scores[sampler][0],
            unit="images/s",
            peer=scores[last][0],
            of=last,
            note=f"{FID} {scores[sampler][1]:.1f} against {scores[last][1]:.1f}, n {len(studies)}",
        )
        for sampler in others
    ]


def _drawn(method: Method[Any], studies: Sequence[Study], info: DatasetInfo) -> Iterator[Prediction]:
    """Frontal views from the report and nothing else."""
    for start in range(0, len(studies), _BATCH):
        some = studies[start : start + _BATCH]
        without_images = [Study(one.id, one.patient_id, one.split, images={}) for one in some]
        inputs = collate(without_images, info, reads=method.card.reads)
        reports = {one.id: one.report for one in some}
        yield from generated(method, conditioned(inputs, [_VIEW], reports, 0, "full"), [_VIEW])
