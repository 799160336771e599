"""A newcomer's first hour: public commands one after the other, and what they print is read."""

from __future__ import annotations

import csv
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.helpers import prepared

ROOT = Path(__file__).parents[2]
SPLITS = {"train": 48, "val": 8, "test": 90}
SENTENCES = (
    "A hazy shadow covers the left base.",
    "Both lungs are free of shadows.",
    "The heart is too wide.",
    "A small effusion is seen on the right.",
)
METRICS = ("--metrics", "bleu,rouge_l")
_CUT = re.compile(r"…|\w\.\.(?:\s|[\]|]|$)", flags=re.MULTILINE)


@dataclass(frozen=True)
class Walk:
    """Commands in one folder, with a terminal of 80 columns and a folder for plugins."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """With a narrow terminal, and the folder for plugins beside the sources."""
        paths = os.pathsep.join((str(ROOT), str(self.folder / "site")))
        return {**os.environ, "COLUMNS": "80", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}

    def python(self, *arguments: str) -> str:
        """The standard output of a Python that has to succeed."""
        completed = prepared.run(arguments, env=self.environment(), cwd=self.folder)
        command = " ".join(arguments)
        assert completed.returncode == 0, f"{command}: {completed.stdout}{completed.stderr}"
        assert "Traceback" not in completed.stdout + completed.stderr, command
        return completed.stdout

    def harness(self, *arguments: str) -> str:
        """What a command prints: no value of it is cut."""
        output = self.python("-m", "harness.cli", *arguments)
        assert not _CUT.findall(output), f"{arguments}: {output}"
        return output

    def table(self, *arguments: str) -> str:
        """The same; every line fits the terminal."""
        output = self.harness(*arguments)
        assert max(map(len, output.splitlines())) <= 80, output
        return output

    def json(self, *arguments: str) -> Any:
        """What a command prints as JSON."""
        return json.loads(self.harness(*arguments, "--format", "json"))


def invented(number: int) -> str:
    return f"{SENTENCES[number % 4]} {SENTENCES[number % 3]}"


def write_files(folder: Path) -> None:
    """References and the outputs of two systems."""
    truth = {f"s{number}": invented(number) for number in range(24)}
    systems = {
        "truth": truth,
        "close": {name: text.replace("shadow", "density") for name, text in truth.items()},
        "fixed": dict.fromkeys(truth, SENTENCES[1]),
    }
    for name, texts in systems.items():
        (folder / f"{name}.json").write_text(json.dumps(texts))


def write_studies(folder: Path) -> None:
    """A table of studies with images of noise."""
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for split, count in SPLITS.items():
        for number in range(count):
            name = f"{split}{number}"
            pixels = rng.integers(0, 60, (16, 16)) + 40 * (number % 4)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{name}.png")
            context = "" if number % 5 == 0 else "cough"
            rows.append([name, name, split, f"images/{name}.png", context, invented(number)])
    with (folder / "studies.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "patient", "split", "frontal", "indication", "report"])
        writer.writerows(rows)


def files_are_scored_and_compared(walk: Walk) -> None:
    score = ("score", "--references", "truth.json", "--predictions", "close.json", *METRICS)
    metrics = walk.json(*score)["metrics"]
    printed = walk.table(*score)
    assert len(metrics) == 5
    assert [name for name, each in metrics.items() if f"{each['value']:.4f}" not in printed] == []
    compare = ("compare", "--references", "truth.json", "--system", "close=close.json")
    compare = (*compare, "--system", "fixed=fixed.json", *METRICS, "--trials", "200")
    rows = walk.json(*compare)["rows"]
    printed = walk.table(*compare)
    assert {row["metric"] for row in rows} == set(metrics)
    for row in rows:
        assert row["metric"] in printed
        assert f"{row['value_a']:.4f}" in printed
        assert f"{abs(row['difference']):.4f}" in printed


def a_run_makes_rows_that_stay(walk: Walk) -> list[str]:
    """Keys of the rows of two methods on 64 test studies."""
    data = ("--dataset", "csv", "--root", "studies.csv", "--set", "csv.image_size=32")
    run = ("run", *data, "--methods", "template,retrieval", "--limit", "64", *METRICS)
    printed = walk.table(*run, "--missing", "0.4", "--mask-seeds", "3")
    rows = walk.json("leaderboard")["rows"]
    assert {(row["method"], row["n"], row["status"]) for row in rows} == {
        ("template", 64, "ok"),
        ("retrieval", 64, "ok"),
    }
    assert {row["rate"] for row in rows} == {0.0, 0.4, 1.0}
    markdown, table = walk.harness("leaderboard"), walk.harness("leaderboard", "--format", "csv")
    assert len(table.splitlines()) == 1 + len(rows)
    for row in rows:
        assert str(row["value"]) in table
        assert row["method"] in printed
        assert f"| {row['method']} |" in markdown
        if row["rate"] == 0 or row["metric"] == "bleu_4":  # other metrics over missing rates: CSV and JSON
            assert f"{row['value']:.3f}" in markdown
        if row["rate"] == 0 and row["metric"] == "bleu_4":  # the metric of the table of states
            assert f"{row['value']:.3f}" in printed
    return sorted({row["key"] for row in rows})


def a_row_is_shared_and_made_again(walk: Walk, keys: list[str]) -> None:
    walk.table("bundle", "write", "bundle.json")
    assert f"of {len(keys)} results, and nothing else" in walk.table("bundle", "check", "bundle.json")
    bundle = (walk.folder / "bundle.json").read_text()
    assert not any(words in bundle for words in SENTENCES)
    assert len(json.loads(bundle)["runs"]) == len(keys)
    assert "equal" in walk.harness("reproduce", next(key for key in keys if "/template/" in key))


def a_new_method_is_audited(walk: Walk) -> None:
    walk.harness("new", "method", "mine")
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", "site")
    walk.python(*install, "./mine")
    assert "mine" in {method["name"] for method in walk.json("list", "methods")["rows"]}
    verdict = walk.table("audit", "--methods", "mine")
    assert verdict.count(" yes ") == 9, verdict
    for _ in range(2):  # in a box, without --confine; what it opened is recorded, and it does not train anew
        few = ("--limit", "16", "--metrics", "bleu", "--no-shuffled", "--no-figures")
        walk.harness("run", "--dataset", "example", "--methods", "mine", *few, "--store", "own")
        rows = walk.json("leaderboard", "--store", "own")["rows"]
        assert {row["status"] for row in rows} == {"ok"}
    (used,) = (walk.folder / "own").rglob("used/method.json")
    assert json.loads(used.read_text())["files"] == {}


def test_the_first_hour(tmp_path: Path) -> None:
    walk = Walk(tmp_path)
    write_files(tmp_path)
    write_studies(tmp_path)
    files_are_scored_and_compared(walk)
    keys = a_run_makes_rows_that_stay(walk)
    assert len(keys) == 2 * 3, "two methods, three drop policies"
    a_row_is_shared_and_made_again(walk, keys)
    a_new_method_is_audited(walk)
