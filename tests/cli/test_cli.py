"""The command line: what scripts depend on, and one clear line for every mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from harness.cli import main as cli
from harness.cli.app import app
from harness.cli.options import values_of
from harness.core import registry
from harness.core.config import FIELDS, RunSettings
from harness.store.store import Store
from tests.helpers.toys import FAST_METRICS

HARNESS = Path(sys.executable).with_name("harness")


def invoke(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the entry point in process; exit code, stdout, stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["harness", *arguments])
        try:
            cli.main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def toy_run(capsys: pytest.CaptureFixture[str], folder: Path, *more: str) -> tuple[int, str, str]:
    common = ["--dataset", "toy", "--methods", "echo", "--store", str(folder / "store")]
    common += ["--metrics", ",".join(FAST_METRICS)]
    return invoke(capsys, "run", *common, *more)


def test_run_prints_and_writes_the_leaderboard(toy_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = toy_run(capsys, toy_world, "--missing", "0.2,0.6", "--mask-seeds", "2")
    assert code == 0
    assert "echo" in out
    markdown = (toy_world / "store/tables/leaderboard.md").read_text()
    assert "| method | bleu_1 |" in markdown
    figures = [path for path in (toy_world / "store/tables/figures").rglob("*") if path.is_file()]
    assert {path.suffix for path in figures} == {".png", ".svg", ".pdf"}
    assert "bleu|order:4|norm:none|tok:r2gen-iu" in markdown
    assert "bleu_4 @ 0.6" in markdown
    content = json.loads((toy_world / "store/tables/leaderboard.json").read_text())
    row = content["rows"][0]
    documented = {
        "dataset",
        "method",
        "preset",
        "seed",
        "drop",
        "mechanism",
        "rate",
        "metric",
        "value",
        "ci95",
        "n",
    }
    assert documented | {"signature", "status"} <= set(row)
    assert {row["rate"] for row in content["rows"]} == {0.0, 0.2, 0.6, 1.0}
    assert {row["drop"] for row in content["rows"]} == {"context", "alternate", "any", "lateral", "frontal"}


def test_leaderboard_rebuilds_what_run_wrote(toy_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy_run(capsys, toy_world, "--missing", "0.5")
    store = toy_world / "store"
    for name, format_ in (("leaderboard.md", "markdown"), ("leaderboard.json", "json")):
        code, out, _ = invoke(capsys, "leaderboard", "--store", str(store), "--format", format_)
        assert code == 0
        assert out == (store / "tables" / name).read_text()
    code, out, _ = invoke(capsys, "leaderboard", "--store", str(store), "--format", "csv")
    assert len(out.splitlines()) == 1 + len(Store(store).results())


@pytest.mark.parametrize("width", [80, 120])
def test_what_a_terminal_shows_is_whole_and_fits(
    toy_world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = toy_run(capsys, toy_world, "--missing", "0.2,0.6", "--mask-seeds", "2", "--no-figures")
    assert code == 0
    store = toy_world / "store"
    content = json.loads((store / "tables/leaderboard.json").read_text())
    shown = {
        f"{row['value']:.3f} [" for row in content["rows"] if row["rate"] == 0.0 and row["value"] is not None
    }
    _, table, _ = invoke(capsys, "leaderboard", "--store", str(store), "--format", "table")
    for text in (out, table):
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
    assert all(value in table for value in shown)
    assert "bleu_4 over missing rates" in " ".join(out.split())
    assert "bleu_4 ↑ over missing rates" in table
    assert "told apart until" in table
    code, out, err = invoke(
        capsys, "leaderboard", "--store", str(store), "--format", "table", "--out", str(toy_world / "out")
    )
    assert (code, out) == (2, "")
    assert "--format table is printed, not written" in err


def test_flags_win_over_yaml(toy_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = toy_world / "run.yaml"
    file.write_text("methods: [echo]\nmetrics: [bleu]\ndataset: toy\nmissing: [0.3]\nmask-seeds: 2\n")
    store = str(toy_world / "store")
    assert invoke(capsys, "run", "-c", str(file), "--missing", "0.5", "--store", store)[0] == 0
    assert {row.rate for row in Store(Path(store)).results()} == {0.0, 0.5, 1.0}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--methods", "ecko"], "unknown method 'ecko' (did you mean echo?)"),
        (["--missing", "1.2"], "--missing"),
        (["--missing", "a,b"], "--missing a,b: expected comma-separated numbers"),
        (["--drop", "frontl"], "frontal"),
        (["--mechanism", "mcra"], "mcar"),
        (["--dataset", "iu-phanton"], "did you mean iu-phantom"),
        (["--metrics", "blue"], "did you mean bleu"),
        (["--tokenizer", "r2gen"], "r2gen-iu"),
        (["--set", "echo=1"], "--set echo=1"),
        (["--set", "echo.file=1"], "did you mean fail"),
        (["--limit", "1"], "--limit"),
        (["-c", "absent.yaml"], "absent.yaml"),
    ],
)
def test_mistakes_are_one_line_that_names_the_flag(
    toy_world: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    code, out, err = toy_run(capsys, toy_world, "--missing", "0.5", *arguments)
    assert code != 0
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert says in err


def test_failed_cell_is_printed_and_exits_non_zero(
    toy_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = toy_run(capsys, toy_world, "--set", "echo.fail=fit")
    assert code == 1
    assert "failed" in out
    assert "ValueError at tests.helpers.toys:" in err


def test_a_tracker_that_fails_costs_no_table(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.evaluation import tracking

    monkeypatch.setattr("harness.core.packages.find_spec", lambda name: name)
    monkeypatch.setattr(tracking, "_to_mlflow", lambda root, results: 1 / 0)
    code, out, err = toy_run(capsys, toy_world, "--track", "mlflow")
    assert code == 2
    assert "without each modality" in out
    assert "error: --track mlflow: ZeroDivisionError" in err


def test_labels_that_differ_in_a_slash_have_rows_of_their_own(
    toy_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in ("a/b", "a_b"):
        toy_run(capsys, toy_world, "--set", f"echo.fail={value}")
    _, out, _ = invoke(capsys, "leaderboard", "--store", str(toy_world / "store"), "--format", "csv")
    assert "echo[fail=a/b]" in out
    assert "echo[fail=a_b]" in out


def test_foreign_folder_is_not_taken_for_a_store(toy_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (toy_world / "store").mkdir()
    (toy_world / "store/thesis.tex").write_text("mine")
    code, _, err = toy_run(capsys, toy_world)
    assert code == 2
    assert "not a results store" in err
    (toy_world / "store/thesis.tex").unlink()
    (toy_world / "store/store.json").write_text('{"schema": 99}')
    assert "schema 99" in toy_run(capsys, toy_world)[2]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Path:
    """A file system with no room for a run."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_full_disk_is_one_line(toy_world: Path, tiny_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tiny_disk / "store"
    code, _, err = toy_run(capsys, tiny_disk)
    assert code != 0
    assert "no space left" in err.splitlines()[-1]
    assert not list(store.rglob("*.tmp"))


def test_help_starts_without_heavy_imports() -> None:
    script = (
        "import sys, harness.cli.app\n"
        "heavy = {'torch', 'lightning', 'pandas', 'transformers', 'numpy', 'scipy', 'PIL'}\n"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_leaderboard_needs_no_torch(toy_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy_run(capsys, toy_world)
    script = (
        "import sys\n"
        "sys.argv = ['harness', 'leaderboard', '--store', sys.argv[1]]\n"
        "from harness.cli import main as cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(toy_world / "store")], check=True)


def test_lists_name_everything_registered(capsys: pytest.CaptureFixture[str]) -> None:
    assert "retrieval" in invoke(capsys, "list", "methods")[1]
    assert "iu-phantom" in invoke(capsys, "list", "datasets")[1]
    assert "bleu_4" in invoke(capsys, "list", "metrics")[1]
    profiles = invoke(capsys, "list", "profiles")[1]
    assert "100 tokens" in profiles
    assert "micar-vlmoe" in profiles
    assert ".08" in invoke(capsys, "list", "corruptions")[1]


def test_lists_are_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    def rows(what: str) -> list[dict[str, Any]]:
        code, out, _ = invoke(capsys, "list", what, "--format", "json")
        assert code == 0
        return json.loads(out)["rows"]

    methods = {row["name"]: row for row in rows("methods")}
    assert list(methods) == registry.names("methods")
    assert methods["dia"]["tasks"] == ["report"]
    assert methods["dia"]["reads"] == ["context", "frontal", "lateral"]
    assert "paper" in methods["dia"]["presets"]
    assert "no-alignment" in methods["dia"]["variants"]
    assert methods["dia"]["licence"] == "Apache-2.0"
    assert [row["name"] for row in rows("datasets")] == registry.names("datasets")
    assert {"dataset", "profile", "tokenizer"} <= set(rows("profiles")[0])
    metrics = {row["name"]: row for row in rows("metrics")}
    assert metrics["bleu"]["outputs"][3]["name"] == "bleu_4"
    assert metrics["bleu"]["outputs"][3]["higher_is_better"]
    assert metrics["bleu"]["signature"].startswith("bleu|order:4")
    assert metrics["bleu"]["available"]
    for row in metrics.values():
        assert row["available"] == (row["reason"] is None)
    assert invoke(capsys, "list", "metrics", "--format", "csv")[1].startswith("metric,family,task,better,")


def test_a_format_that_a_command_lacks_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = invoke(capsys, "list", "methods", "--format", "latex")
    assert code == 2
    assert out == ""
    assert "'latex' is not one of 'table', 'json', 'csv'" in " ".join(err.replace("│", " ").split())


def command(name: str) -> Any:
    return get_command(app).commands[name]


def test_run_has_one_flag_per_setting_and_no_other() -> None:
    flags = {flag for each in command("run").params for flag in each.opts if flag.startswith("--")}
    assert flags - {"--figures", "--config", "--quick"} == {"--" + name.replace("_", "-") for name in FIELDS}


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_is_described_by_one_plain_sentence(name: str) -> None:
    text = FIELDS[name].description or ""
    (option,) = (each for each in command("run").params if each.name == name)
    assert option.help == text
    assert text[:1].isupper()
    assert text.endswith(".")
    assert ". " not in text.replace("e.g. ", "")
    assert len(text.split()) <= 20


def test_flags_of_every_kind_reach_the_settings() -> None:
    flags = {"methods": "dia,kedr", "missing": "0.2,0.4", "seeds": "0,1", "set": ["dia.lr=0.1"], "workers": 2}
    settings = RunSettings.build(values_of(flags | {"drop": None}))
    assert settings == RunSettings.of(
        methods=("dia", "kedr"), missing=(0.2, 0.4), seeds=(0, 1), set={"dia": {"lr": 0.1}}, workers=2
    )


def test_help_of_run_has_panels_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    out = invoke(capsys, "run", "--help")[1]
    panels = ["What to evaluate", "Missingness", "Metrics", "Where to run", "Output"]
    places = [out.index(panel) for panel in panels]
    assert places == sorted(places)


def test_a_bundle_is_written_and_checked(toy_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy_run(capsys, toy_world)
    files = [toy_world / name for name in ("new.json", "old.json")]
    store = ["--store", str(toy_world / "store")]
    assert invoke(capsys, "bundle", "write", str(files[0]), *store)[0] == 0
    assert invoke(capsys, "leaderboard", *store, "--share", str(files[1]))[0] == 0
    assert files[0].read_text() == files[1].read_text()
    for words in (["bundle", "check"], ["share"]):
        code, out, _ = invoke(capsys, *words, str(files[0]))
        assert code == 0
        assert "and nothing else" in out
    files[0].write_text(files[0].read_text()[:-9])
    assert invoke(capsys, "bundle", "check", str(files[0]))[0] == 2


def test_papers_and_its_older_name_print_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = invoke(capsys, "papers", "all", "--check")
    assert invoke(capsys, "report", "all", "--check")[:2] == (code, out)
    names = invoke(capsys, "--help")[1]
    assert "papers" in names
    assert "report " not in names


def test_doctor_reports_absent_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from harness.cli.doctor import _java

    monkeypatch.setenv("PATH", str(tmp_path))
    finding = _java()
    assert finding.state == "optional"
    assert "install a Java runtime" in finding.detail


def test_a_library_that_memory_does_not_suffice_for_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ImportError("libtorch_cuda.so: failed to map segment from shared object")

    monkeypatch.setattr(cli, "_check_surroundings", fail)
    line = "error: libtorch_cuda.so cannot be loaded: too little memory (raise the limit, ulimit -v)\n"
    assert invoke(capsys, "list", "methods") == (2, "", line)
