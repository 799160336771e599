"""Rows of methods that diagnose: thresholds and temperatures of validation, labels and groups alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.core.config import RunSettings
from harness.core.errors import UnknownNameError
from harness.core.types import Study
from harness.datasets import example
from harness.datasets.attributes import check_attributes, groups_of
from harness.evaluation.run import run_serially
from harness.leaderboard import breakdown
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import breakdown as rendering
from harness.leaderboard.render.blocks import Screen
from harness.metrics.diagnosis.temperature import best_temperature, scaled
from harness.metrics.diagnosis.tuned import best_threshold
from harness.store.store import Store
from tests.cli.test_cli import invoke
from tests.helpers.toys import Quiet

METRICS = ("diagnosis", "diagnosis_tuned", "auroc", "operating_points", "risk_coverage", "ece", "nll")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("diagnosis")
    settings = RunSettings.of(
        methods=("early_fusion",),
        dataset="example",
        metrics=METRICS,
        temperature=True,
        by=("sex", "age"),
        store=folder / "store",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(example, "_STUDIES", 60)
        _, succeeded = run_serially(settings, Quiet())
    assert succeeded
    return Store(folder / "store")


def answers(store: Store, name: str) -> np.ndarray:
    (path,) = store.root.rglob(f"predictions/{name}.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return np.array([row["probabilities"] for row in sorted(rows, key=lambda row: row["id"])])


def of_method(store: Store, method: str) -> dict[str, float]:
    rows = [row for row in store.results() if row.method == method and row.rate == 0]
    return {row.metric: row.value for row in rows if row.value is not None}


def labels_of(split: str) -> np.ndarray:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(example, "_STUDIES", 60)
        studies = example.ExampleData().studies(split)
    return np.array([study.labels for study in sorted(studies, key=lambda study: study.id)])


def test_thresholds_and_the_temperature_are_those_of_validation(store: Store) -> None:
    said, labels = answers(store, "validation-full").astype(float), labels_of("val")
    manifests = {result.rows[0].method: result.manifest for result in store.stored()}
    expected = [best_threshold(said[:, k], labels[:, k]) for k in range(2)]
    for method in ("early_fusion", "early_fusion+shuffled-image"):
        assert list(manifests[method].thresholds.values()) == pytest.approx(expected)
        assert manifests[method].temperature is None
    temperature = best_temperature(said, labels, True)
    row = manifests["early_fusion+temperature"]
    assert row.temperature == pytest.approx(temperature)
    rescaled = scaled(said, temperature, True)
    expected = [best_threshold(rescaled[:, k], labels[:, k]) for k in range(2)]
    assert list(row.thresholds.values()) == pytest.approx(expected)


def test_a_temperature_changes_calibration_and_no_decision(store: Store) -> None:
    plain, rescaled = of_method(store, "early_fusion"), of_method(store, "early_fusion+temperature")
    for metric in ("subset_accuracy", "f1_micro", "f1_macro_common", "auroc_macro_common", "f1_macro_tuned"):
        assert rescaled[metric] == pytest.approx(plain[metric])
    assert rescaled["nll"] != plain["nll"]
    said = scaled(
        answers(store, "full").astype(float),
        best_temperature(answers(store, "validation-full").astype(float), labels_of("val"), True),
        True,
    )
    labels = labels_of("test")
    expected = -np.log(np.where(labels == 1, said, 1 - said)).mean()
    assert rescaled["nll"] == pytest.approx(expected)


def test_every_label_stands_alone(store: Store) -> None:
    results = list(Leaderboard.of(store).results.values())
    table = next(t for t in breakdown.per_label(results) if "early_fusion by label" in t.title)
    assert [label for label, _ in table.rows] == ["Cardiomegaly", "Pleural Effusion"]
    assert [cells[0] for _, cells in table.rows] == labels_of("test").sum(0).tolist()
    f1 = [cells[table.header.index("f1") - 1][0] for _, cells in table.rows]  # type: ignore[index]
    assert np.mean(f1) == pytest.approx(of_method(store, "early_fusion")["f1_macro"])
    text = rendering.markdown([table])
    assert "| Cardiomegaly |" in text
    assert "Thresholds of f1_macro_tuned" in text
    assert rendering.terminal([table], Screen(80))


def test_risk_is_kept_for_each_state(store: Store) -> None:
    results = list(Leaderboard.of(store).results.values())
    (table,) = breakdown.risk_coverage(results)
    labels = [label for label, _ in table.rows]
    assert "early_fusion" in labels
    assert "early_fusion without frontal" in labels
    last = dict(table.rows)["early_fusion"][-1]
    said = answers(store, "full") >= 0.5
    assert last == pytest.approx((said != (labels_of("test") == 1)).mean())


def test_groups_of_studies_share_rows_and_resamples(store: Store) -> None:
    results = list(Leaderboard.of(store).results.values())
    tables = breakdown.by_attribute(results, "sex")
    table = next(t for t in tables if "f1_micro" in t.title)
    assert table.header[0] == "method"
    assert table.header[-1] == "gap"
    (cells,) = [cells for label, cells in table.rows if label == "early_fusion"]
    *groups, gap = [cell for cell in cells if cell is not None]
    values = [group[0] for group in groups]  # type: ignore[index]
    assert gap[0] == pytest.approx(max(values) - min(values))  # type: ignore[index]
    assert 0 <= gap[1] <= gap[0] <= gap[2]  # type: ignore[index]


def test_a_small_group_is_named_and_has_no_numbers(store: Store) -> None:
    results = list(Leaderboard.of(store).results.values())
    table = breakdown.by_attribute(results, "age")[0]
    assert any("fewer than 10 patients" in note for note in table.notes)


def test_an_attribute_that_no_study_has_is_an_error_with_the_nearest(tmp_path: Path) -> None:
    settings = RunSettings.of(
        methods=("template",), dataset="example", by=("sexe",), store=tmp_path / "store"
    )
    with pytest.raises(UnknownNameError, match="--by sexe"):
        run_serially(settings, Quiet())


def test_groups_are_categories_ages_thirds_and_unknown() -> None:
    def study(number: int, **attributes: object) -> Study:
        return Study(str(number), str(number), "test", {}, attributes=attributes)  # type: ignore[arg-type]

    sexes = [study(0, sex="M"), study(1, sex="F"), study(2), study(3, sex="F")]
    groups = groups_of("sex", sexes)
    assert {name: members.tolist() for name, members in groups.items()} == {
        "F": [False, True, False, True],
        "M": [True, False, False, False],
        "unknown": [False, False, True, False],
    }
    ages = [study(number, age=age) for number, age in enumerate([3, 18, 39.5, 64, 65, None])]
    assert list(groups_of("age", ages)) == ["under 18", "18-39", "40-64", "65 and older", "unknown"]
    some = [replace(sexes[0], context="cough"), sexes[1], replace(sexes[2], context="")]
    assert {name: members.tolist() for name, members in groups_of("context", some).items()} == {
        "with": [True, False, True],
        "without": [False, True, False],
    }
    check_attributes(["context", "sex"], some)
    with pytest.raises(UnknownNameError, match="--by context"):
        check_attributes(["context"], sexes)
    numbers = [study(number, dose=number) for number in range(9)]
    assert [int(members.sum()) for members in groups_of("dose", numbers).values()] == [3, 3, 3]


def test_a_table_of_probabilities_becomes_a_row_with_the_methods_numbers(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own answers as files, in the full state and without a view: the same values in every column."""
    monkeypatch.setattr(example, "_STUDIES", 60)
    copy = Path(shutil.copytree(store.root, tmp_path / "store"))
    names = example.ExampleData().info.label_names
    files = []
    for path in store.root.rglob("predictions/*.jsonl"):
        if "+" in str(path) or path.stem.startswith("validation") or "shuffled" in str(path):
            continue
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        lines = [
            ",".join(["id", *names]),
            *(",".join([r["id"], *map(str, r["probabilities"])]) for r in rows),
        ]
        out = tmp_path / f"{path.stem}.csv"
        out.write_text("\n".join(lines))
        files += ["--missing", f"{path.stem}={out}"]
    assert len(files) >= 4, "the full state and one more"
    words = ["score", "--task", "diagnose", *files, "--store", str(copy), "--as", "mine"]
    code, output, error = invoke(capsys, *words)
    assert code == 0, error
    assert "auroc_macro" in output
    numbers = {
        name: {
            (row.drop, row.metric, row.rate): (row.value, row.signature)
            for row in Store(copy).results()
            if row.method == name
        }
        for name in ("early_fusion", "mine (from files)")
    }
    mine = numbers["mine (from files)"]
    assert {metric for _, metric, rate in mine if rate} >= {"auroc_macro", "ece"}
    for place, (value, signature) in mine.items():
        expected, expected_signature = numbers["early_fusion"][place]
        assert signature == expected_signature
        assert value == pytest.approx(expected, abs=1e-12), place
    board = Leaderboard.of(Store(copy))
    methods = {row.method for table in board.tables if "diagnosis" in table.group for row in table.rows}
    assert {"early_fusion", "mine (from files)"} <= methods
    files[1] = files[1].replace("=", "=no-such-")
    assert invoke(capsys, "score", "--task", "diagnose", *files, "--store", str(copy), "--as", "mine")[0] == 2
