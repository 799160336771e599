"""Files that a plugin uses, and that no source names, are recorded; where they change, all is made anew."""

from __future__ import annotations

import json
import logging
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.core import registry
from harness.core.config import RunSettings
from harness.core.opened import opened_by
from harness.distributed import processes
from harness.evaluation.run import run
from harness.method.box.box import confinement
from harness.store.cell import Cell
from harness.store.store import Store
from tests.helpers.toys import Quiet

METHOD = '''
from importlib import import_module as load
from pathlib import Path
from typing import Any
from harness.core.types import Prediction, Task
from harness.method import Method, MethodCard, MethodConfig

class Config(MethodConfig):
    arch: str = "plain"

class Chooses(Method[Config]):
    """Its words come from a module whose name is a setting, through another name of import_module."""

    card = MethodCard(
        name="chooses", title="Chooses", paper="", licence="MIT", tasks=frozenset({Task.REPORT}),
        reads=frozenset({"frontal"}), learned=False,
    )
    Config = Config

    def fit(self, train: Any, val: Any, run: Any) -> None:
        self.words = load("chooser_archs." + self.config.arch).WORDS

    def predict(self, inputs: Any) -> list[Prediction]:
        beside = Path(__file__).parent.joinpath("".join(["en", "d", "ing"]))
        return [Prediction(self.words + " " + beside.read_text()) for _ in inputs.ids]

    def save(self, directory: Path) -> None:
        (directory / "words.txt").write_text(self.words)

    def load(self, directory: Path) -> None:
        self.words = (directory / "words.txt").read_text()
'''
METRIC = '''
import pkgutil
from pathlib import Path
import numpy as np
from harness.core.types import Task
from harness.metrics.base import Metric, MetricOutput

class Scaled(Metric):
    """A number from a module that is found by its name."""

    name, task, signature = "scaled", Task.REPORT, "scaled|v:1"
    outputs = (MetricOutput("scaled", bounds=(0.0, 9.0)),)

    def __init__(self):
        self.more = float(Path(__file__).with_name("".join(["mo", "re"])).read_text())

    def statistics(self, predictions, references):
        factor = pkgutil.resolve_name("chooser" + "_scale:FACTOR")
        return np.array([[factor + self.more, 1.0] for _ in predictions])

    def reduce(self, totals):
        return {"scaled": totals[..., 0] / totals[..., 1]}
'''
CONFINED = [
    "off",
    pytest.param("on", marks=pytest.mark.skipif(not confinement(), reason="this kernel confines nothing")),
]


@pytest.fixture
def project(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A method and a metric in packages of their own, and the modules that they choose."""
    for name, content in (
        ("chooser/__init__.py", METHOD),
        ("chooser/ending", "now"),
        ("chooser_archs/__init__.py", ""),
        ("chooser_archs/plain.py", "WORDS = 'no effusion'\n"),
        ("chooser_archs/other.py", "WORDS = 'none'\n"),
        ("chooser_metric/__init__.py", METRIC),
        ("chooser_metric/more", "0"),
        ("chooser_scale.py", "FACTOR = 1.0\n"),
    ):
        path = toy_world / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.syspath_prepend(str(toy_world / "project"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(registry.METHODS, "chooses", "chooser:Chooses")
    monkeypatch.setitem(registry.METRICS, "scaled", "chooser_metric:Scaled")
    registry._table.cache_clear()
    yield toy_world / "project"
    forget()


def forget() -> None:
    """As a new process would begin."""
    from harness.method import fingerprint, used
    from harness.method.box import confined, starters

    starters.end_starters()
    opened_by.clear()
    used._named.clear()
    for cached in (confined.stand_in, confined._describing, fingerprint._fingerprint):
        cached.cache_clear()
    for name in [name for name in sys.modules if name.startswith(("chooser", "other_metric"))]:
        del sys.modules[name]


def numbers(
    project: Path, confine: str, store: str = "store", metrics: tuple[str, ...] = ("bleu", "scaled")
) -> dict[str, float | None]:
    """Metric -> value of the whole test set, of a run in a new process."""
    forget()
    settings = RunSettings.of(
        methods=("chooses",),
        dataset="toy",
        metrics=metrics,
        store=project.parent / store,
        confine=confine,
        workers=1,
        shuffled=False,
    )
    reporter = Quiet()
    rows, succeeded = run(settings, reporter)
    assert succeeded, reporter.failures
    return {row.metric: row.value for row in rows if row.rate == 0}


@pytest.mark.parametrize("confine", CONFINED)
def test_a_module_that_a_setting_names_counts(
    confine: str, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = numbers(project, confine)
    plain, other = project / "chooser_archs" / "plain.py", project / "chooser_archs" / "other.py"
    other.write_text("WORDS = 'not used'\n")
    assert numbers(project, confine) == before
    assert len(cells(project)) == 1
    assert "changed" not in caplog.text
    content = plain.read_text()
    plain.write_text("WORDS = 'a large effusion'\n")
    with caplog.at_level(logging.WARNING):
        after = numbers(project, confine)
    assert "chooser_archs/plain.py changed since it was trained: it trains anew" in caplog.text
    assert after != before
    assert after == numbers(project, confine, "another")
    assert after == numbers(project, confine)
    plain.write_text(content)
    assert numbers(project, confine) == before
    assert len(cells(project)) == 2, "what was there is there again"


def cells(project: Path) -> list[Path]:
    return sorted((project.parent / "store").glob("cells/toy/chooses/*/checkpoint/done.json"))


def test_pieces_of_an_earlier_training_are_not_used(project: Path) -> None:
    numbers(project, "off")
    (project / "chooser_archs" / "plain.py").write_text("WORDS = 'a large effusion'\n")
    after = numbers(project, "off")
    one, two = (file.parents[1] for file in cells(project))
    for name in ("checkpoint", "predictions", "statistics"):
        for cell in (one, two):
            (cell / name).rename(cell / f"{name}-of-{cell.name}")
        (one / f"{name}-of-{one.name}").rename(two / name)
        (two / f"{name}-of-{two.name}").rename(one / name)
        shutil.rmtree(project.parent / "store" / "results")
        assert numbers(project, "off") == after


def test_a_file_that_is_read_at_prediction_and_one_of_a_metric_count(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = numbers(project, "off")
    (project / "chooser_scale.py").write_text("FACTOR = 2.0\n")
    with caplog.at_level(logging.WARNING):
        assert numbers(project, "off") == before | {"scaled": 2.0}
    (project / "chooser_metric" / "more").write_text("3")
    assert numbers(project, "off") == before | {"scaled": 5.0}
    (project / "chooser_metric" / "more").write_text("0")
    (project / "chooser_scale.py").write_text("FACTOR = 1.0\n")
    assert numbers(project, "off") == before
    assert "trains anew" not in caplog.text
    (project / "chooser" / "ending").write_text("then and there")
    assert numbers(project, "off")["bleu_1"] != before["bleu_1"]


@pytest.mark.parametrize("way", ["edit", "remove", "no checksum"])
def test_a_record_that_is_damaged_or_gone_is_not_believed(
    way: str, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = numbers(project, "off")
    (record,) = (project.parent / "store").glob("cells/*/*/*/used/method.json")
    text = record.read_text()
    if way == "remove":
        record.unlink()
    else:
        record.write_text(text.replace("plain", "other") if way == "edit" else text.replace("sha256", "sum"))
    with caplog.at_level(logging.WARNING):
        assert numbers(project, "off") == before
    assert "which files its method used is not known" in caplog.text
    assert record.read_text() == text


@pytest.fixture
def twice(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same metric in a package of another name, ``twice``; its source."""
    source = project / "other_metric" / "__init__.py"
    source.parent.mkdir()
    source.write_text(METRIC.replace("scaled", "twice").replace("Scaled", "Twice"))
    (source.parent / "more").write_text("0")
    monkeypatch.setitem(registry.METRICS, "twice", "other_metric:Twice")
    registry._table.cache_clear()
    return source


@pytest.fixture
def table(project: Path) -> Path:
    """A file that no package has."""
    path = project / "tables" / "factor"
    path.parent.mkdir()
    path.write_text("1.0")
    return path


def check_that_both_follow(table: Path, project: Path) -> None:
    metrics = ("scaled", "twice")
    for factor in (1.0, 4.0):
        table.write_text(str(factor))
        assert {numbers(project, "off", metrics=metrics)[name] for name in metrics} == {factor}


@pytest.mark.usefixtures("twice")
def test_data_that_a_module_reads_for_another_plugin_first_count_for_both(project: Path, table: Path) -> None:
    (project / "chooser_scale.py").write_text(f"FACTOR = float(open({str(table)!r}).read())\n")
    check_that_both_follow(table, project)


def test_data_that_the_module_of_another_plugin_reads_and_those_of_reduce_count(
    project: Path, table: Path, twice: Path
) -> None:
    late = table.with_name("late")
    late.write_text("0.0")
    first, factor = project / "chooser_metric" / "__init__.py", "factor + self.more"
    first.write_text(f"READ = open({str(table)!r}).read()\n" + METRIC.replace(factor, "float(READ)"))
    text = twice.read_text().replace(factor, "float(chooser_metric.READ)")
    added = f"totals[..., 1] + float(open({str(late)!r}).read())"
    twice.write_text("import chooser_metric\n" + text.replace("totals[..., 1]", added))
    check_that_both_follow(table, project)
    made = Store(project.parent / "store").stored()[0].manifest.measured_by
    assert str(table) in made["twice"]
    assert str(late) in made["twice"]
    assert str(late) not in made["scaled"]


def test_data_of_a_module_that_another_plugin_alone_uses_do_not_count(
    project: Path, table: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (project / "chooser_table.py").write_text(f"FACTOR = float(open({str(table)!r}).read())\n")
    source = project / "chooser_metric" / "__init__.py"
    source.write_text(
        "import chooser_table\n" + METRIC.replace("factor + self.more", "chooser_table.FACTOR + self.more")
    )
    assert numbers(project, "off")["scaled"] == 1.0
    (record,) = (project.parent / "store").glob("cells/*/*/*/used/method.json")
    assert "tables/factor" not in record.read_text()
    table.write_text("2.0")
    with caplog.at_level(logging.WARNING):
        assert numbers(project, "off")["scaled"] == 2.0
    assert "trains anew" not in caplog.text


def test_numbers_say_which_version_of_a_metric_made_them(project: Path) -> None:
    def version() -> dict[str, str]:
        numbers(project, "off")
        results = Store(project.parent / "store").stored()
        assert results[0].manifest.measured_by == results[-1].manifest.measured_by
        return results[0].manifest.measured_by["scaled"]

    first = version()
    (project / "chooser_scale.py").write_text("FACTOR = 2.0\n")
    second = version()
    scale, more = (str(project / name) for name in ("chooser_scale.py", "chooser_metric/more"))
    assert {place for place in first if first[place] != second.get(place)} == {scale}
    Path(more).write_text("1")
    third = version()
    assert {place for place in second if second[place] != third.get(place)} == {"code", more}


def test_a_method_that_a_server_of_processes_imports_counts_with_what_it_reads(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = project / "chooser" / "__init__.py"
    data = tmp_path / "ending"
    data.write_text("now")
    source.write_text(METHOD + f"\nREAD = open({str(data)!r}).read()\n")
    monkeypatch.setenv(processes.PRELOAD, "chooser")
    runpy.run_module("harness.distributed.preload")
    assert str(data) in opened_by["chooser"].states


@pytest.mark.parametrize("way", ["record and list", "record and checkpoint"])
def test_answers_of_which_nothing_tells_the_files_are_not_used(
    way: str, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = numbers(project, "off")
    (done,) = cells(project)
    shutil.rmtree(done.parents[1] / "used")
    done.unlink()
    if way == "record and checkpoint":
        shutil.rmtree(done.parent)
    (project / "chooser_archs" / "plain.py").write_text("WORDS = 'a large effusion'\n")
    with caplog.at_level(logging.WARNING):
        after = numbers(project, "off")
    assert after != before
    assert after == numbers(project, "off", "another")
    assert "which files its method used is not known" in caplog.text


@pytest.mark.parametrize("change", [lambda used: {}, lambda used: dict.fromkeys(used, "0" * 16)])
def test_a_seal_that_says_that_a_metric_used_nothing_is_damage(
    change: Callable[[dict[str, str]], dict[str, str]], project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert numbers(project, "off")["scaled"] == 1.0
    (project / "chooser_scale.py").write_text("FACTOR = 3.0\n")
    seals = list((project.parent / "store").glob("cells/*/*/*/statistics/full/scaled-*.sha256.json"))
    for seal in seals:
        facts = json.loads(seal.read_text())
        assert facts["used"]
        facts["used"] = change(facts["used"])
        seal.write_text(json.dumps(facts, indent=1) + "\n")
    with caplog.at_level(logging.WARNING):
        assert numbers(project, "off")["scaled"] == 3.0
    assert seals
    assert "sha256.json: checksum mismatch" in caplog.text


def test_a_file_that_changes_while_a_method_trains_counts_as_unknown(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = numbers(project, "off")
    shutil.rmtree(project.parent / "store")
    plain, save = project / "chooser_archs" / "plain.py", Cell.empty_checkpoint

    def edited(cell: Cell) -> Path:
        plain.write_text(plain.read_text() + "# later\n")
        return save(cell)

    with monkeypatch.context() as patch:
        patch.setattr(Cell, "empty_checkpoint", edited)
        numbers(project, "off")
    with caplog.at_level(logging.WARNING):
        assert numbers(project, "off") == before
    assert "which files its method used is not known" in caplog.text
