"""What is typed in the first hour: a version, a check of the machine, a typo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import __version__
from harness.cli import doctor
from harness.cli.doctor import Requirement
from harness.core import registry
from harness.core.errors import UnavailableError
from harness.evaluation.run import run_serially
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
    details = {each.name: each.detail for each in (doctor._program(), *map(doctor._package, doctor.REQUIRED))}
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
