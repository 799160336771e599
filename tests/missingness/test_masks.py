"""Plans that travel between labs, and training with modalities removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.config import RunSettings
from harness.core.errors import CorruptFileError, HarnessError
from harness.core.types import CONTEXT
from harness.evaluation import reproduce
from harness.evaluation.benchmark import open_benchmark
from harness.evaluation.run import run_serially
from harness.evaluation.trial import Trial
from harness.missingness import masks
from harness.missingness.mechanisms import Observed
from harness.missingness.plan import MaskPlan, Missingness
from harness.missingness.states import missing_in
from harness.store.store import Store
from tests.helpers import toys
from tests.helpers.toys import FAST_METRICS, Echo, Quiet, ToyData


def config(folder: Path, **rest: Any) -> RunSettings:
    chosen = {"methods": ("echo",), "missing": (0.2, 0.6), "mask_seeds": 3, "metrics": FAST_METRICS, **rest}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    return RunSettings.of(dataset="toy", store=folder / "store", **chosen)


def saved(folder: Path) -> Path:
    (path,) = (folder / "store" / "masks" / "toy").glob("*.json")
    return path


def numbers(settings: RunSettings) -> dict[tuple[str, float], Any]:
    rows, succeeded = run_serially(settings, Quiet())
    assert succeeded
    return {(row.metric, row.rate): (row.value, row.ci95, row.drop, row.mechanism) for row in rows}


def test_a_run_keeps_its_plan_and_gives_the_same_numbers_back_from_it(toy_world: Path) -> None:
    first = numbers(config(toy_world, drop="any"))
    plan = saved(toy_world)
    (result,) = (toy_world / "store" / "results").rglob("*.json")
    manifest = json.loads(result.read_text())["manifest"]
    assert manifest["mask_plan"] == plan.relative_to(toy_world / "store").as_posix()
    assert manifest["natural"] == pytest.approx({"frontal": 0.0, "lateral": 6 / 40, "context": 8 / 40})
    again = config(toy_world / "other", missing=None, mask_seeds=None, masks=plan)
    assert numbers(again) == first
    assert saved(toy_world / "other").read_bytes() == plan.read_bytes()


def test_flags_narrow_a_saved_plan_or_are_refused(toy_world: Path) -> None:
    numbers(config(toy_world, drop="any"))
    plan = saved(toy_world)

    def opened(**rest: Any) -> MaskPlan:
        rest = {"missing": None, "mask_seeds": None, **rest}
        return open_benchmark(config(toy_world, masks=plan, **rest)).plans[0]

    assert opened(missing=(0.6,)).rates == (0.0, 0.6)
    assert opened(mask_seeds=2).seeds == (0, 1)
    assert opened(drop="any").policy == "any"
    for flags, message in (
        ({"drop": "context"}, "--drop context, but --masks .* holds masks of any"),
        ({"mechanism": "mnar"}, "--mechanism mnar, but --masks .* holds masks of mcar"),
        ({"missing": (0.5,)}, r"--missing 0.5: .* no such rate \(rates: 0, 0.2, 0.6\)"),
        ({"mask_seeds": 4}, "--mask-seeds 4: .* has 3"),
        ({"limit": 20}, r"has a mask for 20 studies, the first is 'test\d+'"),
    ):
        with pytest.raises(HarnessError, match=message):
            opened(**flags)


def written(folder: Path, **change: Any) -> Path:
    studies = ToyData().studies("test")
    plan = masks.plan_of(studies, ToyData().info, Missingness("context", "mcar", (0.5,), (0,)))
    path = folder / "plan.json"
    path.write_text(json.dumps(plan.to_json() | change))
    return path


def read(path: Path) -> MaskPlan:
    return masks.read_plan(path, ToyData().studies("test"), ToyData().info)


def test_a_plan_of_another_order_is_joined_by_id_and_gets_rate_zero(tmp_path: Path) -> None:
    original = json.loads(written(tmp_path).read_text())
    shuffled = {**original, "ids": original["ids"][::-1], "masks": [[original["masks"][0][0][::-1]]]}
    found = read(written(tmp_path, **shuffled))
    assert found.rates == (0.0, 0.5)
    assert not found.assignment[0, 0].any()
    assert "".join(map(str, found.assignment[0, 1])) == original["masks"][0][0]
    assert found.mechanism == "mcar"


def test_masks_that_were_not_drawn_here_carry_a_digest_in_their_mechanism(tmp_path: Path) -> None:
    studies = ToyData().studies("test")
    text = "".join(
        "1" if CONTEXT in study.modalities and index < 9 else "0" for index, study in enumerate(studies)
    )
    found = read(written(tmp_path, masks=[[text]]))
    assert found.mechanism.startswith("mcar (masks ")
    named = read(written(tmp_path, masks=[[text]], mechanism="night shifts"))
    assert named.mechanism.startswith("night shifts (masks ")


def test_a_file_that_does_not_fit_is_an_error_that_names_it(tmp_path: Path) -> None:
    ids = [study.id for study in ToyData().studies("test")]
    with pytest.raises(HarnessError, match=r"--masks .*nowhere.json: no such file"):
        read(tmp_path / "nowhere.json")
    with pytest.raises(HarnessError, match="has no mask for 1 studies, the first is 'test0'"):
        read(written(tmp_path, ids=["stranger", *ids[1:]]))
    with pytest.raises(HarnessError, match="more than once"):
        read(written(tmp_path, ids=[ids[1], *ids[1:]]))
    with pytest.raises(HarnessError, match="its policy: --drop sonar"):
        read(written(tmp_path, policy="sonar"))
    with pytest.raises(HarnessError, match=r"states full, lateral do not fit --drop context"):
        read(written(tmp_path, states=["full", "lateral"]))
    with pytest.raises(CorruptFileError, match="not a mask plan"):
        read(written(tmp_path, masks=[["01"]]))
    bad = tmp_path / "text.json"
    bad.write_text("no json")
    with pytest.raises(CorruptFileError, match="not valid JSON"):
        read(bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rates": [0.0]}, r"at rate 0 it takes something from \d+ studies, first 'test"),
        ({"rates": [0.5, 0.2], "masks": [["0" * 40] * 2]}, "its rates do not ascend"),
        ({"rates": [0.5, 0.5], "masks": [["0" * 40] * 2]}, "its rates do not ascend"),
        ({"seeds": [1, 1], "masks": [["0" * 40]] * 2}, "a seed stands twice"),
        ({"seeds": [True]}, r"plan\.json: not a mask plan \(TypeError\) \(a run keeps"),
        ({"seeds": ["0"]}, "not a mask plan"),
        ({"rates": [True]}, "not a mask plan"),
        ({"policy": None}, "not a mask plan"),
        ({"policy": ["context"]}, "not a mask plan"),
        ({"mechanism": {}}, "not a mask plan"),
        ({"states": ["full", None]}, "not a mask plan"),
        ({"states": "full"}, "not a mask plan"),
        ({"ids": "x" * 40}, "not a mask plan"),
    ],
)
def test_masks_that_say_something_else_than_they_do_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(HarnessError, match=rf"--masks .*{message}"):
        read(written(tmp_path, **change))


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text()[:-1] + ', "seeds": [7]}')
    with pytest.raises(HarnessError, match=r"--masks .*plan\.json: a key stands twice"):
        read(path)


def test_a_mask_that_empties_a_study_is_refused(tmp_path: Path) -> None:
    lonely = [study for study in ToyData().studies("test") if study.modalities == {"frontal"}]
    assert lonely
    path = written(tmp_path, policy="frontal", states=["full", "frontal"], masks=[["1" * 40]])
    with pytest.raises(HarnessError, match=f"study {lonely[0].id} would lose frontal, its last modality"):
        read(path)


def test_a_study_without_a_view_keeps_the_rest_and_reads_nothing() -> None:
    study = ToyData().studies("test")[1]
    blind = masks.without(study, {"lateral"})
    assert set(blind.images) == {"frontal"}
    assert blind.modalities == {"frontal", CONTEXT}
    assert (blind.images["frontal"] == study.images["frontal"]).all()
    assert "lateral" not in blind.images
    with pytest.raises(KeyError):
        blind.images["lateral"]
    assert masks.without(study, {CONTEXT}).context is None


def test_thinned_training_studies_follow_rate_policy_and_seed() -> None:
    data = ToyData()
    train = data.studies("train")
    some = masks.thinned(train, data.info, "any", "mcar", 0.5, 0)
    lost = [len(a.modalities) - len(b.modalities) for a, b in zip(train, some, strict=True)]
    assert set(lost) == {0, 1}
    assert np.mean(lost) == 0.5
    assert [study.modalities for study in masks.thinned(train, data.info, "any", "mcar", 0.5, 1)] != [
        study.modalities for study in some
    ]
    assert masks.thinned(train, data.info, "any", "mcar", 0.0, 0) == list(train)


def test_training_without_modalities_is_a_cell_and_a_row_of_its_own(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, int] = {}

    def fit(self: Echo, train: list[Any], val: list[Any], run: Any) -> None:
        seen["train"] = sum(CONTEXT in study.modalities for study in train)
        seen["val"] = sum(CONTEXT in study.modalities for study in val)
        toys.log("fit echo")

    monkeypatch.setattr(Echo, "fit", fit)
    whole = config(toy_world)
    numbers(whole)
    assert seen == {"train": 32, "val": 32}
    thin = config(toy_world, train_missing=0.5, train_drop="context")
    rows, _ = run_serially(thin, Quiet())
    assert seen == {"train": 12, "val": 12}
    assert {row.method for row in rows} == {"echo[train-missing=0.5]"}
    benches = [open_benchmark(each) for each in (whole, thin)]
    cells = [Trial(benchmark, benchmark.entries[0], 0).cell for benchmark in benches]
    assert cells[0].directory != cells[1].directory
    run_serially(thin, Quiet())
    assert (toy_world / "work.log").read_text().count("fit echo") == 2


def test_content_is_the_number_of_words_and_the_brightness_of_a_view() -> None:
    studies = ToyData().studies("test")
    content = Observed.of(studies, (), True).content
    assert content is not None
    assert np.isnan(content(CONTEXT)[0])
    assert content(CONTEXT)[1] == 2
    assert np.isnan(content("lateral")[7])
    assert content("lateral")[1] == pytest.approx(studies[1].images["lateral"].mean())


def test_the_shares_of_a_plan_are_those_of_studies_and_of_instances() -> None:
    data = ToyData()
    studies = data.studies("test")
    plan = masks.plan_of(studies, data.info, Missingness("subsets", "mcar", (0.0, 0.5, 1.0), range(4)))
    nothing, half, all_but_one = masks.missing_shares(plan, studies, data.info)
    assert (nothing.studies, nothing.instances) == (0.0, 0.0)
    own = sum(len(study.modalities) for study in studies)
    assert all_but_one.instances == pytest.approx((own - len(studies)) / own)
    assert all_but_one.studies == pytest.approx(np.mean([len(study.modalities) > 1 for study in studies]))
    lost = [
        sum(name in missing_in(state) for seed in range(4) for state in plan.state_names(seed, 1)) / 160
        for name in data.info.modalities
    ]
    assert half.modalities == pytest.approx(dict(zip(data.info.modalities, lost, strict=True)))
    assert half.instances == pytest.approx(sum(lost) * 40 / own)
    context = masks.plan_of(studies, data.info, Missingness("context", "mcar", (0.5,), (0,)))
    (of_context,) = masks.missing_shares(context, studies, data.info)
    assert of_context.modalities == {"frontal": 0.0, "lateral": 0.0, "context": of_context.studies}


def test_a_rate_per_modality_reaches_rows_and_manifest(toy_world: Path) -> None:
    settings = config(toy_world, missing={"context": 0.5, "frontal": 0.25}, drop="subsets")
    found = numbers(settings)
    assert {row[2] for row in found.values()} == {"frontal=0.25+context=0.5"}
    (result,) = (toy_world / "store" / "results").rglob("*.json")
    manifest = json.loads(result.read_text())["manifest"]
    assert manifest["lost"]["1.0"]["context"] == pytest.approx(0.5, abs=0.13)
    assert manifest["lost"]["1.0"]["lateral"] == 0.0
    assert set(manifest["achieved_instances"]) == {"0.0", "1.0"}
    stored = Store(toy_world / "store").stored()[0]
    assert reproduce.reproduce(stored, toy_world / "again", Quiet(), tolerance=0.0).equal


def test_a_mechanism_reaches_rows_and_manifest_by_its_full_name(toy_world: Path) -> None:
    found = numbers(config(toy_world, mechanism="prefix", drop="frontal"))
    assert {row[2:] for row in found.values()} == {("frontal", "prefix")}
