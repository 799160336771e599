"""The wheel with the packages of the base alone: what works, and one line about what does not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from harness.core.packages import EXTRAS, absent, install
from tests.helpers.leaderboards import small_store
from tests.helpers.light import (
    FIVE_LINES,
    ROOT,
    build_wheel,
    declared_by,
    install_into,
    link_base,
    run_python,
)

COMMITTED = ROOT / "leaderboards" / "iu-phantom.json"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the base's packages and the harness as its wheel has it; no checkout is in the path."""
    folder = tmp_path_factory.mktemp("light")
    yield install_into(build_wheel(folder), link_base(folder / "site"))
    shutil.rmtree(folder)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    (tmp_path / "references.txt").write_text("the heart is normal\nno pleural effusion is seen\n")
    (tmp_path / "predictions.txt").write_text("heart is normal\nthere is a pleural effusion\n")
    return tmp_path


def harness(site: Path, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_python(["-m", "harness.cli", *arguments], site, folder)


SCORED = ("--references", "references.txt")


@pytest.mark.parametrize(
    "command",
    [
        ("score", *SCORED, "--predictions", "predictions.txt"),
        (
            "compare",
            *SCORED,
            "--system",
            "a=predictions.txt",
            "--system",
            "b=references.txt",
            "--trials",
            "50",
        ),
        ("leaderboard", "--results", COMMITTED),
        ("leaderboard", "--results", COMMITTED, "--format", "html", "--out", "tables"),
        ("papers", "all", "--results", COMMITTED, "--out", "papers"),
        ("list", "methods"),
        ("list", "datasets"),
        ("list", "metrics"),
        ("list", "profiles"),
        ("doctor",),
        ("data", "check", "example"),
        ("new", "method", "mine"),
    ],
    ids=lambda command: "-".join(str(word) for word in command[:2]),
)
def test_a_command_needs_the_base_alone(command: tuple[str | Path, ...], site: Path, reports: Path) -> None:
    completed = harness(site, reports, *command)
    assert completed.returncode == 0, completed.stderr[-2000:]
    assert completed.stdout
    assert "Traceback" not in completed.stderr
    assert "ModuleNotFoundError" not in completed.stdout + completed.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("run", "--methods", "template"), "run"),
        (("audit", "--methods", "template"), "run"),
        (("ablate", "dia"), "run"),
        (("bench",), "run"),
        (("describe", "dia"), "run"),
        (("downstream", "--generator", "codi_xr"), "run"),
        (("data", "check", "iu-phantom"), "run"),
        (("score", *SCORED, "--predictions", "predictions.txt", "--metrics", "meteor"), "text"),
        (("score", *SCORED, "--predictions", "predictions.txt", "--tokenizer", "ptb"), "text"),
        (("score", *SCORED, "--predictions", "predictions.txt", "--metrics", "chexpert_rules_f1"), "labels"),
        (("score", *SCORED, "--predictions", "predictions.txt", "--metrics", "bertscore_minilm"), "clinical"),
        (("score", *SCORED, "--predictions", "predictions.parquet"), "parquet"),
        (("leaderboard", "--results", COMMITTED, "--format", "parquet", "--out", "tables"), "parquet"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, (value[0], *value[-1:]))),
)
def test_a_missing_extra_is_one_line_that_names_it(
    command: tuple[str | Path, ...], extra: str, site: Path, reports: Path
) -> None:
    (reports / "predictions.parquet").write_bytes(b"PAR1")
    completed = harness(site, reports, *command)
    assert completed.returncode == 2, completed.stderr[-2000:]
    (line,) = completed.stderr.splitlines()
    assert line.startswith("error: ")
    assert install(extra) in line


def test_metrics_whose_package_is_missing_are_unavailable_and_name_the_extra(
    site: Path, reports: Path
) -> None:
    completed = harness(site, reports, "list", "metrics", "--format", "json")
    metrics = {row["name"]: row for row in json.loads(completed.stdout)["rows"]}
    assert not [name for name, row in metrics.items() if "error" in row]
    assert metrics["bleu"]["available"]
    reasons = {name: row["reason"] for name, row in metrics.items() if not row["available"]}
    assert install("text") in reasons["meteor"]
    assert install("labels") in reasons["mesh_rules_f1"]
    assert all(install("clinical") in reasons[name] for name in ("radgraph_f1", "chexbert_f1", "bertscore"))
    assert all(install("images") in reason for name, reason in reasons.items() if name.startswith("images_"))


def test_doctor_says_what_works_and_which_extra_runs_methods(site: Path, tmp_path: Path) -> None:
    words = " ".join(harness(site, tmp_path, "doctor").stdout.split())
    assert words.startswith("ready: score, compare, leaderboard and papers work here;")
    assert f"harness run needs it: {install('run')}" in words


def test_five_lines_of_python_give_a_table_with_intervals(site: Path, tmp_path: Path) -> None:
    completed = run_python(["-c", FIVE_LINES], site, tmp_path)
    assert completed.returncode == 0, completed.stderr
    line = next(line for line in completed.stdout.splitlines() if "bleu_4" in line)
    assert len(re.findall(r"\d+\.\d+", line)) == 3


CALLS = {
    "harness.evaluate('template')": "run",
    "harness.audit('template')": "run",
    "harness.load_method('dia', None)": "run",
    "harness.load_dataset('iu-phantom')": "run",
    "harness.label(['no effusion'])": "labels",
    "harness.reward('radgraph_f1_simple')": "clinical",
    "harness.score(['a b c', 'd e f'], ['a b c', 'd e f']).plot()": "figures",
}


def test_python_names_the_extra_too(site: Path, tmp_path: Path) -> None:
    lines = ["import harness", "from harness.core.errors import UnavailableError"]
    for call in CALLS:
        lines += ["try:", f"    {call}", "except UnavailableError as error:", "    print(error)"]
    completed = run_python(["-c", "\n".join(lines)], site, tmp_path)
    assert completed.returncode == 0, completed.stderr
    for line, (call, extra) in zip(completed.stdout.splitlines(), CALLS.items(), strict=True):
        assert install(extra) in line, call


def test_figures_are_left_out_with_one_line(site: Path, tmp_path: Path) -> None:
    store = small_store(tmp_path / "store").root
    command = ("leaderboard", "--store", store, "--format", "markdown", "--out", "tables", "--figures")
    completed = harness(site, tmp_path, *command)
    assert completed.returncode == 0, completed.stderr
    assert [line for line in completed.stderr.splitlines() if install("figures") in line]
    assert (tmp_path / "tables" / "leaderboard.md").exists()


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_declares_the_modules_that_it_is_advised_for(extra: str) -> None:
    names = packages_distributions()
    declared = declared_by(extra)
    for module in EXTRAS[extra]:
        if not absent(module):
            assert {name.lower().replace("_", "-") for name in names[module]} & declared, module
