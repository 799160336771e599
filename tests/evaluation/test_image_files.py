"""Folders of generated images: numbers as defined, strange files refused or counted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import sqrtm

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference
from harness.evaluation.image_files.scoring import ImageFiles, score_images
from harness.metrics.images.distances import Lite0Distance
from harness.metrics.images.neighbours import balls, nearer_share, nearest
from harness.metrics.images.sets import frechet_replicates, kid_replicates
from tests.cli.test_cli import invoke

RNG = np.random.default_rng(7)
REAL, FAKE = RNG.normal(size=(40, 6)), RNG.normal(0.3, 1.2, size=(30, 6))
ONES = (np.ones((1, 40)), np.ones((1, 30)))


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.linalg.norm(first[:, None] - second[None], axis=-1)


def test_precision_recall_density_and_coverage_are_those_of_the_papers() -> None:
    k = 5
    real_radii = np.sort(distances(REAL, REAL), axis=1)[:, k]
    fake_radii = np.sort(distances(FAKE, FAKE), axis=1)[:, k]
    between = distances(REAL, FAKE)
    ours = balls(REAL, FAKE, k)
    np.testing.assert_array_equal(ours.in_real, (between < real_radii[:, None]).any(axis=0))
    np.testing.assert_array_equal(ours.in_generated, (between < fake_radii).any(axis=1))
    np.testing.assert_allclose(ours.density, (between < real_radii[:, None]).sum(axis=0) / k)
    np.testing.assert_array_equal(ours.covered, between.min(axis=1) < real_radii)


def test_a_distance_of_unequal_sets_is_that_of_their_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [np.concatenate([own, RNG.normal(size=(len(own), 60))], axis=1) for own in (REAL, FAKE)]
    for real, fake in ((REAL, FAKE), wide):  # more images than features, and fewer
        (value,) = frechet_replicates(real, fake, ONES)
        first, second = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
        root = np.trace(np.real(sqrtm(first @ second + 1e-12 * np.eye(len(first)))))
        expected = np.square(real.mean(0) - fake.mean(0)).sum() + np.trace(first + second) - 2 * root
        assert value == pytest.approx(expected, rel=1e-4)
        weights = (RNG.integers(1, 3, (2, 40)).astype(float), RNG.integers(1, 3, (2, 30)).astype(float))
        lines = frechet_replicates(real, fake, weights)
        doubled = frechet_replicates(real, fake, (2 * weights[0], 3 * weights[1]))
        np.testing.assert_allclose(lines, doubled, rtol=1e-9)


def test_the_kernel_distance_of_unequal_sets_is_unbiased_on_both_sides() -> None:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    within = [
        (kernel(own, own).sum() - np.trace(kernel(own, own))) / (len(own) * (len(own) - 1))
        for own in (REAL, FAKE)
    ]
    expected = sum(within) - 2 * kernel(REAL, FAKE).mean()
    assert kid_replicates(REAL, FAKE, ONES)[0] == pytest.approx(expected)


def test_memorisation_is_one_for_copies_and_a_half_for_real_images() -> None:
    train = RNG.normal(size=(50, 6))
    real = nearest(REAL, train)
    np.testing.assert_allclose(real, np.square(distances(REAL, train)).min(axis=1))
    assert nearer_share(nearest(train[:30], train), real, ONES[::-1])[0] == pytest.approx(1.0)
    assert nearer_share(real, real, (ONES[0], ONES[0]))[0] == pytest.approx(0.5)


def image(seed: int, size: int = 48) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(
        Image.fromarray(rng.integers(0, 255, (6, 6)).astype(np.uint8)).resize((size, size)), dtype=np.uint8
    )


def folder(path: Path, first: int = 0, count: int = 12) -> Path:
    path.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(image(first + number)).save(path / f"s{number}.png")
    return path


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    return folder(tmp_path / "real"), folder(tmp_path / "fake", 100)


def test_pairs_by_name_have_the_numbers_of_a_run(sets: tuple[Path, Path]) -> None:
    scores = {each.metric: each for each in score_images(ImageFiles(*sets)).scores}
    assert "memorised_lite0" not in scores
    metric = Lite0Distance()
    names = sorted(f"s{number}" for number in range(12))
    real, fake = (
        [{"frontal": image(first + int(name[1:]))[..., None]} for name in names] for first in (0, 100)
    )
    result = metric(
        [Prediction(images=each) for each in fake],
        [Reference(name, name, images=each) for name, each in zip(names, real, strict=True)],
    )
    for name in ("fid_lite0", "kid_lite0"):
        assert scores[name].estimate.value == pytest.approx(result[name], rel=1e-6)
        assert "|sets:pairs-by-name|" in scores[name].signature
    assert scores["fid_lite0"].estimate.lo < scores["fid_lite0"].estimate.value


def test_strange_files_are_counted_with_their_names(sets: tuple[Path, Path]) -> None:
    real, fake = sets
    (fake / "notes.txt").write_text("seed 3")
    (fake / ".hidden.png").write_text("")
    Image.fromarray(image(0)).convert("RGB").save(fake / "s3.png")  # a copy of a real image, as colour
    Image.fromarray(image(101)).save(fake / "s2.png")  # twice the same
    Image.fromarray(image(104, 40)).save(fake / "s4.png")
    Image.fromarray(np.full((48, 48), 9, np.uint8)).save(fake / "s5.png")
    (fake / "s11.png").rename(fake / "s99.png")
    scores = score_images(ImageFiles(real, fake, folder(real.parent / "train", 100, 6)))
    remarks = {each.kind: each for each in scores.remarks}
    assert remarks["no images"].ids == ("notes.txt",)
    assert remarks["copies of real images"].ids == ("s3",)
    assert remarks["repeated"].ids == ("s2",)
    assert remarks["size"].ids == ("s4",)
    assert remarks["flat"].ids == ("s5",)
    assert remarks["unpaired"].ids == ("s99",)
    assert remarks["copies of training images"].ids == ("s0", "s1", "s2")
    assert "1 pairs are of two sizes" in scores.notes["ms_ssim"]
    assert {each.metric: each for each in scores.scores}["ms_ssim"].estimate.n == 10
    assert np.isnan(scores.per_study["ms_ssim"]).sum() == 2


def test_few_images_have_numbers_and_those_without_a_partner_are_counted(tmp_path: Path) -> None:
    few = score_images(ImageFiles(folder(tmp_path / "real", 0, 8), folder(tmp_path / "fake", 100, 7)))
    assert {"fid_lite0", "precision_lite0", "ms_ssim"} <= {each.metric for each in few.scores}
    assert "real images without a partner, left out: 1" in few.notes["ms_ssim"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("nowhere")])
def test_what_has_the_name_of_an_image_and_is_none_is_refused(
    sets: tuple[Path, Path], make: Callable[[Path], None]
) -> None:
    (sets[1] / "s3.png").unlink()
    make(sets[1] / "s3.png")
    with pytest.raises(HarnessError, match=r"s3\.png is no image but"):
        score_images(ImageFiles(*sets))


def test_what_cannot_be_scored_is_refused(sets: tuple[Path, Path]) -> None:
    real, fake = sets
    with pytest.raises(HarnessError, match="real images and generated images"):
        score_images(ImageFiles(real, real))
    with pytest.raises(HarnessError, match="5 generated images, at least 6"):
        score_images(ImageFiles(real, folder(real.parent / "few", 0, 5)))
    with pytest.raises(HarnessError, match="no such metric of folders"):
        score_images(ImageFiles(real, fake), ["fid"])
    with pytest.raises(HarnessError, match="--train-dir"):
        score_images(ImageFiles(real, fake), ["memorised_lite0"])
    (fake / "s7.png").write_bytes((fake / "s7.png").read_bytes()[:60])
    (fake / "s8.png").write_text("no image")
    with pytest.raises(HarnessError, match=r"2 files are no readable images: 's7\.png', 's8\.png'"):
        score_images(ImageFiles(real, fake))
    for name in ("s7", "s8"):
        Image.fromarray(image(9)).save(fake / f"{name}.png")
    Image.fromarray(image(9)).save(fake / "s7.jpg")
    with pytest.raises(HarnessError, match="two files for 's7'"):
        score_images(ImageFiles(real, fake))


def test_each_finding_has_its_own_distance_and_says_where_images_are_too_few(
    sets: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    real, fake = sets
    table = real.parent / "labels.csv"
    rows = ["id,Edema,Mass", *(f"s{number},{number % 2},{int(number < 3)}" for number in range(12))]
    table.write_text("\n".join(rows))
    words = ["score", "--task", "synthesize", str(real), str(fake), "--labels", str(table)]
    code, output, error = invoke(capsys, *words, "--format", "json")
    assert code == 0, error
    content = json.loads(output)
    assert content["metrics"]["fid_lite0[Edema]"]["signature"].count("|finding:edema|") == 1
    assert content["notes"]["fid_lite0[Edema]"].startswith("6 real and 6 generated; two halves")
    assert content["unavailable"]["fid_lite0[Mass]"] == "3 real and 3 generated images, at least 6 are needed"
    table.write_text("\n".join(rows[:-1]))
    code, output, error = invoke(capsys, *words)
    assert code == 2
    assert "lacks 1 of the real images: 's11'" in error
