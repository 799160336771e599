"""``harness downstream``: what generated images are worth to a classifier that is tested on real ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core import registry
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Inputs, Prediction, Study, Task
from harness.evaluation import downstream, downstream_classifier, reproduce
from harness.leaderboard import bundle
from harness.leaderboard.leaderboard import Leaderboard
from harness.method.contract import FitRun
from harness.papers import library
from harness.store.results import Measurement
from harness.store.row_labels import DOWNSTREAM, DOWNSTREAM_SCORES, TRAINED_ON
from harness.store.store import Store
from methods.controls.noise import Noise, NoiseConfig
from tests.helpers.toys import Quiet, ToyData, log

NAMES = ("No Finding", "Cardiomegaly", "Edema", "Pneumothorax", "Fracture")
SIDE = 12


class SignsData(ToyData):
    """Two findings are bright bands of the frontal view; no study has the third of the ten."""

    def __init__(self) -> None:
        self.info = DatasetInfo(
            "signs-phantom",
            frozenset({Task.REPORT, Task.DIAGNOSE, Task.SYNTHESIZE}),
            ("frontal", "lateral"),
            False,
            SIDE,
            label_names=NAMES,
            fingerprint="s1",
        )

    @classmethod
    def open(cls, root: Path | None = None, *, image_size: int | None = None) -> SignsData:
        return cls()

    def studies(self, split: str) -> list[Study]:
        rng = np.random.default_rng(["train", "val", "test"].index(split))
        return [self._study(rng, split, number) for number in range(80)]

    def _study(self, rng: np.random.Generator, split: str, number: int) -> Study:
        labels = np.zeros(len(NAMES), np.float32)
        labels[1:3] = rng.random(2) < 0.4
        image = rng.integers(60, 160, (SIDE, SIDE, 1), dtype=np.uint8)
        image[2:5] += np.uint8(50 * labels[1])
        image[:, 7:10] += np.uint8(40 * labels[2])
        images = {"frontal": image, "lateral": image[::-1].copy()}
        report = f"secret {split} {number}"
        return Study(f"{split}{number}", f"{split}-p{number // 2}", split, images, None, report, labels)


class Perfect(Noise):
    """Knows the real image of every report."""

    Config = NoiseConfig
    card = replace(Noise.card, name="perfect", reads=frozenset({"frontal", "lateral"}), learned=True)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        super().fit(train, val, run)
        log("fit perfect", len(train))

    def synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        assert list(targets) == ["frontal"]
        assert not any(bool(present.any()) for present in inputs.present.values())
        known = {study.report: study for study in SignsData().studies("train")}
        log("paint", len(inputs.ids))
        return [
            Prediction(images={"frontal": known[report].images["frontal"]}) for report in inputs.reports or ()
        ]


class Faint(Perfect):
    """Knows the real image, and paints it dark, at a quarter of its brightness."""

    card = replace(Perfect.card, name="faint")

    def synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        images = [(one.images or {})["frontal"] for one in super().synthesize(inputs, targets)]
        return [Prediction(images={"frontal": image // 4}) for image in images]


def means(extractor: Any, images: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """A network's stand-in: a grid of block means, as features see it, in milliseconds."""
    blocks = [image[..., 0].astype(float).reshape(4, 3, 4, 3).mean((1, 3)).ravel() for image in images]
    log("features", len(images))
    return np.stack(blocks)


@pytest.fixture
def world(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(registry.DATASETS, "signs-phantom", "tests.evaluation.test_downstream:SignsData")
    monkeypatch.setitem(registry.METHODS, "perfect", "tests.evaluation.test_downstream:Perfect")
    monkeypatch.setitem(registry.METHODS, "faint", "tests.evaluation.test_downstream:Faint")
    monkeypatch.setitem(registry.METHODS, "noise", "methods.controls.noise:Noise")
    registry._table.cache_clear()
    monkeypatch.setattr(downstream_classifier, "features", means)
    return toy_world


def config(world: Path, *generators: str, **values: Any) -> RunSettings:
    return RunSettings.of(methods=generators, dataset="signs-phantom", store=world / "store", **values)


def values(rows: Sequence[Measurement], method: str) -> dict[str, float]:
    return {row.metric: row.value for row in rows if row.method == method and row.value is not None}


def work(world: Path) -> list[str]:
    path = world / "work.log"
    return path.read_text().splitlines() if path.exists() else []


def test_a_perfect_generator_is_worth_as_much_as_real_images_and_noise_nothing(world: Path) -> None:
    rows = downstream.measure(config(world, "perfect", "noise"), None, Quiet())
    perfect, noise = values(rows, "perfect"), values(rows, "noise")
    assert tuple(perfect) == tuple(noise) == DOWNSTREAM
    for score in DOWNSTREAM_SCORES:
        name = f"downstream_{score}"
        assert perfect[f"{name}_synthetic"] == perfect[f"{name}_real"]
        assert perfect[f"{name}_real"] == noise[f"{name}_real"]
        assert perfect[f"{name}_permuted"] < perfect[f"{name}_real"] - 0.1
    for score in ("auroc", "coarse_auroc"):
        assert perfect[f"downstream_{score}_real"] > 0.9
        assert perfect[f"downstream_{score}_permuted"] == pytest.approx(0.5, abs=0.15)
    # A classifier that learned nothing points somewhere; over seeds it is right as often as wrong.
    guessed = downstream.measure(config(world, "noise", seeds=tuple(range(1, 9))), None, Quiet())
    found = [row.value for row in guessed if row.metric == "downstream_auroc_synthetic"]
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)  # type: ignore[arg-type]
    assert all(row.control for row in guessed)
    assert {row.n for row in rows} == {80}
    stored = Store(world / "store").stored()
    own = next(each for each in stored if each.rows[0].method == "perfect").manifest.downstream
    assert own.minus_real["coarse_auroc"]["synthetic"] == (0.0, 0.0, 0.0)
    assert list(own.findings) == ["Cardiomegaly", "Edema"]
    assert own.absent["Pneumothorax"] == "no test study has it"
    assert own.absent["Lung Lesion"] == "signs-phantom has no such label"
    assert not {"Fracture", "No Finding"} & {*own.absent, *own.findings}


def test_a_generator_is_told_a_report_alone(world: Path) -> None:
    """``Perfect`` checks that no view is present; its images follow the reports of the training split."""
    rows = downstream.measure(config(world, "perfect"), 30, Quiet())
    assert {row.signature.split("|")[6] for row in rows} == {"train:30"}
    assert "fit perfect 80" in work(world)


def test_more_studies_continue_and_the_same_repeat_nothing(world: Path) -> None:
    first = downstream.measure(config(world, "perfect"), 30, Quiet())
    before = work(world)
    assert downstream.measure(config(world, "perfect"), 30, Quiet()) == first
    assert [line for line in work(world)[len(before) :] if not line.startswith("done")] == []
    more = downstream.measure(config(world, "perfect"), 50, Quiet())
    painted = [int(line.split()[1]) for line in work(world) if line.startswith("paint")]
    assert sum(painted) == 50
    assert len({row.key for row in (*first, *more)}) == 2


def test_the_table_has_everything_beside_the_paper(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["downstream", "--generator", "perfect", "--dataset", "signs-phantom", "--limit", "40"]
    paper = library.load("codi_xr").model_copy(update={"method": "perfect"})
    monkeypatch.setattr(library, "names", lambda: ["codi_xr"])
    monkeypatch.setattr(library, "load", lambda name: paper)
    invoke = CliRunner().invoke
    store = ["--store", str(world / "store")]
    done = invoke(app, [*arguments, *store])
    assert done.exit_code == 0, done.output
    assert "signs-phantom, 80 test studies" in done.output
    assert "| coarse AUROC permuted |" in done.output
    assert "| Cardiomegaly |" in done.output
    assert "Pneumothorax is left out: no test study has it" in done.output
    assert "match or exceed those on real data" in done.output
    for kind in ("latex", "html", "csv", "json"):
        path = world / "out"
        wrote = invoke(app, [*arguments, *store, "--format", kind, "--out", str(path)])
        assert wrote.exit_code == 0, wrote.output
    content = json.loads((world / "out" / "downstream.json").read_text())
    assert {row["metric"] for row in content["rows"]} == set(DOWNSTREAM)
    (facts,) = content["results"].values()
    assert facts["downstream"]["training_studies"] == 40
    assert facts["command"] == (
        "harness downstream --generator perfect --dataset signs-phantom --preset tiny --seeds 0 --limit 40"
    )
    assert "Classification of 10 disease categories" in (world / "out" / "downstream.tex").read_text()


def test_its_rows_stand_in_the_leaderboard_and_may_leave_the_house(world: Path) -> None:
    downstream.measure(config(world, "perfect"), None, Quiet())
    store = Store(world / "store")
    found = Leaderboard.of(store)
    (table,) = found.tables
    assert (table.group, table.sort) == ("downstream", DOWNSTREAM[0])
    assert '"downstream"' in bundle.make(found, store)
    (stored,) = store.stored()
    assert stored.replicates()[DOWNSTREAM[0]].shape == (1, 1000)
    with pytest.raises(HarnessError, match="not a row of harness run"):
        reproduce.reproduce(stored, world / "again", Quiet())


def test_what_generates_no_frontal_view_is_refused(world: Path) -> None:
    with pytest.raises(HarnessError, match="--generator echo: it generates no frontal view"):
        downstream.measure(config(world, "echo"), None, Quiet())


def test_a_dataset_without_the_findings_is_refused(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = SignsData()
    made.info = replace(made.info, label_names=("dog", "cat", "bird", "fish", "cow"))
    monkeypatch.setattr(SignsData, "open", lambda root=None, **settings: made)
    with pytest.raises(HarnessError, match="has none of the findings Enlarged"):
        downstream.measure(config(world, "perfect"), None, Quiet())


def test_the_ten_findings_are_those_of_chexpert_that_are_diseases_of_heart_and_lungs() -> None:
    assert len(downstream_classifier.FINDINGS) == 10
    assert set(TRAINED_ON) == {"real", "synthetic", "both", "permuted"}


def test_images_that_are_soft_as_a_whole_are_not_forgiven(world: Path) -> None:
    """Generated images are seen by the moments of real ones: a lost contrast stays lost."""
    rows = downstream.measure(config(world, "perfect", "faint"), None, Quiet())
    perfect, faint = values(rows, "perfect"), values(rows, "faint")
    assert faint["downstream_coarse_f1_synthetic"] < perfect["downstream_coarse_f1_synthetic"] - 0.05
    rng = np.random.default_rng(0)
    real = rng.normal(3.0, 2.0, size=(50, 4))
    eyes = downstream_classifier.Eyes.of(real)
    assert eyes(real).std(axis=0) == pytest.approx(np.ones(4))
    assert eyes(real / 4).std(axis=0) == pytest.approx(np.full(4, 0.25))


def test_findings_with_few_positive_studies_are_not_averaged(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rare(split: str) -> list[Study]:
        studies = usual(SignsData(), split)
        with_edema = [study for study in studies if study.labels is not None and study.labels[2]]
        for study in with_edema[3:]:
            study.labels[2] = 0.0  # type: ignore[index]
        return studies

    usual = SignsData.studies
    monkeypatch.setattr(SignsData, "studies", lambda self, split: rare(split))
    rows = downstream.measure(config(world, "perfect"), None, Quiet())
    (stored,) = Store(world / "store").stored()
    findings = stored.manifest.downstream.findings
    assert {name: each.averaged for name, each in findings.items()} == {"Cardiomegaly": True, "Edema": False}
    assert findings["Edema"].test == 3
    own = findings["Cardiomegaly"].auroc["real"][0]
    assert values(rows, "perfect")["downstream_auroc_real"] == pytest.approx(own)


def test_a_classifier_of_real_features_is_deterministic() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(60, 8)), rng.normal(size=(20, 8))
    labels = (train[:, :2] + rng.normal(size=(60, 2)) > 0).astype(float)
    first, again = (downstream_classifier.classify(train, labels, test) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.corrcoef(first[:, 0], test[:, 0])[0, 1] > 0.8
