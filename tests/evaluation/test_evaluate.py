"""The flow as users rely on it: its cost, its exactness, and what a kill or a fault leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.core.config import RunSettings
from harness.core.errors import CorruptFileError, HarnessError, UnavailableError, UnknownNameError
from harness.core.types import Prediction, Study, Task
from harness.evaluation.ask import BATCH_SIZE
from harness.evaluation.benchmark import Benchmark, open_benchmark
from harness.evaluation.completion import Completion
from harness.evaluation.entries import image_donors
from harness.evaluation.predict import predict
from harness.evaluation.run import run_serially
from harness.evaluation.trial import Trial
from harness.metrics.base import Metric
from harness.store.store import Store
from tests.helpers import prepared
from tests.helpers.toys import FAST_METRICS, Quiet, ToyData

RATES = (0.2, 0.4, 0.6, 0.8)


def work(folder: Path) -> Counter[str]:
    log = folder / "work.log"
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def toy_config(folder: Path, methods: tuple[str, ...] = ("echo",), **rest: object) -> RunSettings:
    chosen = {"missing": RATES, "drop": "context", "metrics": FAST_METRICS, **rest}
    return RunSettings.of(methods=methods, dataset="toy", store=folder / "store", **chosen)


@pytest.mark.parametrize("drop", ["context", "any"])
def test_cost_is_one_prediction_per_study_and_distinct_state(toy_world: Path, drop: str) -> None:
    settings = toy_config(toy_world, drop=drop, mask_seeds=20)
    run_serially(settings, Quiet())
    asked = {line: times for line, times in work(toy_world).items() if line.startswith("predict")}
    lost = {"context": ["context"], "any": ["frontal", "lateral", "context"]}[drop]

    def losses(study: Study) -> int:  # no study loses its last modality
        return sum(name in study.modalities and len(study.modalities) > 1 for name in lost)

    assert asked == {f"predict {study.id}": 1 + losses(study) for study in ToyData().studies("test")}


def test_cost_is_states_times_studies_where_no_study_lacks_anything(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = ToyData.studies

    def whole(data: ToyData, split: str) -> list[Study]:
        return [study for study in studies(data, split) if len(study.modalities) == 3]

    complete = whole(ToyData(), "test")
    monkeypatch.setattr(ToyData, "studies", whole)
    run_serially(toy_config(toy_world, drop="any", mask_seeds=20), Quiet())
    asked = sum(times for line, times in work(toy_world).items() if line.startswith("predict"))
    assert asked == 4 * len(complete)


def test_curve_equals_the_naive_computation_per_rate_and_mask(toy_world: Path) -> None:
    settings = toy_config(toy_world, drop="any", mask_seeds=20, metrics=None)
    benchmark = open_benchmark(settings)
    rows = {(row.metric, row.rate): row.value for row in run_serially(settings, Quiet())[0]}
    entry = benchmark.entries[0]
    stored = predict(Trial(benchmark, entry, 0), Completion())
    able = [metric for metric in benchmark.metrics if metric.task is Task.REPORT and not metric.unavailable()]
    assert {"bleu", "chexpert_rules_f1"} <= {metric.name for metric in able}
    for metric in able:
        for column, rate in enumerate(settings.config.rates):
            each = [
                naive(benchmark, metric, stored, benchmark.plans[0].assignment[seed, column])
                for seed in range(20)
            ]
            for output in metric.outputs:
                expected = np.mean([value[output.name] for value in each])
                assert rows[output.name, rate] == pytest.approx(expected, abs=1e-9)


def naive(
    benchmark: Benchmark,
    metric: Metric,
    stored: dict[str, dict[str, Prediction]],
    states: np.ndarray,
) -> dict[str, float]:
    """Score one masked test set from scratch, as if it had been predicted for this rate and seed."""
    mixed = [
        stored[benchmark.plans[0].states[state]][reference.id]
        for state, reference in zip(states, benchmark.references, strict=True)
    ]
    rows = metric.statistics(mixed, benchmark.references)
    return {name: float(value[0]) for name, value in metric.values(rows, np.ones((1, len(rows)))).items()}


def test_second_run_repeats_no_work(toy_world: Path) -> None:
    settings = toy_config(toy_world, ("echo", "learner"))
    first, _ = run_serially(settings, Quiet())
    before = work(toy_world)
    second, _ = run_serially(settings, Quiet())
    repeated = work(toy_world) - before
    assert second == first
    assert not [line for line in repeated if not line.startswith("done")]


@pytest.mark.parametrize(("point", "method"), [("train", "learner"), ("predict", "echo"), ("score", "echo")])
def test_killed_run_continues_to_the_same_table(tmp_path: Path, point: str, method: str) -> None:
    def run(store: str, kill: str = "") -> subprocess.CompletedProcess[str]:
        log = tmp_path / f"{store}.log"
        environment = {**os.environ, "TOY_LOG": str(log), "TOY_KILL": kill, "OMP_NUM_THREADS": "1"}
        command = ["-m", "tests.helpers.toys", str(tmp_path / store), method]
        return prepared.run(command, env=environment)

    undisturbed = run("undisturbed")
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert run("killed", kill=point).returncode == -9
    resumed = run("killed")
    assert resumed.returncode == 0, resumed.stderr
    for row, expected in zip(json.loads(resumed.stdout), json.loads(undisturbed.stdout), strict=True):
        assert row[:3] == expected[:3]
        # BLAS sums in an order that depends on where arrays lie in memory.
        assert [row[3], *row[4]] == pytest.approx([expected[3], *expected[4]], abs=1e-12)
    wanted = Counter((tmp_path / "undisturbed.log").read_text().splitlines())
    done = Counter((tmp_path / "killed.log").read_text().splitlines())
    extra = {line: times for line, times in (done - wanted).items() if not line.startswith("killed")}
    # At most the batch, the epoch or the statistics array under way are done twice.
    allowance = {"train": ("step train", 5), "predict": ("predict", BATCH_SIZE), "score": ("score bleu", 1)}
    prefix, most = allowance[point]
    assert {line for line in extra if not line.startswith((prefix, "done"))} == set()
    assert sum(times for line, times in extra.items() if line.startswith(prefix)) <= most


def test_one_failing_method_does_not_take_the_run_down(toy_world: Path) -> None:
    reporter = Quiet()
    settings = toy_config(toy_world, ("echo", "learner"), set={"echo": {"fail": "fit"}})
    rows, succeeded = run_serially(settings, reporter)
    status = {row.method: row.status for row in rows}
    assert not succeeded
    assert "ValueError at tests.helpers.toys:" in reporter.failures["echo[fail=fit]"]
    assert status == {"echo[fail=fit]": "failed", "learner": "ok", "learner+shuffled-image": "ok"}
    assert {row.status for row in Store(settings.config.store).results()} == {"failed", "ok"}


def test_truncated_last_prediction_is_predicted_again(toy_world: Path) -> None:
    settings = toy_config(toy_world)
    before, _ = run_serially(settings, Quiet())
    (path,) = (toy_world / "store").rglob("full.jsonl")
    path.with_name(path.name + ".sha256.json").unlink()
    path.write_bytes(path.read_bytes()[:-5])
    after, succeeded = run_serially(settings, Quiet())
    assert succeeded
    assert after == before


def test_shuffled_images_come_from_other_patients_with_the_same_views() -> None:
    studies = ToyData().studies("test")
    donors = image_donors(studies, seed=0)
    assert all(donors[study.id].patient_id != study.patient_id for study in studies)
    assert all(set(donors[study.id].images) == set(study.images) for study in studies)
    assert len({donor.id for donor in donors.values()}) == len(studies)
    assert donors == image_donors(studies[::-1], seed=0)


def test_a_study_alone_among_its_views_is_shown_another_patients_images() -> None:
    studies = ToyData().studies("test")
    pixels = studies[0].images["frontal"]
    alone = replace(studies[0], id="alone", patient_id="alone", images={"lateral": pixels})
    of_one_patient = [
        replace(alone, id=name, patient_id="both", images={"frontal": pixels, "third": pixels})
        for name in ("one", "two")
    ]
    together = [*studies, alone, *of_one_patient]
    donors = image_donors(together, seed=0)
    assert all(donors[study.id].patient_id != study.patient_id for study in together)
    assert "lateral" in donors["alone"].images
    assert "frontal" in donors["one"].images
    assert image_donors([alone], seed=0) == {"alone": alone}, "there is no other patient"


def test_unknown_names_come_with_a_suggestion(toy_world: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean learner"):
        run_serially(toy_config(toy_world, ("lerner",)), Quiet())
    with pytest.raises(UnknownNameError, match="did you mean learner:slow"):
        run_serially(toy_config(toy_world, ("learner:slo",)), Quiet())
    with pytest.raises(UnknownNameError, match=r"--set ekko"):
        run_serially(toy_config(toy_world, set={"ekko": {"fail": "x"}}), Quiet())
    with pytest.raises(HarnessError, match="rate"):
        run_serially(toy_config(toy_world, ("learner",), set={"learner": {"rate": "fast"}}), Quiet())


def test_absent_gpu_and_absent_java_stop_before_any_work(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HarnessError, match="--device cuda:7"):
        run_serially(toy_config(toy_world, device="cuda:7"), Quiet())
    monkeypatch.setenv("PATH", str(toy_world))
    with pytest.raises(UnavailableError, match=r"[Jj]ava"):
        run_serially(toy_config(toy_world, tokenizer="ptb"), Quiet())
    assert not work(toy_world)


def test_corrupt_result_file_is_named(toy_world: Path) -> None:
    settings = toy_config(toy_world)
    run_serially(settings, Quiet())
    (path,) = (toy_world / "store" / "results").rglob("*.json")
    path.write_text("{")
    with pytest.raises(CorruptFileError, match=path.name):
        Store(settings.config.store).results()


def test_progress_names_the_seed_where_a_run_has_several(toy_world: Path) -> None:
    heard: list[str] = []

    class Labels(Quiet):
        def phase(self, label: str, phase: str) -> Callable[[float, str], None]:
            heard.append(label)
            return super().phase(label, phase)

    run_serially(toy_config(toy_world, seeds=(0, 1)), Labels())
    assert {"echo (seed 0)", "echo (seed 1)"} <= set(heard)
    heard.clear()
    run_serially(toy_config(toy_world, seeds=(2,)), Labels())
    assert "echo" in heard
