"""MS-SSIM, alignment and completed sets: what they reward, and where they are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference
from harness.metrics.images import features as image_features
from harness.metrics.images.alignment import Alignment, CoarseAlignment, CoarseJointDistance, JointDistance
from harness.metrics.images.distances import Lite0LateralDistance
from harness.metrics.images.extractors import EnlargedLite0, Lite0
from harness.metrics.images.ms_ssim import MsSsim, MsSsimLateral, similarity

Image = np.ndarray


def scene(bright: float, seed: int, size: int = 64) -> Image:
    """A bright disc, its size by ``bright``, on noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size - 0.5
    disc = (x**2 + y**2 < (0.1 + 0.3 * bright) ** 2) * 150
    return np.clip(60 + disc + rng.normal(0, 8, (size, size)), 0, 255).astype(np.uint8)[..., None]


def cases(count: int, view: str = "frontal") -> list[Reference]:
    """Half of the studies have a large disc and a report that says so."""
    texts = ("the heart is normal", "the heart is enlarged")
    return [
        Reference(f"s{i}", f"p{i}", texts[i % 2] + " today" * (i % 3), None, {view: scene(i % 2, i)})
        for i in range(count)
    ]


def drawn(
    references: list[Reference], draw: Callable[[int], Image], view: str = "frontal"
) -> list[Prediction]:
    return [Prediction(images={view: draw(i)}) for i in range(len(references))]


def value(metric: MsSsim | Alignment, references: list[Reference], predictions: list[Prediction]) -> dict:
    return metric.reduce(metric.statistics(predictions, references).sum(0))


def test_ms_ssim_falls_as_the_image_departs() -> None:
    references = cases(6)
    found = [
        float(value(MsSsim(), references, drawn(references, draw))["ms_ssim"])
        for draw in (
            lambda i: references[i].images["frontal"],
            lambda i: scene(i % 2, 100 + i),
            lambda i: scene(1 - i % 2, i),
            lambda i: np.random.default_rng(i).integers(0, 256, (64, 64, 1), dtype=np.uint8),
        )
    ]
    assert found[0] == pytest.approx(1.0, abs=1e-6)
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("shape", [(176, 176), (192, 211), (250, 180), (96, 96)])
def test_ms_ssim_equals_torchmetrics(shape: tuple[int, int]) -> None:
    import torch
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    first, second = (
        np.stack([scene(bright + i / 10, seed + i, 256)[: shape[0], : shape[1]] for i in range(4)])
        for bright, seed in ((0.3, 1), (0.6, 7))
    )
    found = similarity(list(first), list(second))
    pair = [torch.from_numpy(each).permute(0, 3, 1, 2).float() for each in (first, second)]
    if min(shape) < 176:
        pair = [torch.nn.functional.interpolate(each, (176, 176), mode="bilinear") for each in pair]
    theirs = multiscale_structural_similarity_index_measure(
        *pair, data_range=255.0, reduction="none", normalize="relu"
    )
    np.testing.assert_allclose(found, theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize("metric", [Alignment(), CoarseAlignment()])
def test_alignment_gap_is_nothing_without_a_condition(metric: Alignment) -> None:
    references = cases(40)
    said = value(metric, references, drawn(references, lambda i: scene(i % 2, 100 + i)))
    other = value(metric, references, drawn(references, lambda i: scene((i // 2) % 2, 100 + i)))
    wrong = value(metric, references, drawn(references, lambda i: scene(1 - i % 2, 100 + i)))
    gap = f"alignment_gap_{metric.image_features}"
    assert said[gap] > 0.5
    assert abs(other[gap]) < 0.25
    assert wrong[gap] < -0.5
    generated = (
        drawn(references, lambda i: scene(i % 2, 100 + i)),
        drawn(references, lambda i: scene(0, 100 + i)),
    )
    notes = [metric.remarks(metric.statistics(images, references)) for images in generated]
    assert notes[0] == notes[1]  # of the real images alone
    assert float(notes[0][gap].rpartition(" ")[2]) > 0.5


def test_coarse_eyes_do_not_mind_blur() -> None:
    references = cases(40)

    def blurred(i: int) -> Image:
        image = scene(i % 2, 100 + i)[..., 0].reshape(16, 4, 16, 4).mean((1, 3))
        return np.repeat(np.repeat(image, 4, 0), 4, 1).astype(np.uint8)[..., None]

    sharp, soft = (
        CoarseJointDistance().statistics(drawn(references, draw), references)
        for draw in (lambda i: scene(i % 2, 100 + i), blurred)
    )
    np.testing.assert_allclose(sharp, soft, atol=0.1)


@pytest.mark.parametrize("metric", [JointDistance(), CoarseJointDistance()])
def test_the_joint_distance_sees_wrong_pairs_where_fid_is_blind(metric: JointDistance) -> None:
    references = cases(60)

    def distance(draw: Callable[[int], Image]) -> float:
        statistics = metric.statistics(drawn(references, draw), references)
        return float(metric.values(statistics, np.ones((1, len(statistics))))[metric.name][0])

    real = distance(lambda i: references[i].images["frontal"])
    said = distance(lambda i: scene(i % 2, 100 + i))
    # The same images, each beside a report of the other kind.
    swapped = distance(lambda i: scene(1 - i % 2, 100 + (i ^ 1)))
    assert real == pytest.approx(0.0, abs=1e-6)
    assert real < said < 0.25 * swapped


def test_the_joint_distance_leaves_out_studies_without_report() -> None:
    references = cases(30)
    references[3] = Reference("s3", "p3", None, None, references[3].images)
    metric = JointDistance()
    statistics = metric.statistics(drawn(references, lambda i: scene(i % 2, i + 50)), references)
    assert not statistics[3].any()
    assert "real images with other patients" in metric.remarks(statistics)["fjd_lite0"]
    weights = np.ones((2, len(statistics)))
    weights[1, 3] = 5.0
    first, second = metric.values(statistics, weights)["fjd_lite0"]
    assert first == second


def test_alignment_skips_studies_without_report() -> None:
    references = cases(12)
    references[3] = Reference("s3", "p3", None, None, references[3].images)
    statistics = Alignment().statistics(drawn(references, lambda i: scene(i % 2, i)), references)
    assert not statistics[3].any()
    assert statistics[:, 3].sum() == 11


@pytest.mark.parametrize("metric", [MsSsim(), Alignment()])
def test_what_cannot_be_compared_is_named(metric: MsSsim | Alignment) -> None:
    references = cases(5)
    predictions = drawn(references, lambda i: scene(0.5, i))
    with pytest.raises(HarnessError, match="4 predictions for 5 references"):
        metric.statistics(predictions[:4], references)
    with pytest.raises(HarnessError, match="'s2' has no generated frontal"):
        metric.statistics([*predictions[:2], Prediction(report="x"), *predictions[3:]], references)
    with pytest.raises(HarnessError, match="no study has a real frontal"):
        metric.statistics(predictions, cases(5, "lateral"))


def test_lateral_metrics_read_lateral_views() -> None:
    references = cases(6, "lateral")
    same = [Prediction(images=one.images) for one in references]
    assert float(value(MsSsimLateral(), references, same)["ms_ssim_lateral"]) == pytest.approx(1.0, abs=1e-6)
    metric = Lite0LateralDistance()
    found = metric.joint(metric.statistics(same, references), np.ones((1, 6)))
    assert found["fid_lite0_lateral"][0] == pytest.approx(0.0, abs=1e-6)
    assert "view:lateral" in metric.signature


def test_features_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(network: object, images: list[Image], width: int) -> Image:
        asked.append(len(images))
        return np.array([[float(image.mean())] * width for image in images])

    monkeypatch.setattr(image_features, "extract", counted)
    monkeypatch.setattr(image_features, "_held", {})
    images = [scene(0.2, seed) for seed in range(4)]
    first = image_features.features(Lite0(), [*images, images[0]])
    again = image_features.features(Lite0(), images[::-1])
    assert asked == [4]
    assert np.array_equal(first[:4][::-1], again)
    assert np.array_equal(first[0], first[4])

    monkeypatch.setattr(image_features, "_held", {})  # as in another process
    other = image_features.features(Lite0(), [images[2], scene(0.9, 9)])
    assert asked == [4, 1]
    np.testing.assert_array_equal(other[0], first[2].astype(np.float32))

    monkeypatch.setattr(image_features, "_held", {})
    image_features.features(EnlargedLite0(), images[:1])  # another extractor finds nothing
    assert asked == [4, 1, 1]
