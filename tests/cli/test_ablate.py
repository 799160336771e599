"""``harness ablate`` on the toys: trained once, failures alone and named, one seed or several."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.test_cli import invoke
from tests.helpers.toys import Learner


def ablate(capsys: pytest.CaptureFixture[str], folder: Path, *more: str) -> tuple[int, str, str]:
    common = ["--dataset", "toy", "--store", str(folder / "store"), "--workers", "1"]
    return invoke(capsys, "ablate", "learner", *common, "--metrics", "bleu,cider", *more)


def trained_steps(folder: Path) -> int:
    return (folder / "work.log").read_text().count("step train")


def test_every_variant_is_trained_once_and_compared_with_the_method(
    toy_world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    variants = {**Learner.card.variants, "broken": ("no dropout that exists", {"dropout": 2.0})}
    monkeypatch.setattr(Learner, "card", replace(Learner.card, variants=variants))
    code, out, err = ablate(capsys, toy_world, "--seeds", "0,1", "--format", "json")
    assert code == 1  # a variant failed, and the others stand
    content = json.loads(out)
    assert [each["method"] for each in content["variants"]] == ["learner", "learner:slow", "learner:broken"]
    *_, slow, broken = content["variants"]
    assert (slow["seeds"], slow["text"]) == ([0, 1], "a tenth of the rate")
    assert set(broken["failed"]) == {"0", "1"}
    assert "ValueError" in broken["failed"]["0"]
    rows = {(row["method"], row["metric"]): row for row in content["rows"]}
    cider = rows["learner:slow", "cider"]
    values = {seed: rows["learner", "cider"]["by_seed"][seed] for seed in "01"}
    by_hand = sum(cider["by_seed"][seed] - values[seed] for seed in "01") / 2
    assert cider["difference"] == pytest.approx(by_hand)
    assert cider["difference_ci95"][0] < by_hand < cider["difference_ci95"][1]
    steps = trained_steps(toy_world)
    code, out, _ = ablate(capsys, toy_world, "--seeds", "0,1", "--format", "markdown")
    assert trained_steps(toy_world) == steps
    assert "learner:broken failed with seed 0: " in out
    assert "shuffled" not in out + err


def test_an_ablation_trains_what_no_run_has_trained(
    toy_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--dataset", "toy", "--store", str(toy_world / "store"), "--workers", "1", "--no-figures"]
    assert invoke(capsys, "run", "--methods", "learner", "--metrics", "bleu,cider", *common)[0] == 0
    steps = trained_steps(toy_world)
    file = toy_world / "ablation.md"
    code, out, _ = ablate(capsys, toy_world, "--format", "markdown", "--out", str(file))
    assert (code, out) == (0, f"wrote {file}\n")
    assert trained_steps(toy_world) == 2 * steps  # the variant alone
    assert "| learner:slow | 1 | " in file.read_text()


def test_each_loss_that_changes_a_number_has_a_table(
    toy_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policies = ("--drop", "frontal,context", "--missing", "1.0", "--format", "markdown")
    _, out, _ = ablate(capsys, toy_world, *policies)
    titles = [line for line in out.splitlines() if line.startswith("### ")]
    assert [title.partition("studies")[2] for title in titles] == ["", ", without frontal (mcar)"]
    assert out.count("| learner:slow | 1 | ") == 2  # the method does not read the context


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("learnr", "did you mean learner"),
        ("learner:slow", "harness ablate learner"),
        ("echo", "its card has no variants"),
    ],
)
def test_what_cannot_be_ablated_is_one_line(
    toy_world: Path, capsys: pytest.CaptureFixture[str], method: str, says: str
) -> None:
    code, out, err = invoke(capsys, "ablate", method, "--dataset", "toy", "--store", str(toy_world / "store"))
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_a_sweep_trains_each_value_once_and_pairs_it_with_the_default(
    toy_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = toy_world / "sweep.svg"
    words = ("--sweep", "rate=0.001,1e-2,0.1", "--sweep", "learner.dropout=0.3,0.1", "--seeds", "0")
    code, out, err = ablate(capsys, toy_world, *words, "--format", "json", "--figure", str(figure))
    assert code == 0, err
    content = json.loads(out)
    assert content["method"] == "learner"
    members = {each["method"]: each for each in content["variants"]}
    assert [each["settings"] for each in members.values()] == [
        {},  # rate 0.01, dropout 0.3: the method as it is, once
        {"rate": 0.001},
        {"dropout": 0.1, "rate": 0.001},
        {"dropout": 0.1},
        {"rate": 0.1},
        {"dropout": 0.1, "rate": 0.1},
    ]
    assert members["learner[dropout=0.3,rate=0.1]"]["text"] == "rate 0.1 instead of 0.01"
    paired = [row for row in content["rows"] if row["method"] != "learner"]
    assert paired
    assert all(row["difference"] is not None for row in paired)
    assert all(text in figure.read_text() for text in ("dropout 0.1", "rate", "0.001", "cider"))
    steps = trained_steps(toy_world)
    _, out, _ = ablate(capsys, toy_world, *words, "--format", "markdown")
    assert trained_steps(toy_world) == steps
    assert "slow" not in out  # values instead of variants
    assert "chosen on the test set" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--sweep", "rate"), "not of the form setting=value,value"),
        (("--sweep", "rate=0.1", "--sweep", "learner.rate=0.2"), "rate a second time"),
        (("--sweep", "rat=0.1"), "did you mean rate"),
        (("--sweep", "rate=0.01"), "all values are those that the method has"),
        (("--figure", "sweep.png"), "add --sweep"),
        (("--figure", "sweep.gif", "--sweep", "rate=0.1"), "unknown type of figure"),
    ],
)
def test_a_sweep_that_is_none_is_one_line_before_anything_trains(
    toy_world: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(toy_world)
    code, out, err = ablate(capsys, toy_world, *words)
    assert (code, out) == (2, "")
    assert says in err
    assert not (toy_world / "work.log").exists()
