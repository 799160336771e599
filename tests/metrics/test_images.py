"""FID and KID against clean-fid and torch-fidelity on the same features; extractors on random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference
from harness.metrics.images import distances
from harness.metrics.images.distances import (
    InceptionDistance,
    Lite0Distance,
    RadDinoDistance,
    XrayDistance,
    frechet_distance,
    frechet_distances,
    kid,
    real_floor,
)
from harness.metrics.images.extractors import Lite0, XrayDenseNet
from harness.metrics.images.sets import frechet_replicates, kid_replicates
from harness.statistics.bootstrap import bootstrap_weights, estimate, replicates


def features(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated, non-negative, shifted against each other: like pooled activations."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d)) / np.sqrt(d)
    return np.maximum(rng.normal(size=(n, d)) @ mix, 0), np.maximum(rng.normal(size=(n, d)) @ mix + 0.2, 0)


def statistics_of(real: np.ndarray, made: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ones((len(real), 1)), real, made], axis=1)


@pytest.mark.parametrize(("n", "d"), [(20, 64), (64, 64), (65, 64), (400, 64), (90, 200)])
def test_fid_equals_clean_fid_and_torch_fidelity(n: int, d: int) -> None:
    from cleanfid.fid import frechet_distance as clean
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    real, made = features(n, d, n)
    moments = [{"mu": x.mean(0), "sigma": np.cov(x, rowvar=False)} for x in (real, made)]
    ours = frechet_distance(real, made)
    theirs = clean(moments[0]["mu"], moments[0]["sigma"], moments[1]["mu"], moments[1]["sigma"])
    assert ours == pytest.approx(theirs, rel=1e-4)
    peer = fid_statistics_to_metric(*moments, verbose=False)["frechet_inception_distance"]
    assert ours == pytest.approx(peer, rel=1e-4)


@pytest.mark.parametrize(("n", "d"), [(40, 100), (90, 20)])
def test_resamples_score_as_each_would_alone(n: int, d: int) -> None:
    rng = np.random.default_rng(3)
    real, made = rng.normal(4, 1, (n, d)), rng.normal(5, 2, (n, d))
    weights = rng.multinomial(n, np.full(n, 1 / n), 5).astype(float)
    weights[3], weights[4, 1:] = 0.0, 0.0
    found = frechet_distances(real, made, weights)
    np.testing.assert_allclose(found, [frechet_distance(real, made, line) for line in weights], rtol=1e-9)
    assert np.isnan(found[3:]).all()


def test_fid_of_dependent_features() -> None:
    real, made = features(200, 8, 0)
    alone = frechet_distance(real, made)
    assert frechet_distance(np.tile(real, 2), np.tile(made, 2)) == pytest.approx(2 * alone, rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(50, 16), (30, 100)])
def test_kid_equals_torch_fidelity(n: int, d: int) -> None:
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    real, made = features(n, d, n)
    theirs = kid_features_to_metric(
        torch.from_numpy(real), torch.from_numpy(made), kid_subsets=1, kid_subset_size=n, verbose=False
    )["kernel_inception_distance_mean"]
    assert kid(real, made, np.ones((1, n)))[0] == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("n", "d"), [(40, 60), (120, 20)])
def test_images_in_any_order_or_doubled_score_the_same(n: int, d: int) -> None:
    statistics, metric = statistics_of(*features(n, d, 1)), Lite0Distance()
    weights = np.random.default_rng(0).integers(0, 3, (4, n)).astype(float)
    found = metric.joint(statistics, weights)
    order = np.random.default_rng(1).permutation(n)
    spoiled = np.where((weights[0] > 0)[:, None], statistics, np.nan)
    for name, value in found.items():
        assert metric.joint(statistics[order], weights[:, order])[name] == pytest.approx(value, rel=1e-8)
        assert metric.joint(statistics, 2 * weights)[name] == pytest.approx(value, rel=1e-8)
        assert metric.joint(spoiled, weights[:1])[name][0] == pytest.approx(value[0], rel=1e-8)


def test_same_images_are_at_distance_zero() -> None:
    real, _ = features(50, 80, 2)
    found = Lite0Distance().joint(statistics_of(real, real), np.ones((1, 50)))
    assert found["fid_lite0"][0] == pytest.approx(0, abs=1e-9)
    assert found["kid_lite0"][0] < 0  # unbiased: identical sets come out below 0


def test_one_image_has_no_distance() -> None:
    found = Lite0Distance().joint(statistics_of(*features(5, 8, 0)), np.eye(5)[:1])
    assert np.isnan(found["fid_lite0"][0])
    assert np.isnan(found["kid_lite0"][0])


def test_floor_says_what_halves_of_one_source_score() -> None:
    same, other = features(200, 40, 3)
    metric, statistics = Lite0Distance(), statistics_of(same, other + 1.0)
    floor, smaller = real_floor(metric, statistics), real_floor(metric, statistics[:50])
    assert (floor["n"], smaller["n"]) == (100, 25)
    assert 0 < floor["fid_lite0"] < smaller["fid_lite0"]
    assert floor["fid_lite0"] < metric.joint(statistics, np.ones((1, 200)))["fid_lite0"][0]
    assert abs(floor["kid_lite0"]) < 1e-2
    with pytest.raises(HarnessError, match="cannot be halved"):
        real_floor(metric, statistics_of(same[:3], other[:3]))


def test_interval_of_fid_holds_its_value_and_the_spread_of_repeated_samples() -> None:
    """A plain percentile interval lies above the value: a resample has fewer distinct images."""
    n, d, metric = 150, 24, Lite0Distance()
    many, others = features(60 * n, d, 0)
    sets = [
        statistics_of(many[start : start + n], others[start : start + n]) for start in range(0, 60 * n, n)
    ]
    values = [metric.joint(statistics, np.ones((1, n)))["fid_lite0"][0] for statistics in sets]
    weights = bootstrap_weights([str(index) for index in range(n)], 500)
    found = [estimate(metric, statistics, weights)["fid_lite0"] for statistics in sets[:8]]
    assert all(one.lo < one.value < one.hi for one in found)
    width = np.mean([one.hi - one.lo for one in found])
    assert width == pytest.approx(np.quantile(values, 0.975) - np.quantile(values, 0.025), rel=0.5)
    plain = replicates(metric, sets[0], weights)["fid_lite0"]
    assert len(plain) == metric.resamples
    assert np.quantile(plain, 0.025) > found[0].value


def test_numbers_come_with_n_and_the_floor() -> None:
    statistics = statistics_of(*features(60, 8, 0))
    statistics[0] = 0.0
    line = Lite0Distance().remarks(statistics)["fid_lite0"]
    assert "n 59 real and 59 generated" in line
    assert f"(n 29) score {real_floor(Lite0Distance(), statistics)['fid_lite0']:.3g}" in line
    assert Lite0Distance().remarks(statistics[:4]) == {}


# ---------------------------------------------------------------- extractors


def image(seed: int, shape: tuple[int, ...] = (32, 32, 1)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)


def test_rows_hold_both_sides_and_skip_studies_without_a_real_image() -> None:
    metric = Lite0Distance()
    references = [Reference(f"s{i}", f"p{i}", images={"frontal": image(i)}) for i in range(3)]
    references[1] = Reference("s1", "p1", images={"lateral": image(9)})
    predictions = [Prediction(images={"frontal": image(i, (32, 32, 3))}) for i in (0, 1, 2)]
    statistics = metric.statistics(predictions, references)
    assert statistics.shape == (3, 1 + 2 * Lite0.width)
    assert statistics[:, 0].tolist() == [1, 0, 1]
    assert not statistics[1].any()
    grey = metric.statistics([Prediction(images=one.images) for one in references[::2]], references[::2])
    assert np.allclose(grey[:, 1:1281], grey[:, 1281:])
    assert np.allclose(grey[:, 1:1281], statistics[::2, 1:1281], atol=1e-5)


def test_absent_images_are_named() -> None:
    metric = Lite0Distance()
    real = Reference("s0", "p0", images={"frontal": image(0)})
    with pytest.raises(HarnessError, match="'s0' has no generated frontal image"):
        metric.statistics([Prediction(images={"lateral": image(0)})], [real])
    with pytest.raises(HarnessError, match="no study has a real lateral image"):
        Lite0Distance("lateral").statistics([Prediction()], [real])


def test_absent_weights_make_a_metric_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARNESS_XRV_WEIGHTS", str(tmp_path))
    for variable in ("HARNESS_INCEPTION_WEIGHTS", "HARNESS_RADDINO_WEIGHTS"):
        monkeypatch.delenv(variable, raising=False)
    for family in (InceptionDistance, XrayDistance, RadDinoDistance):
        assert "HARNESS_" in (family().unavailable() or "")
        assert "weights:absent" in family().signature
    monkeypatch.setenv("HARNESS_INCEPTION_WEIGHTS", str(tmp_path / "nowhere"))
    assert "does not exist" in (InceptionDistance().unavailable() or "")


def test_xray_network_gets_its_range_and_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch
    from torchxrayvision.models import DenseNet

    torch.manual_seed(0)
    torch.save(DenseNet(num_classes=18), tmp_path / XrayDenseNet.file)
    monkeypatch.setenv("HARNESS_XRV_WEIGHTS", str(tmp_path))
    seen: list[torch.Tensor] = []
    original = DenseNet.features2
    monkeypatch.setattr(DenseNet, "features2", lambda self, x: (seen.append(x), original(self, x))[1])
    white, black = np.full((64, 64, 1), 255, np.uint8), np.zeros((64, 64, 1), np.uint8)
    assert XrayDistance().unavailable() is None
    references = [Reference("s", "p", images={"frontal": white})]
    statistics = XrayDistance().statistics([Prediction(images={"frontal": black})], references)
    assert statistics.shape == (1, 1 + 2 * 1024)
    assert seen[0].shape == seen[1].shape == (1, 1, 224, 224)
    assert seen[0].unique().tolist() == [1024.0]
    assert seen[1].unique().tolist() == [-1024.0]


def test_raddino_reads_a_local_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=768, num_hidden_layers=1, num_attention_heads=12, image_size=518, patch_size=14
    )
    Dinov2Model(config).save_pretrained(tmp_path)
    monkeypatch.setenv("HARNESS_RADDINO_WEIGHTS", str(tmp_path))
    references = [Reference("s", "p", images={"frontal": image(0)})]
    statistics = RadDinoDistance().statistics([Prediction(images={"frontal": image(1)})], references)
    assert statistics.shape == (1, 1 + 2 * 768)
    assert np.isfinite(statistics).all()


@pytest.mark.parametrize("dependent", [False, True])
def test_fid_of_very_many_images_is_added_up_in_blocks(
    dependent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    real, generated = (rng.normal(shift, 1.0, (300, 6)).astype(np.float32) for shift in (0.0, 0.5))
    if dependent:
        real[:, 5], generated[:, 5] = real[:, 0], generated[:, 0]
    weights = rng.integers(0, 3, 300).astype(np.float64)
    whole = [distances.frechet_distance(real, generated, each) for each in (None, weights)]
    monkeypatch.setattr(distances, "_MOST_ROWS", 50)
    monkeypatch.setattr(distances, "_ROWS_AT_ONCE", 70)
    monkeypatch.setattr(np.linalg, "eigvalsh", None)  # the way of whole matrices
    blocks = [distances.frechet_distance(real, generated, each) for each in (None, weights)]
    np.testing.assert_allclose(blocks, whole, rtol=1e-6)


@pytest.mark.filterwarnings("error")
def test_distances_over_no_image_are_undefined_without_a_warning() -> None:
    none, some, weights = np.zeros((0, 4)), np.ones((3, 4)), np.ones((5, 3))
    assert np.isnan(frechet_distances(none, none, np.ones((5, 0)))).all()
    assert np.isnan(kid(none, none, np.ones((5, 0)))).all()
    for measure in (frechet_replicates, kid_replicates):
        assert np.isnan(measure(none, some, (np.ones((5, 0)), weights))).all()
        assert np.isnan(measure(some, some, (0 * weights, weights))).all()
