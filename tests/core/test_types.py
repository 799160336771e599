"""Facts of a dataset that decide what a method gets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.core.types import CONTEXT, IMAGE, DatasetInfo, Study, Task
from harness.datasets.base import ONLY_IMAGE
from harness.datasets.example import ExampleData
from harness.method.batching import collate

CHEST = DatasetInfo("chest", frozenset({Task.REPORT}), ("frontal", "lateral"), True, 4)
SLICES = replace(CHEST, name="slices", image_modalities=(IMAGE,), has_context=False, roles=ONLY_IMAGE)
EYE = replace(CHEST, name="eye", image_modalities=("fundus", "oct"), has_context=False)


@pytest.mark.parametrize(
    ("info", "declared", "read"),
    [
        (CHEST, {"frontal"}, {"frontal"}),
        (CHEST, {"frontal", "lateral", CONTEXT, "oct"}, {"frontal", "lateral", CONTEXT}),
        (CHEST, {IMAGE}, set()),
        (SLICES, {"frontal"}, {IMAGE}),
        (SLICES, {"frontal", "lateral", CONTEXT}, {IMAGE}),
        (SLICES, {IMAGE}, {IMAGE}),
        (SLICES, {"lateral", CONTEXT}, set()),
        (EYE, {"frontal"}, set()),
        (EYE, {"oct"}, {"oct"}),
        (CHEST, set(), set()),
    ],
)
def test_a_method_reads_modalities_by_name_or_by_role(
    info: DatasetInfo, declared: set[str], read: set[str]
) -> None:
    assert info.read_by(declared) == read


@pytest.mark.parametrize(("declared", "visible"), [({"frontal"}, True), ({"lateral"}, False), (None, True)])
def test_a_batch_holds_the_only_image_for_methods_that_read_frontal_views(
    declared: set[str] | None, visible: bool
) -> None:
    study = Study("s", "p", "test", {IMAGE: np.full((4, 4, 1), 255, np.uint8)})
    inputs = collate([study], SLICES, reads=declared)
    assert inputs.present[IMAGE].tolist() == [visible]
    assert bool(inputs.images[IMAGE].any()) == visible


def test_a_dropped_image_is_blank() -> None:
    study = Study("s", "p", "test", {IMAGE: np.full((4, 4, 1), 255, np.uint8)})
    assert not collate([study], SLICES, reads={"frontal"}, dropped=IMAGE).images[IMAGE].any()


def test_images_may_be_shown_only_where_a_dataset_says_so() -> None:
    assert not CHEST.may_show_images
    assert ExampleData().info.may_show_images
