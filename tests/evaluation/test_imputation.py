"""``--impute``: inputs of the imputer, effect of its images, and the names of their files."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core import registry
from harness.core.config import RunSettings
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.types import CONTEXT, DatasetInfo, Inputs, Prediction, Study, Task
from harness.evaluation import ask, completion, reproduce
from harness.evaluation import run as executors
from harness.evaluation.completion import CompletedState, Completion, complete_states
from harness.evaluation.entries import Entry, entries
from harness.evaluation.run import run_serially
from harness.leaderboard import bundle, robustness
from harness.leaderboard.leaderboard import Leaderboard
from harness.method.card import MethodCard
from harness.method.config import MethodConfig
from harness.method.contract import FitRun, Method
from harness.metrics.images import distances
from harness.store.results import Measurement
from harness.store.row_labels import trained
from harness.store.store import Store
from tests.helpers import prepared
from tests.helpers.toys import Echo, Quiet, log
from tests.helpers.trials import trial_of

INFO = DatasetInfo("toy", frozenset({Task.REPORT, Task.SYNTHESIZE}), ("frontal", "lateral"), True, 8)


class GossipConfig(MethodConfig):
    """``level``: added to every pixel."""

    level: int = 0


class Gossip(Method[GossipConfig]):
    """Paints all of its inputs: a change of any input changes the image."""

    Config = GossipConfig
    card = MethodCard(
        name="gossip",
        title="gossip",
        paper="",
        licence="",
        tasks=frozenset({Task.SYNTHESIZE}),
        reads=frozenset({"frontal", "lateral", CONTEXT}),
    )

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        log("fit gossip")

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return self.synthesize(inputs, ["frontal", "lateral"])

    def synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        made = []
        for row, name in enumerate(inputs.ids):
            log("paint", "+".join(targets), name)
            told = hashlib.sha256(f"{inputs.seeds[row]}{inputs.context[row]}{inputs.reports}".encode())
            for view, images in sorted(inputs.images.items()):
                told.update(images[row].numpy().tobytes() + bytes([bool(inputs.present[view][row])]))
            side, level = self.info.image_size, (told.digest()[0] + self.config.level) % 256
            made.append(Prediction(images=dict.fromkeys(targets, np.full((side, side, 1), level, np.uint8))))
        return made

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "gossip.json").write_text("{}")

    def load(self, directory: Path) -> None:
        pass


class Viewer(Echo):
    """Echo that reads images alone, and is no control."""

    card = replace(Echo.card, name="viewer", reads=frozenset({"frontal", "lateral"}), learned=True)


def register(setitem: Any) -> None:
    setitem(registry.DATASETS, "images", "tests.evaluation.test_synthesis:PictureData")
    setitem(registry.METHODS, "gossip", "tests.evaluation.test_imputation:Gossip")
    setitem(registry.METHODS, "viewer", "tests.evaluation.test_imputation:Viewer")


@pytest.fixture
def world(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    register(monkeypatch.setitem)
    registry._table.cache_clear()
    return toy_world


def config(world: Path, **values: Any) -> RunSettings:
    given = {
        "methods": ("viewer", "echo"),
        "impute": "gossip",
        "dataset": "images",
        "drop": "any",
        "missing": (0.5,),
        "mask_seeds": 2,
        "metrics": ("bleu",),
        "store": world / "store",
    }
    return RunSettings.of(**{**given, **values})


def work(world: Path) -> Counter[str]:
    path = world / "work.log"
    return Counter(path.read_text().splitlines() if path.exists() else [])


def of(rows: Sequence[Measurement], method: str, rate: float) -> Measurement:
    return next(r for r in rows if (r.method, r.rate, r.metric) == (method, rate, "bleu_4"))


# ---------------------------------------------------------------- inputs of the imputer


def study(**values: Any) -> Study:
    noise = np.random.default_rng(0)
    images = {view: noise.integers(1, 256, (8, 8, 1), dtype=np.uint8) for view in ("frontal", "lateral")}
    given = {"images": images, "context": "cough", "report": "clear.", "labels": np.zeros(2, np.float32)}
    return Study("s", "p", "test", **{**given, **values})


def completion_of(
    folder: Path, studies: Sequence[Study], predictor: type[Method[Any]] = Viewer, *states: str
) -> Completion:
    imputer = Entry("gossip", "gossip", None, Gossip)
    entry = Entry("viewer+imputed-gossip", "viewer", None, predictor, imputer=imputer)
    return complete_states(trial_of(folder, entry, studies, states or ("full", "lateral", "context"), INFO))


def completed(folder: Path, one: Study, predictor: type[Method[Any]] = Viewer) -> CompletedState:
    return completion_of(folder, [one], predictor).states["lateral"]


def test_an_imputer_knows_no_more_than_the_predicting_method_sees(tmp_path: Path) -> None:
    (base,) = completed(tmp_path / "a", study()).studies
    lateral = np.full((8, 8, 1), 77, np.uint8)
    secret = study(
        report="SENTINEL", context="SENTINEL", labels=np.ones(2, np.float32), attributes={"age": "SENTINEL"}
    )
    secret = replace(secret, images={**secret.images, "lateral": lateral})
    (other,) = completed(tmp_path / "b", secret).studies
    assert np.array_equal(base.images["lateral"], other.images["lateral"])
    assert not np.array_equal(other.images["lateral"], lateral)
    # The imputer gets what the method sees: the other view, and the context if the method reads it.
    changed = study(images={**study().images, "frontal": lateral})
    (third,) = completed(tmp_path / "c", changed).studies
    assert not np.array_equal(base.images["lateral"], third.images["lateral"])
    told, kept = (completed(tmp_path / name, one, Echo) for name, one in (("d", study()), ("e", secret)))
    assert told.conditions == kept.conditions == ("frontal", "context")
    assert not np.array_equal(told.studies[0].images["lateral"], kept.studies[0].images["lateral"])


def test_all_but_the_lost_view_is_the_studys_own(tmp_path: Path) -> None:
    one = study()
    found = completed(tmp_path, one)
    (whole,) = found.studies
    assert replace(whole, images=one.images) == replace(one)
    assert whole.images["frontal"] is one.images["frontal"]
    assert (found.conditions, found.left) == (("frontal",), 0)


def test_a_study_of_which_nothing_remains_stays_without(tmp_path: Path) -> None:
    one = study()
    alone = replace(one, id="alone", images={"lateral": one.images["lateral"]})
    bare = replace(alone, id="bare", context=None)  # no mask takes the last modality of a study
    completion = completion_of(tmp_path, [alone, bare, one], Viewer, "full", "lateral")
    assert [each.id for each in completion.states["lateral"].studies] == ["s"]
    remark = completion.remark(("full", "lateral"), {"frontal", "lateral"})
    assert "nothing to generate lateral from in 1 studies" in remark


def test_a_image_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"gossip: the generated lateral of s is uint8 \(8, 8, 1\)"):
        completion._with_views(
            study(), {"lateral": Prediction(images=study().images)}, "gossip", replace(INFO, image_size=9)
        )


# ---------------------------------------------------------------- what a run makes of it


def test_each_method_has_a_row_with_and_without(world: Path) -> None:
    rows, succeeded = run_serially(config(world), Quiet())
    assert succeeded
    names = ["viewer", "viewer+shuffled-image", "viewer+imputed-gossip", "echo", "echo+imputed-gossip"]
    assert list(dict.fromkeys(row.method for row in rows)) == names
    for method in ("viewer", "echo"):
        plain, imputed = (of(rows, name, 0.0) for name in (method, f"{method}+imputed-gossip"))
        assert (plain.value, plain.ci95, plain.control) == (imputed.value, imputed.ci95, imputed.control)
        assert of(rows, method, 0.5).value != of(rows, f"{method}+imputed-gossip", 0.5).value
    assert not of(rows, "viewer+imputed-gossip", 0.5).control
    said = of(rows, "echo+imputed-gossip", 0.5).detail.split("; ")[0]
    assert said == "echo+imputed-gossip: not generated, so missing as without it: context"
    # What the method does not read is no loss of its; some studies keep nothing but that.
    said = of(rows, "viewer+imputed-gossip", 0.5).detail.split("; ")[0]
    assert said == "viewer+imputed-gossip: nothing to generate frontal from in 4 studies, which stay without"
    (table,) = Leaderboard.of(Store(world / "store")).tables
    assert {"echo+imputed-gossip: not", "viewer+imputed-gossip: nothing"} <= {
        " ".join(part.split()[:2]) for part in table.remarks["bleu_4"].split("; ")
    }
    paired = robustness.RobustnessReport.of(Store(world / "store").stored()).differences
    assert {each.rate for each in paired if (each.a, each.b) == ("viewer", "viewer+imputed-gossip")} == {
        0.0,
        0.5,
    }
    without, _ = run_serially(config(world, impute=None, store=world / "other"), Quiet())
    own = [row for row in rows if "+imputed" not in row.method]
    assert [(r.method, r.rate, r.value, r.ci95) for r in without] == [
        (r.method, r.rate, r.value, r.ci95) for r in own
    ]


def test_a_filled_state_is_the_prediction_on_the_completed_study(world: Path) -> None:
    run_serially(config(world, methods=("viewer",)), Quiet())
    store = world / "store"
    (images,) = store.rglob("imputed-lateral-from-frontal.jsonl")
    assert images.parts[-4] == "gossip"
    (said,) = store.rglob("imputed-gossip-*-lateral.jsonl")
    assert said.parts[-4] == "viewer"
    assert images.parts[-3] in said.name  # the imputer's preset, seed and fingerprint
    lines = {line["id"] for line in map(json.loads, said.read_text().splitlines())}
    data = registry.load("datasets", "images").open()
    assert lines == {one.id for one in data.studies("test") if "lateral" in one.images}


def test_a_second_run_paints_and_predicts_nothing(world: Path) -> None:
    first, _ = run_serially(config(world), Quiet())
    before = work(world)
    assert before["fit gossip"] == 1
    again, _ = run_serially(config(world), Quiet())
    assert first == again
    assert not [line for line in work(world) - before if not line.startswith("done")]


def test_an_imputer_that_fails_half_way_fails_its_rows_alone_and_goes_on_from_there(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint = Gossip.synthesize

    def tired(self: Gossip, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        if len(inputs) < 32:  # the second batch of a state
            raise ValueError("out of paint")
        return paint(self, inputs, targets)

    monkeypatch.setattr(Gossip, "synthesize", tired)
    monkeypatch.setattr(ask, "BATCH_SIZE", 32)
    rows, succeeded = run_serially(config(world, methods=("viewer",)), Quiet())
    assert not succeeded
    status = {row.method: (row.status, row.detail) for row in rows}
    assert status["viewer"][0] == "ok"
    state, reason = status["viewer+imputed-gossip"]
    assert state == "failed"
    assert reason.startswith(f"ValueError at {__name__}:")
    monkeypatch.setattr(Gossip, "synthesize", paint)
    rows, succeeded = run_serially(config(world, methods=("viewer",)), Quiet())
    assert succeeded
    assert {times for line, times in work(world).items() if line.startswith("paint")} == {1}
    assert work(world)["fit gossip"] == 1


def test_the_predictions_of_another_imputer_are_others(world: Path) -> None:
    run_serially(config(world, methods=("viewer",)), Quiet())
    rows, _ = run_serially(config(world, methods=("viewer",), set={"gossip": {"level": 90}}), Quiet())
    assert "viewer+imputed-gossip[level=90]" in {row.method for row in rows}
    names = {path.name for path in (world / "store").rglob("imputed-gossip*-lateral.jsonl")}
    assert len(names) == 2


def test_an_unconditional_imputer_fills_all_that_is_lost(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.METHODS, "noise", "methods.controls.noise:Noise")
    registry._table.cache_clear()
    rows, succeeded = run_serially(config(world, methods=("learner",), impute="noise"), Quiet())
    assert succeeded
    assert of(rows, "learner", 0.5).value != of(rows, "learner+imputed-noise", 0.5).value
    assert list((world / "store").rglob("imputed-frontal-from-nothing.jsonl"))


def test_a_row_with_an_imputer_is_reproduced_and_shared(world: Path) -> None:
    given = config(world, methods=("viewer",), set={"gossip": {"level": 3}})
    run_serially(given, Quiet())
    stored = reproduce.find(Store(given.config.store), "viewer+imputed-gossip[level=3]")
    assert stored.manifest.imputed.states["lateral"].conditions == ["frontal"]
    assert reproduce.reproduce(stored, world / "again", Quiet(), tolerance=0.0).equal
    plain = reproduce.find(Store(given.config.store), "viewer")
    assert plain.manifest.config["impute"] is None
    facts = Leaderboard.of(Store(given.config.store)).results
    assert "--impute gossip --set gossip.level=3" in facts[stored.key].command
    assert "--impute" not in facts[plain.key].command
    assert "viewer+imputed-gossip[level=3]" in bundle.make(Leaderboard.of(Store(given.config.store)))


def test_labels_that_may_not_leave_are_hashed_on_both_sides() -> None:
    found = bundle._label("dia[path=/a b]+imputed-codi_xr[weights=/c]")
    assert found.startswith("dia[sha256:")
    assert "+imputed-codi_xr[sha256:" in found
    assert "/" not in found
    assert trained("dia[x=1]+imputed-codi_xr:fast[y=2]") == "dia[x=1]"


def test_the_completed_set_moves_away_from_the_real_one_as_the_rate_rises(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pixels(extractor: Any, images: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        return np.stack([np.resize(image / 255.0, extractor.width) for image in images])

    monkeypatch.setattr(distances, "features", pixels)
    given = config(world, methods=("gossip",), impute=None, drop="frontal", missing=(0.4, 0.8), limit=16)
    rows, succeeded = run_serially(given.replaced(metrics=("images_completed",)), Quiet())
    assert succeeded
    fid = [row.value for row in rows if row.metric == "fid_lite0_completed"]
    assert fid[0] == pytest.approx(0.0, abs=1e-9)
    assert fid[0] < fid[1] < fid[2]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"impute": "echo"}, "--impute echo: it generates nothing"),
        (
            {"drop": "context"},
            "it fills none of what studies of images lose here: context",
        ),
        ({"methods": ("gossip",)}, "no other method of this run reads an image"),
        ({"methods": ("learner",)}, "it fills none"),
    ],
)
def test_an_imputer_with_nothing_to_do_is_refused(world: Path, values: dict[str, Any], message: str) -> None:
    limited = {"drop": "frontal"} if values.get("methods") == ("learner",) else {}
    with pytest.raises(HarnessError, match=message):
        run_serially(config(world, **{**limited, **values}), Quiet())


def test_an_unknown_imputer_is_refused(world: Path) -> None:
    with pytest.raises(UnknownNameError, match="gosip"):
        entries(config(world, impute="gosip").config)


# ---------------------------------------------------------------- side by side

SCRIPT = """
import sys
from pathlib import Path
from harness.core import registry
from harness.evaluation import run as executors
from tests.evaluation import test_imputation
from tests.helpers import toys
toys.register(dict.__setitem__)
test_imputation.register(dict.__setitem__)
registry._table.cache_clear()
methods = ("gossip", "viewer", "echo")
given = test_imputation.config(Path(sys.argv[1]), methods=methods, workers=2)
rows, succeeded = executors.run(given, toys.Quiet())
for row in rows:
    print(row.method, row.rate, row.metric, row.value)
sys.exit(not succeeded)
"""


def test_imputed_rows_come_last_and_the_imputer_is_trained_once(world: Path) -> None:
    jobs = executors.Work.of(config(world, methods=("viewer", "gossip", "echo"))).jobs
    assert [label for label, _ in jobs] == [
        "viewer",
        "gossip",
        "echo",
        "viewer+imputed-gossip",
        "echo+imputed-gossip",
    ]

    rows, _ = run_serially(config(world, methods=("gossip", "viewer", "echo")), Quiet())
    alone = work(world)
    (world / "both").mkdir()
    environment = {**os.environ, "TOY_LOG": str(world / "both" / "work.log"), "OMP_NUM_THREADS": "1"}
    done = prepared.run(["-c", SCRIPT, str(world / "both")], env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [f"{r.method} {r.rate} {r.metric} {r.value}" for r in rows]
    assert work(world / "both") == alone
    assert alone["fit gossip"] == 1
