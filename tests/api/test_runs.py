"""``harness.evaluate`` and what it returns, as a notebook uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import harness
from harness.core import registry
from harness.core.errors import HarnessError, PluginError
from harness.core.types import Inputs, Prediction, Study, Task
from harness.method import FitRun, Method, MethodCard, MethodConfig
from harness.metrics.text.bleu import Bleu

METRICS = ("bleu", "chexpert_rules_f1")


class Constant(Method[MethodConfig]):
    """Writes one sentence for all studies."""

    Config = MethodConfig
    card = MethodCard(
        name="constant",
        title="one sentence",
        paper="",
        licence="Apache-2.0",
        tasks=frozenset({Task.REPORT}),
        reads=frozenset({"frontal"}),
        learned=False,
    )
    sentence = "the heart is normal in size . the lungs are clear ."

    def fit(self, train: list[Study], val: list[Study], run: FitRun) -> None:  # type: ignore[override]
        pass

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return [Prediction(report=self.sentence) for _ in inputs.ids]

    def save(self, directory: Path) -> None:
        (directory / "constant.json").write_text("{}")

    def load(self, directory: Path) -> None:
        pass


@pytest.fixture(scope="module", autouse=True)
def _only_here() -> Iterator[None]:
    yield
    registry._LIVE["methods"].clear()
    registry._table.cache_clear()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> harness.Leaderboard:
    store = tmp_path_factory.mktemp("store")
    return harness.evaluate(
        ["template", Constant], missing=[0.5], limit=40, metrics=METRICS, store=store, progress=False
    )


def test_import_brings_no_library() -> None:
    code = "import sys, harness; print(*{'torch', 'numpy', 'pandas', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert set(harness.__all__) <= set(dir(harness))


def test_names_and_classes_stand_in_one_leaderboard(board: harness.Leaderboard) -> None:
    assert set(board.methods) == {"template", "constant"}
    assert "bleu_4" in board.metrics
    assert "2 methods" in repr(board)


def test_frame_has_one_line_per_number(board: harness.Leaderboard) -> None:
    frame = board.to_frame()
    assert len(frame) == len(board.rows)
    bleu = frame[(frame.metric == "bleu_4") & (frame.method == "template")]
    assert set(bleu.state) == {"full", "", "frontal", "lateral", "context"}
    assert set(bleu[bleu.rate == 0.5].state) == {""}
    assert (bleu.lo <= bleu.value).all()
    assert (bleu.value <= bleu.hi).all()
    assert set(bleu.n) == {40}
    assert bleu.signature.str.startswith("bleu|").all()


def test_files_and_objects_hold_the_same_numbers(board: harness.Leaderboard, tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    path.write_text(board.to_json())
    again = harness.Leaderboard.from_json(path)
    stored = harness.Leaderboard.from_store(board.store or "")
    key = ["method", "drop", "rate", "metric"]
    for other in (again, stored):
        one, two = (each.to_frame().sort_values(key).value.to_numpy() for each in (board, other))
        np.testing.assert_array_equal(one, two)
    assert "constant" in board.to_markdown()
    assert "constant" in board.to_latex()
    assert "constant" in board.to_html()
    assert "constant" in board._repr_html_()


def test_plot_draws_one_line_per_method(board: harness.Leaderboard) -> None:
    axes = board.plot("bleu_4")
    assert {line.get_label() for line in axes.get_lines()} == {"template", "constant"}
    with pytest.raises(HarnessError, match="bleu_5: no method has a value"):
        board.plot("bleu_5")


def test_a_second_call_computes_nothing(board: harness.Leaderboard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Constant, "predict", lambda self, inputs: pytest.fail("predicted again"))
    assert board.store is not None
    again = harness.evaluate(
        ["constant"], missing=[0.5], limit=40, metrics=METRICS, store=board.store, progress=False
    )
    assert again.methods == ["constant"]


class Vandal(Constant):
    """Changes how a metric is computed, as a notebook may by mistake."""

    card = replace(Constant.card, name="vandal")

    def predict(self, inputs: Inputs) -> list[Prediction]:
        Bleu.reduce = lambda self, totals: {f"bleu_{n}": totals[..., 0] * 0 + 1 for n in (1, 2, 3, 4)}  # type: ignore[method-assign]
        return super().predict(inputs)


def test_a_class_that_changes_a_metric_fails_alone(board: harness.Leaderboard, tmp_path: Path) -> None:
    before = Bleu.reduce
    both = harness.evaluate(
        [Vandal, "template"], missing=[0.5], limit=40, metrics=METRICS, store=tmp_path, progress=False
    )
    assert Bleu.reduce is before
    wanted = ["method", "metric", "state", "rate", "value"]

    def numbers(of: harness.Leaderboard, method: str) -> list[tuple[object, ...]]:
        frame = of.to_frame()
        kept = frame[(frame.method == method) & frame.value.notna()]
        return sorted(kept[[name for name in wanted if name in kept]].itertuples(index=False, name=None))

    assert numbers(both, "template") == numbers(board, "template")
    assert not numbers(both, "vandal")


def test_a_cell_that_changes_a_constant_of_the_class_asks_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def number() -> float:
        board = harness.evaluate(
            [Spoken], missing=[0.5], limit=40, metrics=["bleu"], store=tmp_path, progress=False
        )
        frame = board.to_frame()
        return float(frame[frame.metric == "bleu_1"].value.iloc[0])

    first = number()
    monkeypatch.setitem(SPOKEN, "word", "the heart is normal in size .")
    second = number()
    assert second != first
    monkeypatch.undo()
    assert number() == first
    assert len(list(tmp_path.glob("cells/*/spoken/*"))) == 2


def test_a_file_that_a_class_reads_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word = tmp_path / "word.txt"

    def number() -> float:
        board = harness.evaluate(
            [Reads], missing=[0.5], limit=40, metrics=["bleu"], store=tmp_path / "store", progress=False
        )
        frame = board.to_frame()
        return float(frame[frame.metric == "bleu_1"].value.iloc[0])

    monkeypatch.setenv("WORD_OF_A_TEST", str(word))
    word.write_text("none")
    os.utime(word, (1e9, 1e9))
    first = number()
    for text, same in (("the heart is normal in size .", False), ("none", True)):
        word.write_text(text)
        os.utime(word, (2e9, 1.1e9))
        assert (number() == first) == same
    assert number() == first
    assert len(list((tmp_path / "store").glob("cells/*/reads/*"))) == 2


class Reads(Constant):
    """Says what stands in a file."""

    card = replace(Constant.card, name="reads")

    def predict(self, inputs: Inputs) -> list[Prediction]:
        word = Path(os.environ["WORD_OF_A_TEST"]).read_text()
        return [Prediction(report=word) for _ in inputs.ids]


SPOKEN = {"word": "none"}


class Spoken(Constant):
    """Says what a constant of the notebook holds."""

    card = replace(Constant.card, name="spoken")

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return [Prediction(report=SPOKEN["word"]) for _ in inputs.ids]


def test_what_is_no_method_is_refused() -> None:
    with pytest.raises(HarnessError, match="no card"):
        harness.evaluate([int])  # type: ignore[list-item]

    class Half:
        card = Constant.card

    with pytest.raises(PluginError, match="is no Method"):
        harness.evaluate([Half])  # type: ignore[list-item]


def test_an_installed_name_is_not_taken_over() -> None:
    class Template(Constant):
        card = MethodCard("template", "mine", "", "", frozenset({Task.REPORT}), frozenset({"frontal"}))

    with pytest.raises(HarnessError, match="'template' is registered already"):
        harness.evaluate([Template])


def test_classes_stay_in_their_process() -> None:
    with pytest.raises(HarnessError, match="other processes do not have its class"):
        harness.evaluate([Constant], workers=2)


def test_settings_are_checked() -> None:
    with pytest.raises(HarnessError, match="limitt"):
        harness.evaluate("template", limitt=3)


def test_audit_of_a_class(tmp_path: Path) -> None:
    (verdict,) = harness.audit(Constant, dataset="example", store=tmp_path, progress=False)
    assert verdict.passed
    assert callable(harness.audit)  # the submodules of the package do not hide it


def test_parts_alone() -> None:
    dataset = harness.load_dataset("example")
    method = harness.load_method("template", dataset.info)
    assert method.card.name == "template"
    with pytest.raises(HarnessError, match="did you mean"):
        harness.load_dataset("exampel")
