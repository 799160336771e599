"""Pages do what they say: their Python and their commands run, and their plugin installs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.audits.audit import CHECKS
from harness.core import registry
from harness.core.config import RunSettings
from harness.core.types import CHEXPERT_LABELS
from harness.evaluation.run import run
from tests.cli.test_cli import invoke
from tests.helpers import prepared, toys

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "adding-a-method.md"


def blocks(language: str, page: Path = PAGE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def test_the_python_of_the_page_about_python_runs() -> None:
    page = DOCS / "python.md"
    module: dict[str, Any] = {"__name__": "page"}
    try:
        for number, block in enumerate(blocks("python", page)):
            exec(compile(block, f"{page.name}, block {number + 1}", "exec", dont_inherit=True), module)
    finally:
        registry._LIVE["methods"].clear()
        registry._table.cache_clear()
    assert set(module["board"].methods) == {"retrieval", "normal"}
    assert module["left"].any(axis=1).all()


def test_the_python_of_the_page_runs_from_top_to_bottom() -> None:
    found = blocks("python")
    assert len(found) >= 3
    module = {"__name__": "page"}
    for number, block in enumerate(found):
        code = compile(block, f"{PAGE.name}, block {number + 1}", "exec", dont_inherit=True)
        exec(code, module)
    assert module["verdict"].passed  # type: ignore[attr-defined]


def write_files_of_a_system(folder: Path) -> None:
    """The files that the page about scoring names."""
    texts = {f"s{number}": f"The heart is {('normal', 'large')[number % 2]}." for number in range(12)}
    reports = {
        "truth": texts,
        "ours": texts,
        "ours-without-context": dict.fromkeys(texts, "The heart is normal."),
    }
    for name, content in reports.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "two-references.json").write_text(
        json.dumps({name: [text, "Clear."] for name, text in texts.items()})
    )
    (folder / "second-reader.json").write_text(json.dumps(dict.fromkeys(texts, "The heart is wide.")))
    (folder / "ids.txt").write_text("s1\ns2\ns5\n")
    drawn = {name: [text, "The heart is large."] for name, text in texts.items()}
    (folder / "drawn.json").write_text(json.dumps(drawn))
    lines = ["id,report", *(f"{name},The heart is large." for name in texts)]
    (folder / "theirs.csv").write_text("\n".join(lines))
    tables = {
        "labels-of-experts": ("Edema,Mass", lambda number: f"{number % 2},{number % 3 // 2}"),
        "probabilities": ("Edema,Mass", lambda number: f"0.{1 + number % 9},0.4"),
        "without-lateral": ("Edema,Mass", lambda number: "0.5,0.4"),
        "judge": ("green,errors:lower", lambda number: f"0.{number % 10},{number % 3}"),
        "judge-of-theirs": ("green,errors:lower", lambda number: f"0.5,{number % 2}"),
        "classes": ("diagnosis", lambda number: ("Edema", "Mass")[number % 2]),
        "class-probabilities": ("Edema,Mass", lambda number: f"0.{number % 10},{1 - number % 10 / 10:.1f}"),
    }
    for name, (columns, cells) in tables.items():
        rows = [f"id,{columns}", *(f"s{number},{cells(number)}" for number in range(12))]
        (folder / f"{name}.csv").write_text("\n".join(rows))
    for number, place in enumerate(("real-images", "generated-images", "training-images")):
        (folder / place).mkdir()
        for study in range(12):
            pixels = np.random.default_rng([number, study]).integers(0, 255, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / place / f"s{study}.png")
    header = ",".join(("id", *CHEXPERT_LABELS))
    labels = [header, *(f"s{number},{number % 2},,1,0,-1" + "," * 9 for number in range(12))]
    (folder / "labels-of-radiologists.csv").write_text("\n".join(labels))
    findings = ["id,Edema", *(f"s{number},{number % 2}" for number in range(12))]
    (folder / "findings-of-images.csv").write_text("\n".join(findings))


def write_store(folder: Path) -> None:
    """The store that the page about scoring names, and answers on its test set."""
    settings = RunSettings.of(
        methods=("echo",), dataset="toy", mask_seeds=2, missing=(0.5,), metrics=toys.FAST_METRICS,
        store=folder / "runs", workers=1,
    )  # fmt: skip
    run(settings, toys.Quiet())
    answers = {f"test{number}": "heart normal." for number in range(40)}
    rows = ["id,green", *(f"{name},0.{number % 10}" for number, name in enumerate(answers))]
    (folder / "judge-of-our-answers.csv").write_text("\n".join(rows))
    for name in ("our-answers", "our-answers-without-context"):
        (folder / f"{name}.json").write_text(json.dumps(answers))


def test_the_commands_of_the_page_about_scoring_run(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path = toy_world
    monkeypatch.chdir(tmp_path)
    write_files_of_a_system(tmp_path)
    write_store(tmp_path)
    page = DOCS / "score-anything.md"
    lines = [line.removeprefix("$ ") for block in blocks("console", page) for line in block.splitlines()]
    assert len(lines) == 26
    for line in lines:
        code, output, error = invoke(capsys, *line.split()[1:])
        assert code == 0, f"{line}: {error}"
        assert output
    assert (tmp_path / "labels.csv").read_text().startswith("id,No Finding,")


@pytest.mark.parametrize("page", ["adding-a-dataset.md", "adding-a-metric.md"])
def test_a_page_about_plugins_runs_from_top_to_bottom(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands in the order of the page, with its Python between them."""
    monkeypatch.chdir(tmp_path)
    site = tmp_path / "site"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(site), str(DOCS.parent))),
        "OMP_NUM_THREADS": "1",
    }
    environment["HARNESS_CACHE"] = str(tmp_path / "cache")
    module: dict[str, Any] = {"__name__": "page"}
    plugin, printed = "", ""
    for language, block in re.findall(r"```(\w+)\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL):
        if language == "python":
            exec(compile(block, page, "exec", dont_inherit=True), module)
        elif language == "toml":
            assert block.strip() in (tmp_path / plugin / "pyproject.toml").read_text()
        for line in block.splitlines() if language == "console" else ():
            words = line.removeprefix("$ ").split()
            if words[:2] == ["harness", "new"]:
                plugin = words[3]
            arguments = ["-m", "harness.cli", *words[1:]]
            if words[0] == "pip":
                offline = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(site)]
                arguments = ["-m", "pip", "install", *offline, words[-1]]
            done = prepared.run(arguments, env=environment)
            assert done.returncode == 0, f"{line}: {done.stderr}"
            printed += done.stdout
    assert plugin in printed
    assert list(site.glob(f"harness_{plugin.replace('-', '_')}-*.dist-info/entry_points.txt"))


def test_the_commands_of_the_page_run_and_the_plugin_comes_from_its_own_distribution(tmp_path: Path) -> None:
    (page,) = blocks("console")
    commands = [line.removeprefix("$ ") for line in page.splitlines() if line.startswith("$ ")]
    assert [command.split()[0] for command in commands] == ["harness", "pip", "harness", "harness"]
    site = tmp_path / "site"
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    # Without a network and beside the environment that runs the tests: the same package, another folder.
    install = f"-m pip install --quiet --no-deps --no-build-isolation --target {site} ./my-method"
    said = []
    for command in commands:
        words = command.split()
        arguments = install.split() if words[0] == "pip" else ["-m", "harness.cli", *words[1:]]
        done = prepared.run(arguments, env=environment, cwd=tmp_path)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        said.append(done.stdout)
    assert re.search(r"^my-method\n  title .*\n  tasks +report", said[2], flags=re.MULTILINE)
    assert said[3].count(" yes ") == len(CHECKS)
    assert (site / "my_method.py").exists()
    assert list(site.glob("harness_my_method-*.dist-info/entry_points.txt"))
    assert (tmp_path / "runs" / "audits" / "example" / "my-method.json").exists()
    (example,) = blocks("toml")
    assert example.strip() in (tmp_path / "my-method" / "pyproject.toml").read_text()
