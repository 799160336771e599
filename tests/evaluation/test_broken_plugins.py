"""One broken plugin fails alone, is named, and its error's own text never leaves the private log."""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from harness.core import registry
from harness.core.errors import HarnessError, PluginError
from harness.core.failures import describe
from harness.evaluation import entries
from harness.evaluation.benchmark import open_benchmark
from harness.evaluation.evaluate import evaluate
from harness.evaluation.run import run, run_serially
from harness.evaluation.trial import Trial
from harness.leaderboard.leaderboard import Leaderboard
from harness.method.fingerprint import code_fingerprint
from harness.metrics.base import checked_statistics
from harness.metrics.text.bleu import Bleu
from harness.store.cell import Cell
from harness.store.store import Store
from tests.cli.test_cli import invoke
from tests.evaluation.test_evaluate import toy_config
from tests.helpers import faulty
from tests.helpers.toys import Echo, Quiet

FAULTS = {
    "raises": ("raised", "ValueError at tests.helpers.faulty:"),
    "exits": ("exited", "SystemExit at tests.helpers.faulty:"),
    "flat": (
        "flattened",
        "metric flat: statistics are float64 (40,), expected a float array (n, k) with n = 40",
    ),
    "undefined": ("not_a_number", "metric undefined: statistics of 40 of 40 studies are NaN or infinite"),
    "forgets": ("forgotten", "metric forgets: forgotten was not returned"),
    "interrupts": ("interrupted", "KeyboardInterrupt at tests.helpers.faulty:"),
    "leaves": ("left", "SystemExit at tests.helpers.faulty:"),
    "endless": ("quotient", "metric endless: quotient is infinite"),
    "beyond": ("share", "metric beyond: share is outside its bounds, 0 to 1"),
    "replaces": ("replaced", "metric replaces replaced numpy.quantile, which numbers of others depend on"),
    "remarks": ("remarked", "metric remarks: its remarks are no lines by the names of its outputs"),
    "imaginary": ("root", "metric imaginary: root has complex128 values, expected real numbers"),
}
BAD_MODULE = "tests.helpers.not_importable:Anything"


@pytest.fixture
def faulty_world(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toys, and beside them metrics with one fault each."""
    for name in ("lengths", "reuses", "prints", "disturbs", *FAULTS):
        monkeypatch.setitem(registry.METRICS, name, f"tests.helpers.faulty:{name.capitalize()}")
    registry._table.cache_clear()
    return toy_world


@pytest.fixture
def broken_world(faulty_world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """And plugins that cannot be loaded at all."""
    for table in (registry.METHODS, registry.DATASETS, registry.METRICS):
        monkeypatch.setitem(table, "bad", BAD_MODULE)
    monkeypatch.setitem(registry.METHODS, "cardless", "tests.helpers.faulty:NoCard")
    monkeypatch.setitem(registry.METHODS, "absent", "tests.helpers.faulty:Nowhere")
    monkeypatch.setitem(registry.DATASETS, "plain", "tests.helpers.faulty:Plain")
    monkeypatch.setitem(registry.METRICS, "unfinished", "tests.helpers.faulty:Unfinished")
    registry._table.cache_clear()
    return faulty_world


@pytest.fixture
def as_in_a_command() -> Iterator[None]:
    """Signals are handled, so that Ctrl-C raises no ``KeyboardInterrupt``."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("as_in_a_command")
@pytest.mark.parametrize("name", FAULTS)
def test_a_failing_metric_fails_alone(faulty_world: Path, name: str) -> None:
    settings = toy_config(faulty_world, metrics=("bleu", name, "lengths"))
    reporter = Quiet()
    rows, succeeded = run_serially(settings, reporter)
    output, reason = FAULTS[name]
    assert not succeeded
    assert {row.status for row in rows if row.metric != output} == {"ok"}
    (failed,) = [row for row in rows if row.metric == output]
    assert failed.status == "failed"
    assert failed.detail.startswith(reason)
    assert name in reporter.failures["echo"]
    assert reason in reporter.failures["echo"]
    stored = {(row.metric, row.status) for row in Store(settings.config.store).results()}
    assert {(output, "failed"), ("words", "ok"), ("bleu_1", "ok")} <= stored


def test_what_a_metric_prints_is_kept_for_the_user_alone(
    faulty_world: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = toy_config(faulty_world, metrics=("prints",))
    rows, succeeded = run_serially(settings, Quiet())
    assert succeeded
    assert {row.status for row in rows} == {"ok"}
    assert "SECRET" not in "".join(capfd.readouterr())
    (kept,) = settings.config.store.rglob("output.txt")
    assert kept.read_text().count("SECRET") >= 4
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_metric_that_changes_what_it_gets_changes_no_other_number(faulty_world: Path) -> None:
    def numbers(folder: str, *metrics: str) -> dict[tuple[str, float], float | None]:
        settings = toy_config(faulty_world / folder, ("learner",), metrics=metrics)
        rows, _ = run_serially(settings, Quiet())
        return {(row.metric, row.rate): row.value for row in rows if row.metric.startswith("bleu")}

    folder, quantile = Path.cwd(), np.quantile
    assert numbers("a", "disturbs", "replaces", "bleu") == numbers("b", "bleu")
    assert (Path.cwd(), np.quantile) == (folder, quantile)


def test_a_metric_may_fill_the_same_arrays_again(faulty_world: Path) -> None:
    rows, succeeded = run_serially(
        toy_config(faulty_world, ("learner",), metrics=("lengths", "reuses")), Quiet()
    )
    assert succeeded
    numbers = {
        metric: [(row.drop, row.rate, row.value, row.ci95) for row in rows if row.metric == metric]
        for metric in ("words", "words_again")
    }
    assert numbers["words"] == numbers["words_again"]
    assert len(numbers["words"]) > 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("namesake", "it is registered as namesake, and its name is 'bleu'"),
        ("usurper", "its output rouge_l is one of metric rouge_l"),
        ("impostor", "its signature begins with 'bleu', not with its name"),
        ("doubled", "two of its outputs have one name"),
    ],
)
def test_a_metric_under_the_name_of_another_is_refused(
    faulty_world: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.setitem(registry.METRICS, name, f"tests.helpers.faulty:{name.capitalize()}")
    registry._table.cache_clear()
    with pytest.raises(PluginError, match=re.escape(f"metric {name} cannot be loaded: {reason}")):
        registry.make_metric(name)


def test_a_name_that_two_packages_register_is_refused_where_it_is_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    point = EntryPoint("bleu", "another:Bleu", "harness.metrics")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "harness.metrics" else [])
    registry._table.cache_clear()
    code, out, _ = invoke(capsys, "list", "metrics", "--format", "json")
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    monkeypatch.undo()
    registry._table.cache_clear()
    assert code == 1
    assert rows["bleu"]["error"].startswith("cannot be loaded: two packages register metric 'bleu'")
    assert "error" not in rows["rouge_l"]


def test_the_text_of_an_error_stays_in_the_private_log(
    faulty_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = faulty_world / "store"
    arguments = ["--dataset", "toy", "--methods", "echo", "--store", str(store), "--missing", "0.5"]
    code, out, err = invoke(capsys, "run", *arguments, "--metrics", "raises,lengths")
    assert code == 1
    assert "raises" in err
    assert "tests.helpers.faulty:" in err
    assert "SECRET" not in out + err
    with_secret = [path for path in store.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
    (log,) = with_secret
    assert log.name == "error-raises.txt"
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_failing_method_keeps_its_text_to_itself_too(toy_world: Path) -> None:
    reporter = Quiet()
    rows, _ = run_serially(toy_config(toy_world, set={"echo": {"fail": "fit"}}), reporter)
    assert {row.detail.partition(":")[0] for row in rows} == {"ValueError at tests.helpers.toys"}
    assert "no luck" not in reporter.failures["echo[fail=fit]"]
    (log,) = (toy_world / "store").rglob("error.txt")
    assert "no luck" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_method_that_ends_the_program_fails_alone(toy_world: Path) -> None:
    reporter = Quiet()
    settings = toy_config(toy_world, ("echo", "learner"), metrics=("bleu",), set={"echo": {"fail": "exit"}})
    rows, succeeded = run_serially(settings, reporter)
    assert not succeeded
    assert {(row.method, row.status) for row in rows} >= {("echo[fail=exit]", "failed"), ("learner", "ok")}
    assert reporter.failures["echo[fail=exit]"].startswith("SystemExit at tests.helpers.toys")


def test_methods_and_metrics_that_cannot_be_loaded_are_named_and_the_rest_runs(
    broken_world: Path,
) -> None:
    methods = ("echo", "bad", "cardless", "absent")
    reporter = Quiet()
    rows, succeeded = run(toy_config(broken_world, methods, metrics=("bleu", "bad", "unfinished")), reporter)
    assert not succeeded
    assert {row.method for row in rows} == {"echo"}
    assert {row.status for row in rows} == {"ok"}
    assert set(reporter.failures) == {"bad", "cardless", "absent", "unfinished"}
    assert "SECRET" not in "".join(reporter.failures.values())
    with pytest.raises(
        PluginError, match=r"method bad cannot be loaded: ValueError at tests.*not_importable:3"
    ):
        run(toy_config(broken_world, ("bad",)), Quiet())
    with pytest.raises(PluginError, match=r"metric bad cannot be loaded: ValueError"):
        run(toy_config(broken_world, metrics=("bad",)), Quiet())
    with pytest.raises(PluginError, match=r"dataset bad cannot be loaded: ValueError"):
        run(toy_config(broken_world).replaced(dataset="bad"), Quiet())


def test_a_plugin_is_asked_as_it_was_saved(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a killed run would end with other numbers than an undisturbed one."""
    monkeypatch.setitem(registry.METHODS, "forgetful", "tests.helpers.faulty:Forgetful")
    registry._table.cache_clear()
    settings = toy_config(toy_world, ("forgetful",), metrics=("bleu",))
    assert run_serially(settings, Quiet())[1]
    reports = [
        path.read_text() for path in settings.config.store.rglob("predictions/*.jsonl") if path.is_file()
    ]
    assert reports
    assert all("nothing" in text and "effusion" not in text for text in reports)


def test_a_plugin_changes_no_study_of_others(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.METHODS, "changing", "tests.helpers.faulty:Changing")
    registry._table.cache_clear()
    settings = toy_config(toy_world, ("changing",), metrics=("bleu",))
    benchmark = open_benchmark(settings)
    before = [(study.report, dict(study.attributes)) for study in benchmark.splits["train"]]
    evaluate(Trial(benchmark, benchmark.entries[0], 0, Quiet()))
    assert [(study.report, dict(study.attributes)) for study in benchmark.splits["train"]] == before


def test_a_link_in_a_checkpoint_fails_its_method(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.METHODS, "links", "tests.helpers.faulty:LinksOut")
    registry._table.cache_clear()
    reporter = Quiet()
    assert not run_serially(toy_config(toy_world, ("links",), metrics=("bleu",)), reporter)[1]
    assert "its checkpoint has a link or a folder in it" in reporter.failures["links"]


def test_a_method_that_speaks_of_a_full_disk_fails_alone(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.METHODS, "no-space", "tests.helpers.faulty:NoSpace")
    registry._table.cache_clear()
    reporter = Quiet()
    rows, _ = run_serially(toy_config(toy_world, ("no-space", "echo"), metrics=("bleu",)), reporter)
    assert reporter.failures["no-space"].startswith(
        "OSError (No space left on device) at tests.helpers.faulty:"
    )
    assert {row.status for row in rows if row.method == "echo"} == {"ok"}


def test_a_method_whose_source_cannot_be_read_fails_alone(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(method_class: type) -> str:
        if method_class.__name__ == "Learner":
            raise PermissionError("SECRET")
        return code_fingerprint(method_class)

    monkeypatch.setattr(entries, "code_fingerprint", unreadable)
    reporter = Quiet()
    rows, succeeded = run_serially(toy_config(toy_world, ("echo", "learner"), metrics=("bleu",)), reporter)
    assert not succeeded
    assert {row.method for row in rows} == {"echo"}
    broken: dict[str, str] = {}
    entries.entries(toy_config(toy_world, ("echo", "learner")).config, broken)
    assert broken["learner"].startswith(
        "method learner: its source cannot be read: PermissionError at tests."
    )


def test_processes_start_though_a_module_cannot_be_imported(
    broken_world: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reporter = Quiet()
    settings = toy_config(broken_world, ("echo", "learner", "bad"), metrics=("lengths",), workers=2)
    rows, succeeded = run(settings, reporter)
    assert not succeeded
    assert {row.status for row in rows} == {"ok"}
    assert set(reporter.failures) == {"bad"}
    assert "SECRET" not in "".join(capfd.readouterr())


def test_a_dataset_that_is_another_one_in_another_process_is_refused(
    broken_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.DATASETS, "toy", "tests.helpers.faulty:Elsewhere")
    registry._table.cache_clear()
    settings = toy_config(broken_world, ("echo", "learner"), metrics=("lengths",), workers=2)
    with pytest.raises(HarnessError, match="dataset toy: its studies are others in another process"):
        run(settings, Quiet())


@pytest.mark.parametrize("what", ["methods", "datasets", "profiles", "metrics"])
def test_list_goes_on_after_a_plugin_that_cannot_be_loaded(
    broken_world: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    code, out, err = invoke(capsys, "list", what, "--format", "json")
    assert code == 1
    rows = json.loads(out)["rows"]
    errors = {row["name"]: row["error"] for row in rows if "error" in row}
    assert errors["bad"].startswith("cannot be loaded: ValueError at tests.helpers.not_importable:3")
    assert len(rows) > len(errors)
    code, table, _ = invoke(capsys, "list", what)
    assert code == 1
    assert "cannot be loaded: ValueError" in " ".join(table.split())
    assert "SECRET" not in out + err + table


def test_list_shows_a_class_without_docstring(broken_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = invoke(capsys, "list", "datasets", "--format", "json")
    assert {"name": "plain", "about": "", "licence": None, "profiles": []} in json.loads(out)["rows"]


@pytest.mark.parametrize("command", ["score", "compare"])
def test_report_files_are_scored_though_metrics_fail(
    broken_world: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    file = broken_world / "reports.json"
    file.write_text(json.dumps({f"s{number}": f"clear lungs {number}" for number in range(12)}))
    other = broken_world / "other.json"
    other.write_text(json.dumps({f"s{number}": "clear lungs" for number in range(12)}))
    systems = ["--predictions", str(other)]
    if command == "compare":
        systems = ["--system", f"a={file}", "--system", f"b={other}"]
    names = "lengths,bad,raises,flat,undefined,forgets"
    arguments = ["--references", str(file), *systems, "--metrics", names, "--format", "json"]
    code, out, err = invoke(capsys, command, *arguments)
    assert code == 1
    assert "words" in out
    for name in ("bad", "raises", "flat", "undefined", "forgets"):
        assert f"metric {name}" in err
    assert "Traceback" not in err
    assert "SECRET" not in out + err


def test_an_audit_names_a_method_that_cannot_be_loaded(
    broken_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(broken_world / "store")
    arguments = ["--dataset", "toy", "--limit", "12", "--store", store, "--format", "json"]
    code, out, _ = invoke(capsys, "audit", "--methods", "template,bad", *arguments)
    assert code == 1
    rows = json.loads(out)["rows"]
    assert {row["method"] for row in rows} == {"template", "bad"}
    assert all("cannot be loaded" in row["detail"] for row in rows if row["method"] == "bad")
    assert "SECRET" not in out


def test_every_kind_of_wrong_statistics_is_described() -> None:
    class Whole(faulty.Lengths):
        def statistics(self, predictions: object, references: object) -> object:
            return [[1, 2]]

    with pytest.raises(PluginError, match=r"metric lengths: statistics are a list, expected a float array"):
        checked_statistics(Whole(), [], [])


def test_a_signature_with_blanks_fails_its_metric_alone() -> None:
    class Blank(Bleu):
        signature = "blank|fit:two words|v:1"  # type: ignore[assignment]

    with pytest.raises(PluginError, match="its signature is no list of key:value parts"):
        checked_statistics(Blank(), [], [])


NO_PLUGIN = "{kind} stranger cannot be loaded: tests.helpers.faulty:Stranger is no {contract}"


@pytest.fixture
def strange_world(broken_world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """And entry points that name something else, and datasets that fail when they are opened or read."""
    for table in (registry.METHODS, registry.DATASETS, registry.METRICS):
        monkeypatch.setitem(table, "stranger", "tests.helpers.faulty:Stranger")
    for name in ("unopened", "unread"):
        monkeypatch.setitem(registry.DATASETS, name, f"tests.helpers.faulty:{name.capitalize()}")
    monkeypatch.setitem(registry.METRICS, "uncertain", "tests.helpers.faulty:Uncertain")
    registry._table.cache_clear()
    return broken_world


def test_what_is_no_method_or_metric_is_refused_by_name_and_the_rest_runs(
    strange_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--dataset", "toy", "--store", str(strange_world / "store")]
    methods, metrics = "echo,stranger", "bleu,stranger"
    code, out, err = invoke(capsys, "run", *folder, "--methods", methods, "--metrics", metrics)
    text = " ".join(err.split())
    assert code == 1
    assert "echo" in out
    assert "stranger cannot be loaded: tests.helpers.faulty:Stranger is no Method" in text
    assert "Traceback" not in err
    with pytest.raises(PluginError, match=NO_PLUGIN.format(kind="metric", contract="Metric")):
        registry.make_metric("stranger")
    arguments = ["run", *folder[2:], "--dataset", "stranger", "--methods", "echo", "--metrics", "bleu"]
    code, _, err = invoke(capsys, *arguments)
    assert code == 1
    assert err.startswith("error: " + NO_PLUGIN.format(kind="dataset", contract="Dataset"))
    assert err.count("\n") == 1


@pytest.mark.parametrize("what", ["methods", "datasets", "metrics"])
def test_list_says_what_is_no_plugin(
    strange_world: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    code, out, _ = invoke(capsys, "list", what, "--format", "json")
    assert code == 1
    errors = {row["name"]: row["error"] for row in json.loads(out)["rows"] if "error" in row}
    contract = what.removesuffix("s").capitalize()
    assert f"tests.helpers.faulty:Stranger is no {contract}" in errors["stranger"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("unopened", r"dataset unopened cannot be opened: ValueError at tests.helpers.faulty:"),
        ("unread", r"dataset toy: studies of (train|test): KeyError at tests.helpers.faulty:"),
    ],
)
def test_a_dataset_whose_code_fails_is_one_line_and_a_traceback_on_request(
    strange_world: Path, capsys: pytest.CaptureFixture[str], name: str, line: str
) -> None:
    store = ["--store", str(strange_world / "store")]
    for command in (["run", "--metrics", "bleu"], ["audit"]):
        arguments = [*command, "--dataset", name, "--methods", "echo", *store]
        code, out, err = invoke(capsys, *arguments)
        assert code == 1
        assert re.match(f"error: {line}", err)
        assert err.count("\n") == 1
        assert "SECRET" not in out + err
        code, _, err = invoke(capsys, "--debug", *arguments)
        assert code == 1
        assert "Traceback" in err
        assert "SECRET" in err
        assert re.search(f"error: {line}", err)
    code, _, err = invoke(capsys, "data", "check", name)
    assert code == 1
    assert re.match(f"error: dataset ({name} cannot be examined|toy: studies of train): ", err)


def test_doctor_goes_on_after_any_broken_plugin(
    strange_world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for table, kept in ((registry.DATASETS, "toy"), (registry.METRICS, "bleu")):
        for name in [each for each in table if table[each].startswith("harness.") and each != kept]:
            monkeypatch.delitem(table, name)
    registry._table.cache_clear()
    code, out, _ = invoke(capsys, "doctor", "--format", "json")
    rows = {row["check"]: row for row in json.loads(out)["rows"]}
    assert rows["toy"]["state"] == "ok"
    assert rows["bleu"]["state"] == "ok"
    for name in ("stranger", "unopened", "unread", "uncertain", "bad"):
        assert rows[name]["state"] == "optional"
    assert "RuntimeError at tests.helpers.faulty:" in rows["uncertain"]["detail"]
    assert code == 0
    assert "SECRET" not in out


def test_a_method_that_fails_is_absent_from_tables_of_what_it_does_not_do(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.DATASETS, "labelled", "tests.evaluation.test_report_samples:LabelledData")
    registry._table.cache_clear()
    settings = toy_config(
        toy_world, ("echo", "template"), metrics=("bleu", "diagnosis"), set={"echo": {"fail": "fit"}}
    ).replaced(dataset="labelled")
    rows, succeeded = run_serially(settings, Quiet())
    assert not succeeded
    status = {row.metric: row.status for row in rows if row.method == "echo[fail=fit]"}
    assert (status["bleu_4"], status["f1_macro"]) == ("failed", "n/a")
    tables = Leaderboard.of(Store(settings.config.store)).tables
    assert {table.group: {row.method for row in table.rows} for table in tables} == {
        "report text": {"echo[fail=fit]", "template"},
        "diagnosis": {"template"},
    }


OF_40 = "it must return a list of 40 Predictions, one per study of the batch"
ITEM = "predict returned a Prediction (item 1 of 40)"
OF_LABELS = "it must return probabilities in [0, 1], one for each of the 14 labels of the dataset"
ODD = {
    "None": f"predict returned None; {OF_40}",
    "generator": f"predict returned a generator; {OF_40}",
    "int": f"predict returned an int; {OF_40}",
    "dict": f"predict returned a dict; {OF_40}",
    "short": f"predict returned a list of 39; {OF_40}",
    "texts": f"predict returned a list whose item 40 is a str; {OF_40}",
    "bytes": f"{ITEM} whose report is a bytes; it must return reports as",
    "silent": f"{ITEM} without report; it must return one: its card says",
    "surrogate": "whose report has half of a pair of surrogates at character 13; it must return reports as",
    "nan": f"{ITEM} whose probabilities hold 14 NaN; {OF_LABELS}",
    "masked": f"{ITEM} whose probabilities are masked: 14 of 14; {OF_LABELS}",
    "percent": f"{ITEM} whose probabilities reach from 50 to 50; {OF_LABELS}",
    "one": f"{ITEM} whose probabilities have the shape (1,); {OF_LABELS}",
    "words": f"whose probabilities are a list of 1, no row of real numbers; {OF_LABELS}",
    "complex": "whose probabilities are a ndarray, no row of real numbers, but of complex128; it must",
    "digits": f"whose probabilities are a list of 14, no row of real numbers; {OF_LABELS}",
    "floats": "whose images hold a ndarray of float64 (4, 4); it must return images as {view: uint8 array",
    "exit": "GeneratorExit at tests.helpers.odd:",
    "fit": "fit returned a str; it must train the method that it is called on, and return nothing",
}


@pytest.mark.parametrize("gives", [*ODD, "self"])
def test_what_a_method_returns_is_held_to_its_contract_in_one_sentence(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch, gives: str
) -> None:
    monkeypatch.setitem(registry.DATASETS, "labelled", "tests.evaluation.test_report_samples:LabelledData")
    monkeypatch.setitem(registry.METHODS, "odd", "tests.helpers.odd:Odd")
    registry._table.cache_clear()
    settings = toy_config(toy_world, ("odd",), metrics=("bleu", "brier"), set={"odd": {"gives": gives}})
    rows, succeeded = run_serially(settings.replaced(dataset="labelled"), Quiet())
    assert succeeded == (gives == "self")
    reasons = {row.detail for row in rows if row.status == "failed"}
    if gives in ODD:
        (reason,) = reasons
        assert ODD[gives] in reason
        assert "SECRET" not in reason


def test_a_card_that_lacks_fields_is_named_with_them(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.METHODS, "untold", "tests.helpers.untold:Untold")
    registry._table.cache_clear()
    lacking = "missing 2 required positional arguments: 'tasks' and 'reads'"
    with pytest.raises(
        PluginError, match=f"method untold cannot be loaded: TypeError: MethodCard.*{lacking} at"
    ):
        registry.load("methods", "untold")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tasks", ["report"], "the card's tasks is a list; it must be a frozenset of Tasks"),
        ("tasks", frozenset({"reports"}), "the card's tasks hold 'reports'"),
        ("reads", "frontal", "the card's reads is a str; it must be a frozenset of names of modalities"),
        ("title", None, "the card's title is a NoneType; it must be a text"),
    ],
)
def test_fields_of_a_card_of_another_type_are_named(field: str, value: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        replace(Echo.card, **{field: value})


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_method_prints_lies_in_a_file_of_its_cell(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], workers: str
) -> None:
    monkeypatch.setitem(registry.METHODS, "odd", "tests.helpers.odd:Odd")
    registry._table.cache_clear()
    store = toy_world / "store"
    arguments = [
        "--methods",
        "odd,echo",
        "--set",
        "odd.gives=loud",
        "--metrics",
        "bleu",
        "--workers",
        workers,
    ]
    places = ["--dataset", "toy", "--store", str(store), "--no-figures"]
    code, out, err = invoke(capfd, "run", *places, *arguments)
    assert code == 0
    assert "SECRET" not in out + err
    (log,) = store.rglob("output.txt")
    assert err.count(f"what it printed is in {log}") == 1
    ways = ["", ", written", ", by a child", *([", as an error"] if workers == "2" else [])]
    assert {f"SECRET report {what}{way}" for what in ("fit", "predict") for way in ways} == set(
        log.read_text().splitlines()
    )
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_text_that_was_parsed_is_not_shown_as_the_name_of_a_file() -> None:
    with pytest.raises(SyntaxError) as caught:
        compile("a SECRET report", "a SECRET report", "eval")
    assert "SECRET" not in describe(caught.value)
    assert describe(caught.value).startswith("SyntaxError at ")


def test_the_name_of_an_exception_is_shown_as_far_as_it_is_one() -> None:
    for name in ("SECRET report", "[/red]", "x" * 100_000):
        assert describe(type(name, (Exception,), {})()) == "an exception without a proper name"
    assert describe(OSError(errno.ENAMETOOLONG, "SECRET")) == "OSError (File name too long)"


def test_a_checkpoint_with_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    cell.checkpoint.mkdir()
    Path(os.fsdecode(bytes(cell.checkpoint) + b"/\xff\xfe")).touch()
    with pytest.raises(PluginError, match="its checkpoint has a file whose name is not UTF-8"):
        cell.mark_fitted({})


@pytest.mark.parametrize("name", ["done.json", "weights.bin.sha256.json", "weights.damaged"])
def test_a_checkpoint_with_a_name_of_the_harness_is_refused(name: str, tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    cell.checkpoint.mkdir()
    (cell.checkpoint / name).touch()
    with pytest.raises(PluginError, match="its checkpoint has a file of a reserved name"):
        cell.mark_fitted({})


def test_a_checkpoint_with_a_pickle_is_refused(tmp_path: Path) -> None:
    for number, content in enumerate((pickle.dumps([1]), pickle.dumps({"a": 2}, protocol=2))):
        cell = Cell(tmp_path / str(number))
        (cell.empty_checkpoint() / "model.bin").write_bytes(content)
        with pytest.raises(PluginError, match="its checkpoint has a pickle"):
            cell.mark_fitted({})
    cell = Cell(tmp_path / "torch")
    torch.save({"weight": torch.zeros(2)}, cell.empty_checkpoint() / "model.pt")
    with pytest.raises(PluginError, match="its checkpoint has a pickle"):
        cell.mark_fitted({})
    cell = Cell(tmp_path / "plain")
    np.savez(cell.empty_checkpoint() / "arrays.npz", a=np.zeros(3))
    (cell.checkpoint / "short").write_bytes(b"\x80\x02")
    save_file({f"layer{number}": torch.zeros(1) for number in range(8)}, cell.checkpoint / "a.safetensors")
    cell.mark_fitted({})
    assert cell.is_fitted()


def test_a_file_that_came_into_a_checkpoint_is_taken_out_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cell = Cell(tmp_path)
    (cell.empty_checkpoint() / "weights.bin").write_bytes(b"weights")
    cell.mark_fitted({})
    listed = {path.name for path in cell.checkpoint.iterdir()}
    (cell.checkpoint / "more.bin").write_bytes(b"of another method")
    (cell.checkpoint / "more").mkdir()
    assert cell.is_fitted()
    assert {path.name for path in cell.checkpoint.iterdir()} == listed
    assert (tmp_path / "more.bin.damaged").is_file()
    assert caplog.text.count("no file of this checkpoint") == 2
    assert not list(cell.empty_checkpoint().iterdir())
