"""What is typed in the first hour: a version, a check of the machine, a typo."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import __version__
from harness.cli import doctor
from harness.cli.doctor import Requirement
from harness.core import registry
from harness.core.config import RunConfig
from harness.core.errors import UnavailableError
from harness.core.signals import Stopped
from harness.core.types import DatasetInfo, Task
from harness.evaluation import run as executors
from harness.evaluation import score_files
from harness.evaluation.chosen_metrics import choose_metrics
from harness.evaluation.run import run_serially
from harness.leaderboard.render.text import between
from tests.cli.test_cli import invoke, toy_run
from tests.evaluation.test_evaluate import toy_config
from tests.helpers.toys import Quiet

REASON = "needs weights: fetch them"
FINDINGS = [
    Requirement("torch", "ok", "2.14.0"),
    Requirement(
        "images_completed_lateral", "optional", f"weights of {'/a/long/path' * 12} are absent: fetch " * 2
    ),
    Requirement("java", "optional", "not found"),
]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(capsys, "--version")[:2] == (0, f"harness {__version__}\n")


def test_doctor_sums_up_in_its_first_line_and_fits_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: FINDINGS)
    code, out, _ = invoke(capsys, "doctor")
    assert code == 0
    assert out.splitlines()[0] == "ready: harness run works here; 2 optional parts are absent"
    assert max(map(len, out.splitlines())) <= 80
    absent = [*FINDINGS, Requirement("timm", "missing", "pip install timm")]
    monkeypatch.setattr(doctor, "examine", lambda: absent)
    code, out, _ = invoke(capsys, "doctor")
    assert code == 1
    assert out.startswith("NOT READY, missing: timm;")
    code, out, _ = invoke(capsys, "doctor", "--format", "json")
    assert [row["check"] for row in json.loads(out)["rows"]][-1] == "timm"


def test_doctor_names_versions_of_the_main_packages() -> None:
    details = {
        each.name: each.detail
        for each in (doctor._program(), *map(doctor._package, (*doctor.BASE, *doctor.RUN)))
    }
    assert details["harness"].startswith(f"{__version__}, Python 3.")
    assert {"torch", "transformers", "numpy"} <= set(details)
    assert all(any(c.isdigit() for c in detail) for detail in details.values())


@pytest.mark.parametrize("missing", [(), ("--missing", "0.5")])
def test_a_mistyped_policy_is_refused_with_and_without_a_missing_rate(
    toy_world: Path, capsys: pytest.CaptureFixture[str], missing: tuple[str, ...]
) -> None:
    code, _, err = toy_run(capsys, toy_world, "--drop", "laterl", *missing)
    assert code == 2
    assert "--drop laterl: no such policy" in err
    assert "did you mean lateral" in err
    assert not list((toy_world / "store").rglob("results/**/*.json"))


def chosen(language: str, region: str, *names: str) -> set[str]:
    info = DatasetInfo(
        "toy", frozenset({Task.REPORT}), ("frontal",), False, 32, language=language, region=region
    )
    return {metric.name for metric in choose_metrics(RunConfig(metrics=names or None), info)}


def test_metrics_of_english_chest_reports_are_the_default_of_those_only() -> None:
    english, chest = {"meteor"}, {"chexpert_rules_f1"}
    assert english | chest <= chosen("en", "chest")
    assert not (english | chest) & chosen("de", "chest")
    assert not chest & chosen("en", "retina")
    assert english <= chosen("en", "retina")
    assert "bleu" in chosen("de", "")
    assert chosen("de", "", "meteor", "chexpert_rules_f1") == english | chest


def test_few_studies_have_no_interval_of_no_width(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert between((0.5, 0.5), 10) == "[n = 10, too few studies]"
    assert between((0.5, 0.6), 10) == "[0.500, 0.600]"
    assert between((0.5, 0.5), 590) == "[0.500, 0.500]"
    file = tmp_path / "reports.json"
    file.write_text(json.dumps({f"s{number}": f"clear lungs {number}" for number in range(10)}))
    call = ("score", "--references", str(file), "--predictions", str(file), "--metrics", "bleu_1")
    _, out, _ = invoke(capsys, *call)
    assert "n = 10, too few studies" in out
    assert "[1.0000, 1.0000]" not in out


@pytest.mark.parametrize("width", [80, 120])
def test_lists_fit_the_screen_and_cut_no_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for what in ("methods", "metrics"):
        code, out, _ = invoke(capsys, "list", what)
        assert code == 0
        lines = out.splitlines()
        assert max(map(len, lines)) <= width
        assert set(registry.names(what)) <= set(lines)
    words = set(out.replace(",", " ").replace("(", " ").split())
    for metric in map(registry.make_metric, registry.names("metrics")):
        assert {output.name for output in metric.outputs} <= words
        assert metric.signature in out.replace("\n" + " " * 13, "")
    names = invoke(capsys, "list", "methods")[1].replace(",", " ").split()
    for method in registry.METHODS:
        assert set(registry.card(method).variants) <= set(names)


def test_methods_are_listed_without_importing_their_networks() -> None:
    code = (
        "import sys; from harness.cli.list import listing; rows = listing('methods'); "
        "print(len(rows), any('error' in row for row in rows), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(registry.METHODS)), "False", "False"]
    for name, target in registry.METHODS.items():
        assert target in registry.CARDS
        assert registry.card(name) is registry.load("methods", name).card


def test_a_signal_says_what_is_kept_where_something_is(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*arguments: object, **more: object) -> None:
        raise Stopped(signal.SIGINT)

    monkeypatch.setattr(score_files, "score", stopped)
    monkeypatch.setattr(executors, "run", stopped)
    files = ("--references", "truth.csv", "--predictions", "mine.csv")
    assert invoke(capsys, "score", *files) == (130, "", "stopped by SIGINT\n")
    code, _, err = toy_run(capsys, toy_world)
    assert code == 130
    assert "stopped by SIGINT: what is finished is kept, training up to" in err


def test_a_metric_that_cannot_run_does_not_end_the_command(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    meteor = registry.load("metrics", "meteor")
    monkeypatch.setattr(meteor, "unavailable", lambda self: REASON)
    code, out, err = toy_run(capsys, toy_world, "--metrics", "bleu,meteor")
    assert code == 0, err
    assert "bleu" in out
    assert f"meteor: not computed: {REASON}" in " ".join(err.split())
    with pytest.raises(UnavailableError, match="metric meteor: needs weights"):
        run_serially(toy_config(toy_world, metrics=("meteor",)), Quiet())
    file = toy_world / "reports.json"
    file.write_text(json.dumps({f"s{number}": f"clear lungs {number}" for number in range(12)}))
    files = ["--references", str(file), "--predictions", str(file)]
    code, out, err = invoke(capsys, "score", *files, "--metrics", "bleu_1,meteor")
    assert code == 0
    assert "bleu_1" in out
    assert f"meteor: not computed: {REASON}" in err
    code, _, err = invoke(capsys, "score", *files, "--metrics", "meteor")
    assert code == 2
    assert err.count("\n") == 1
