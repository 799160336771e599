"""Latent vectors of a stored method: what is measured, what is drawn, and what is refused."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.core.types import Inputs
from harness.evaluation.latents import balanced_share, neighbours
from tests.cli.test_cli import invoke
from tests.helpers.toys import Learner, ToyData

COMMON = ("--dataset", "toy", "--metrics", "bleu", "--workers", "1", "--no-figures", "--no-shuffled")


def latent_vectors(self: Learner, inputs: Inputs) -> dict[str, torch.Tensor]:
    """z_v follows the frontal view and is nowhere without it; z_s lies far away and says nothing."""
    pixels = inputs.images["frontal"].flatten(1)[:, :3]
    away = torch.full_like(pixels, 50.0) + pixels.flip(1)
    return {"z_v": pixels.masked_fill(~inputs.present["frontal"][:, None], float("nan")), "z_s": away}


@pytest.fixture
def store(toy_world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(Learner, "latent_vectors", latent_vectors)
    folder = str(toy_world / "store")
    assert invoke(capsys, "run", "--methods", "learner,echo", "--store", folder, *COMMON)[0] == 0
    return folder


def test_neighbours_are_of_other_patients() -> None:
    vectors = np.array([[0.0], [0.1], [1.0], [5.0]])
    near = neighbours(vectors, np.array(["a", "a", "b", "c"]), count=2)
    assert near.tolist() == [[2, 3], [2, 3], [1, 0], [2, 1]]


def test_a_common_code_counts_no_more_than_a_rare_one() -> None:
    codes = np.array([0, 0, 0, 1])
    near = np.array([[1, 2], [0, 2], [0, 3], [0, 1]])
    # Shares 1, 1, 1/2 of the first code, and 0 of the second.
    once = np.ones((1, 4))
    assert balanced_share(codes, near, once)[0] == pytest.approx((2.5 / 3 + 0) / 2)
    assert np.isnan(balanced_share(codes, near, np.array([[1.0, 1.0, 1.0, 0.0]]))[0])


def test_kinds_are_told_apart_and_a_finding_only_where_the_latents_show_it(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = invoke(capsys, "latents", "learner", "--store", store, "--format", "json")
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert content["kinds"] == ["z_v", "z_s"]
    assert content["studies"] == 40
    rows = {(each["state"], each["of"], each["among"]): each for each in content["purity"]}
    kinds = rows["full", "kind of latent", "all"]
    assert kinds["purity"] == 1.0
    assert kinds["n"] == 40
    assert kinds["chance95"][0] < 0.5 < kinds["chance95"][1]
    assert kinds["p"] == pytest.approx(1 / 201)
    assert ("frontal", "kind of latent", "all") not in rows  # without the view there is one kind
    finding = rows["full", content["finding"], "z_s"]  # words of the toys' reports are random
    assert finding["ci95"][0] < finding["chance"] < finding["ci95"][1]
    assert finding["p"] > 0.01


def test_a_map_has_one_point_per_latent(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures"
    code, _, err = invoke(capsys, "latents", "learner", "--store", store, "--limit", "20", "--out", str(out))
    assert code == 0, err
    assert {path.suffix for path in out.iterdir()} == {".png", ".svg", ".pdf", ".csv", ".json"}
    with (out / "latents-learner.csv").open() as stream:
        points = list(csv.DictReader(stream))
    assert len(points) == 20 * 3  # z_v and z_s with the view, z_s without it
    assert {point["study"] for point in points} <= {study.id for study in ToyData().studies("test")}
    assert stat.S_IMODE((out / "latents-learner.csv").stat().st_mode) == 0o600
    assert json.loads((out / "latents-learner.json").read_text())["points"][0]["kind"] == "z_v"
    ids = {point["study"] for point in points}
    assert not any(name in (out / "latents-learner.svg").read_text() for name in ids)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("echo",), "echo names no latents"),
        (("dia",), "dia: no such row"),
        (("learner", "--states", "lateral,liver"), "no modality state liver"),
        (("learner", "--finding", "Fractur"), "did you mean Fracture"),
    ],
)
def test_what_has_no_latents_is_one_line(
    store: str, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    code, out, err = invoke(capsys, "latents", *words, "--store", store)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1
