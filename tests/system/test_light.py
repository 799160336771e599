"""The wheel with the packages of the base alone: what works, and one line about what does not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
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


SCORED = ("--references", "references.txt", "--predictions", "predictions.txt")
WORKING = [
    ("score", *SCORED),
    ("compare", *SCORED[:2], "--system", "a=predictions.txt", "--system", "b=references.txt"),
    ("leaderboard", "--results", COMMITTED),
    ("leaderboard", "--results", COMMITTED, "--format", "html", "--out", "tables"),
    ("papers", "all", "--results", COMMITTED, "--out", "papers"),
    ("list", "methods"),
    ("list", "datasets"),
    ("list", "profiles"),
    ("list", "metrics"),
    ("list", "metrics", "--format", "json"),
    ("doctor",),
    ("data", "check", "example"),
    ("new", "method", "my-method"),
    ("new", "dataset", "my-data"),
    ("new", "metric", "my_metric"),
    ("leaderboard", "--store", "store", "--format", "markdown", "--out", "tables", "--figures"),
]
LACKING = {
    ("run", "--methods", "template"): "run",
    ("audit", "--methods", "template"): "run",
    ("ablate", "dia"): "run",
    ("bench",): "run",
    ("describe", "dia"): "run",
    ("downstream", "--generator", "codi_xr"): "run",
    ("cases", "page.html", "--store", "store"): "run",
    ("latents", "dia", "--store", "store"): "run",
    ("data", "check", "iu-phantom"): "run",
    ("score", *SCORED, "--metrics", "meteor"): "text",
    ("score", *SCORED, "--tokenizer", "ptb"): "text",
    ("score", *SCORED, "--metrics", "chexpert_rules_f1"): "labels",
    ("score", *SCORED, "--metrics", "bertscore_minilm"): "clinical",
    ("score", *SCORED[:3], "predictions.parquet"): "parquet",
    ("leaderboard", "--results", COMMITTED, "--format", "parquet", "--out", "tables"): "parquet",
}
"""Command -> the extra that it names."""

Outcomes = dict[tuple[str | Path, ...], tuple[int, str, str]]
"""Command -> exit code, standard output, standard error."""

RUN_ALL = """
import contextlib, io, json, sys
from harness.cli.main import main

outcomes = []
for command in json.load(sys.stdin):
    sys.argv, code = ["harness", *command], 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as error:
            code = error.code or 0
    outcomes.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def outcomes(site: Path) -> Outcomes:
    """Every command, one after the other in one process: its imports take most of the time."""
    folder = site.with_name("work")
    folder.mkdir()
    (folder / "references.txt").write_text("the heart is normal\nno pleural effusion is seen\n")
    (folder / "predictions.txt").write_text("heart is normal\nthere is a pleural effusion\n")
    (folder / "predictions.parquet").write_bytes(b"PAR1")
    small_store(folder)
    commands = [*WORKING, *LACKING]
    text = json.dumps([[str(word) for word in command] for command in commands])
    completed = run_python(["-c", RUN_ALL], site, folder, text)
    assert completed.returncode == 0, completed.stderr[-2000:]
    return dict(zip(commands, map(tuple, json.loads(completed.stdout)), strict=True))


@pytest.mark.parametrize("command", WORKING, ids=lambda command: "-".join(map(str, command[:2])))
def test_a_command_needs_the_base_alone(command: tuple[str | Path, ...], outcomes: Outcomes) -> None:
    code, out, err = outcomes[command]
    assert code == 0, err[-2000:]
    assert out
    assert "Traceback" not in err
    assert "ModuleNotFoundError" not in out + err


@pytest.mark.parametrize("command", LACKING, ids=lambda command: f"{command[0]}-{command[-1]}")
def test_a_missing_extra_is_one_line_that_names_it(
    command: tuple[str | Path, ...], outcomes: Outcomes
) -> None:
    code, _, err = outcomes[command]
    assert code == 2, err[-2000:]
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert install(LACKING[command]) in line


def test_metrics_whose_package_is_missing_are_unavailable_and_name_the_extra(outcomes: Outcomes) -> None:
    _, out, _ = outcomes["list", "metrics", "--format", "json"]
    metrics = {row["name"]: row for row in json.loads(out)["rows"]}
    assert not [name for name, row in metrics.items() if "error" in row]
    assert metrics["bleu"]["available"]
    reasons = {name: row["reason"] for name, row in metrics.items() if not row["available"]}
    assert install("text") in reasons["meteor"]
    assert install("labels") in reasons["mesh_rules_f1"]
    assert all(install("clinical") in reasons[name] for name in ("radgraph_f1", "chexbert_f1", "bertscore"))
    assert all(install("images") in reason for name, reason in reasons.items() if name.startswith("images_"))


def test_figures_are_left_out_with_one_line(outcomes: Outcomes) -> None:
    _, out, err = outcomes[WORKING[-1]]
    assert install("figures") in err
    assert "tables/leaderboard.md" in out


def test_doctor_says_what_works_and_which_extra_runs_methods(outcomes: Outcomes) -> None:
    words = " ".join(outcomes[("doctor",)][1].split())
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


def test_importing_the_harness_or_its_metrics_imports_no_library(tmp_path: Path) -> None:
    code = "import sys, harness, harness.metrics; print(*{'numpy', 'pandas', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_declares_the_modules_that_it_is_advised_for(extra: str) -> None:
    names = packages_distributions()
    declared = declared_by(extra)
    for module in EXTRAS[extra]:
        if not absent(module):
            assert {name.lower().replace("_", "-") for name in names[module]} & declared, module
