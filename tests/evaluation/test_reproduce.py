"""A row from its manifest: the same numbers, or a list of what is not the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.core.config import ExecutionConfig, RunSettings
from harness.core.errors import HarnessError
from harness.core.files import read_checked_json, write_checked_json
from harness.evaluation import reproduce
from harness.evaluation.run import run_serially
from harness.store.results import StoredResult
from harness.store.store import Store
from tests.cli.test_cli import invoke
from tests.helpers.toys import FAST_METRICS, Quiet


@pytest.fixture
def store(toy_world: Path) -> Store:
    """A store with a trained method, its control and an untrained one."""
    settings = RunSettings.of(
        methods=("echo", "learner:slow"),
        dataset="toy",
        missing=(0.4, 0.8),
        drop="any",
        mask_seeds=3,
        metrics=FAST_METRICS,
        store=toy_world / "store",
        set={"learner": {"training.epochs": 2}, "echo": {"fail": ""}},
    )
    run_serially(settings, Quiet())
    return Store(settings.config.store)


def test_every_row_comes_out_to_the_digit(store: Store, tmp_path: Path) -> None:
    keys = [each.key for each in store.stored()]
    assert len(keys) == 3
    for number, key in enumerate(keys):
        stored, into = reproduce.find(store, key), tmp_path / f"fresh{number}"
        again = reproduce.reproduce(stored, into, Quiet(), tolerance=0.0)
        assert again.equal, again.differences
        assert again.changed == ()
        assert again.compared == 3 * 6


def test_a_manifest_tells_what_was_computed_from_where(store: Store, tmp_path: Path) -> None:
    stored = reproduce.find(store, "echo[fail=]")
    assert set(stored.manifest.execution) == {"device", "executor", "workers"}
    assert not set(stored.manifest.config) & set(ExecutionConfig.model_fields)
    content = read_checked_json(stored.path)
    content["manifest"]["config"] |= content["manifest"].pop("execution")  # as earlier manifests had it
    write_checked_json(stored.path, content)
    assert reproduce.reproduce(
        reproduce.find(store, stored.key), tmp_path / "new", Quiet(), tolerance=0.0
    ).equal


def changed(store: Store, difference: float) -> StoredResult:
    """The stored row of the untrained method, one of its values moved, made with another NumPy."""
    stored = reproduce.find(store, "echo[fail=]")
    content = read_checked_json(stored.path)
    number = next(row for row in content["rows"] if row["metric"] == "cider" and row["rate"] == 0.4)
    number["value"] += difference
    content["manifest"]["environment"]["packages"]["numpy"] = "1.0"
    write_checked_json(stored.path, content)
    return reproduce.find(store, stored.key)


def test_a_number_that_differs_is_named_with_what_may_explain_it(store: Store, tmp_path: Path) -> None:
    again = reproduce.reproduce(changed(store, 1e-6), tmp_path / "fresh", Quiet())
    assert not again.equal
    assert [(each.metric, each.rate, each.field) for each in again.differences] == [("cider", 0.4, "value")]
    assert any(each.startswith("environment.packages.numpy: 1.0 -> ") for each in again.changed)
    text = reproduce.render(again)
    assert "17 of 18 numbers are equal" in text
    assert "cider at rate 0.4: value" in text


def test_the_last_digits_may_differ_unless_exact_is_asked(store: Store, tmp_path: Path) -> None:
    stored = changed(store, 1e-12)
    again = reproduce.reproduce(stored, tmp_path / "fresh", Quiet())
    assert again.equal
    assert again.largest == pytest.approx(1e-12, rel=1e-3)
    assert reproduce.render(again) == f"{stored.key}: equal, largest difference 1e-12 (18 numbers)\n"
    assert not reproduce.reproduce(stored, tmp_path / "strict", Quiet(), tolerance=0.0).equal


@pytest.mark.parametrize(("field", "value"), [("n", 21), ("signature", "cider|v:0"), ("ci95", [0.0, 1.0])])
def test_count_signature_and_interval_are_compared_too(
    store: Store, tmp_path: Path, field: str, value: Any
) -> None:
    stored = reproduce.find(store, "echo[fail=]")
    content = read_checked_json(stored.path)
    content["rows"][0][field] = value
    write_checked_json(stored.path, content)
    again = reproduce.reproduce(reproduce.find(store, stored.key), tmp_path / "fresh", Quiet())
    assert [each.field for each in again.differences] == [field]


@pytest.mark.parametrize(
    ("row", "says"),
    [("ecko", "no such row"), ("toy/echo@fail/nothing", "no such row"), ("twice", "2 rows")],
)
def test_rows_that_are_not_there_or_not_one(store: Store, row: str, says: str) -> None:
    for key in ("a", "b"):
        content = read_checked_json(store.stored()[0].path)
        for each in content["rows"]:
            each |= {"method": "twice", "key": f"toy/twice/{key}"}
        write_checked_json(store.root / f"results/toy/twice/{key}.json", content)
    with pytest.raises(HarnessError, match=says):
        reproduce.find(store, row)


def test_a_message_names_few_of_many_rows(store: Store) -> None:
    content = read_checked_json(store.stored()[0].path)
    for number in range(30):
        for each in content["rows"]:
            each |= {"method": "often", "key": f"toy/often/{number}"}
        write_checked_json(store.root / f"results/toy/often/{number}.json", content)
    with pytest.raises(HarnessError, match="30 rows") as several:
        reproduce.find(store, "often")
    assert several.value.hint.endswith("and 22 more")
    with pytest.raises(HarnessError, match="no such row") as none:
        reproduce.find(store, "zzzzzz")
    assert none.value.hint.count("often") == 1


def test_a_row_goes_by_the_names_that_tables_print(store: Store) -> None:
    stored = reproduce.find(store, "learner:slow[training.epochs=2]")
    content = read_checked_json(stored.path)
    run = stored.key.rpartition("/")[2]
    key = f"csv@my/learner@slow/{run}"
    for each in content["rows"]:
        each |= {"dataset": "csv:my", "key": key}
    write_checked_json(store.root / f"results/{key}.json", content)
    stored.path.unlink()
    label = "csv:my/learner:slow[training.epochs=2]"
    for name in (key, f"{key}.json", f"{label}/{run}", label, label.partition("/")[2]):
        assert reproduce.find(store, name).key == key


def test_manifests_that_cannot_be_followed_are_named(store: Store, tmp_path: Path) -> None:
    stored = reproduce.find(store, "echo[fail=]")
    content = read_checked_json(stored.path)
    for change, says in (
        ({"config": {**content["manifest"]["config"], "flux": 1}}, "another version"),
        ({"config": {}}, "its manifest lacks"),
    ):
        write_checked_json(stored.path, content | {"manifest": content["manifest"] | change})
        with pytest.raises(HarnessError, match=says):
            reproduce.reproduce(reproduce.find(store, stored.key), tmp_path / "fresh", Quiet())


def test_a_row_without_numbers_and_a_used_folder_are_refused(store: Store) -> None:
    stored = reproduce.find(store, "echo[fail=]")
    with pytest.raises(HarnessError, match="a store is there already"):
        reproduce.reproduce(stored, store.root, Quiet())
    content = read_checked_json(stored.path)
    for row in content["rows"]:
        row |= {"value": None, "ci95": None, "status": "failed"}
    write_checked_json(stored.path, content)
    with pytest.raises(HarnessError, match="no numbers"):
        reproduce.reproduce(reproduce.find(store, stored.key), store.root, Quiet())


def test_command_line_says_in_one_line_that_a_row_is_equal(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = invoke(capsys, "reproduce", "echo[fail=]", "--store", str(store.root))
    assert code == 0
    assert re.fullmatch(r"\S+: equal, largest difference 0 \(18 numbers\)\n", out)
    stored = changed(store, 1e-12)
    assert invoke(capsys, "reproduce", stored.key, "--store", str(store.root))[0] == 0
    assert invoke(capsys, "reproduce", stored.key, "--store", str(store.root), "--exact")[0] == 1
    content = read_checked_json(stored.path)
    content["rows"][0]["value"] = 0.123
    write_checked_json(stored.path, content)
    into = tmp_path / "kept"
    arguments = ["reproduce", stored.key, "--store", str(store.root), "--into", str(into), "--format", "json"]
    code, out, _ = invoke(capsys, *arguments)
    assert code == 1
    answer = json.loads(out)
    assert answer["equal"] is False
    assert answer["differences"][0]["stored"] == 0.123
    assert (into / "store.json").exists()
    assert invoke(capsys, "reproduce", "x", "--store", str(tmp_path / "absent"))[0] == 2
