"""R2Gen's base model: which patches are read, what a lost view may do, training and drawing."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Study, Task
from harness.method.batching import collate, targets_of
from harness.method.contract import FitRun
from methods.r2gen_base.method import R2GenBase

INFO = DatasetInfo(
    name="small",
    tasks=frozenset({Task.REPORT}),
    image_modalities=("frontal", "lateral"),
    has_context=False,
    image_size=64,
    channels=1,
    label_names=(),
)
SENTENCES = ("the left side is bright .", "the right side is bright .")
SMALL: dict[str, Any] = {
    "image_size": 64,
    "grid": 2,
    "width": 32,
    "heads": 2,
    "feed_forward": 32,
    "min_count": 1,
    "report_words": 10,
    "training.batch_size": 8,
    "training.bucket": 0,
}


def studies(split: str, n: int) -> list[Study]:
    """The report says which half of both views is bright; every fourth study has no lateral view."""
    rng = np.random.default_rng(len(split))
    result = []
    for number in range(n):
        side = number % 2
        images = {}
        for view in INFO.image_modalities:
            pixels = rng.integers(0, 60, (64, 64, 1))
            pixels[:, side * 32 : (side + 1) * 32] += 150
            images[view] = pixels.astype(np.uint8)
        if number % 4 == 3:
            del images["lateral"]
        result.append(Study(f"{split}{number}", f"{split}{number}", split, images, report=SENTENCES[side]))
    return result


def prepared(**options: Any) -> R2GenBase:
    torch.manual_seed(0)
    method = R2GenBase.create(INFO, preset="tiny", overrides={**SMALL, **options})
    method.prepare(method.artifacts(studies("train", 12)))
    method.network.eval()
    return method


shared_method = cache(prepared)
"""For tests that leave the network as it is."""


def memory_of(method: R2GenBase, batch: list[Study], dropped: str | None = None) -> tuple[Any, Any]:
    with torch.no_grad():
        return method.network.encode(*method._read(collate(batch, INFO, dropped=dropped)))


def test_the_decoder_reads_a_null_token_and_the_patches_of_both_views() -> None:
    memory, mask = memory_of(shared_method(), studies("test", 4))
    assert memory.shape == (4, 1 + 2 * 2 * 2, 32)
    assert mask[0].tolist() == [False] + [True] * 8
    assert mask[3].tolist() == [False] + [True] * 4 + [False] * 4  # no lateral view


def test_without_any_view_the_null_token_alone_is_read() -> None:
    method = shared_method()
    memory, mask = memory_of(method, studies("test", 3), dropped="frontal+lateral")
    assert mask.sum(1).tolist() == [1, 1, 1]
    assert torch.allclose(memory[0, 0], memory[1, 0], atol=1e-6)
    batch = studies("test", 3)
    texts = {p.report for p in method.predict(collate(batch, INFO, dropped="frontal+lateral"))}
    assert len(texts) == 1


def test_a_lost_view_changes_what_is_written_no_more_than_its_mask_allows() -> None:
    method = shared_method()
    batch = studies("test", 4)
    lost = [Study(s.id, s.patient_id, s.split, {"frontal": s.images["frontal"]}, s.report) for s in batch]
    one = memory_of(method, batch, dropped="lateral")
    other = memory_of(method, lost)
    assert torch.equal(one[1], other[1])
    assert torch.allclose(one[0][one[1]], other[0][other[1]], atol=1e-6)


def test_training_learns_to_say_what_the_images_show(tmp_path: Path) -> None:
    options = {**SMALL, "training.epochs": 12, "training.val_every": 12, "learning_rate": 5e-3}
    method = R2GenBase.create(INFO, preset="tiny", overrides=options)
    method.fit(studies("train", 48), studies("val", 8), FitRun(tmp_path, "cpu", 0))
    batch = studies("test", 8)
    assert [p.report for p in method.predict(collate(batch, INFO))] == [s.report for s in batch]
    (probe,) = method.probes(collate(batch, INFO), targets_of(batch))
    assert probe.value > probe.alive


def test_a_trained_backbone_needs_weights_or_the_word_random(tmp_path: Path) -> None:
    paper = R2GenBase.create(INFO, preset="paper")
    with pytest.raises(HarnessError, match=r"r2gen_base\.backbone_weights"):
        paper.fit(studies("train", 4), studies("val", 2), FitRun(tmp_path, "cpu", 0))


def test_a_trained_backbone_gives_patches_of_its_last_map() -> None:
    method = prepared(backbone="lite0", backbone_weights="random")
    memory, mask = memory_of(method, studies("test", 4))
    assert memory.shape == (4, 9, 32)
    assert bool(torch.isfinite(memory[mask]).all())
    out = method.losses(collate(studies("train", 4), INFO), targets_of(studies("train", 4)))
    out["loss"].backward()
    stem = next(method.network.vision.parameters())
    assert stem.grad is not None
    assert float(stem.grad.abs().sum()) > 0
