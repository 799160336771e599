"""The fingerprint of a method's source follows what the method imports, and nothing else."""

from __future__ import annotations

import importlib
import os
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.new import Plugin, new_plugin
from harness.core import registry
from harness.method import fingerprint, sources

PLUGIN = """
import numpy as np
import helpers_of_plugin.scores as scores
from helpers_of_plugin import LIMIT
from package_of_plugin import near

class Method:
    def fit(self):
        folder = Path(__file__).parent / "arrays" / "prior.npy"
        beside = Path(__file__).parents[1] / "beside_of_plugin.data" / "words.bin"
        labels = {"results": 1}
        place = os.environ.get("HARNESS_OF_PLUGIN_WEIGHTS")
        self.chosen = "chosen_of_plugin"
        importlib.resources.files("bare_of_plugin").joinpath("words.bin")
        return importlib.resources.files("data_of_plugin").joinpath("words.txt")

    def predict(self):
        from helpers_of_plugin.late import words
        from space_of_plugin.inner.deep import mod
        import packed_of_plugin
        return words
"""
FILES = {
    "package_of_plugin/arrays/prior.npy": "0.5",
    "package_of_plugin/weights.bin": "0.5",
    "package_of_plugin/arrays/deeper/prior.npy": "0.5",
    "chosen_of_plugin.py": "VALUE = 1\n",
    "beside_of_plugin.data/words.bin": "a",
    "results/words.bin": "a",
    "bare_of_plugin/words.bin": "a",
    "data_of_plugin/__init__.py": "",
    "data_of_plugin/words.txt": "a",
    "space_of_plugin/inner/deep/mod.py": "VALUE = 1\n",
    "package_of_plugin/__init__.py": "",
    "package_of_plugin/method.py": PLUGIN,
    "package_of_plugin/near.py": "from . import nearer\nfrom .deep.inside import f\n",
    "package_of_plugin/nearer.py": "VALUE = 1\n",
    "package_of_plugin/deep/inside.py": "def f():\n    return 1\n",
    "package_of_plugin/deep/__init__.py": "",
    "package_of_plugin/deep/priors.yaml": "groups: {}\n",
    "package_of_plugin/unrelated.py": "VALUE = 1\n",
    "package_of_plugin/other/__init__.py": "",
    "package_of_plugin/other/priors.yaml": "groups: {}\n",
    "package_of_plugin/tables/deeper/units.json": "{}\n",
    "helpers_of_plugin/__init__.py": "LIMIT = 3\n",
    "helpers_of_plugin/scores.py": "BIAS = 0.5\n",
    "helpers_of_plugin/late.py": "raise RuntimeError('imported')\n",
    "helpers_of_plugin/unrelated.py": "VALUE = 1\n",
    "site-packages/library_of_plugin/__init__.py": "VALUE = 1\n",
}


def fresh(method_class: type) -> str:
    """The fingerprint as another process computes it."""
    fingerprint._is_installed.cache_clear()
    fingerprint._fingerprint.cache_clear()
    return fingerprint.code_fingerprint(method_class)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A method's class in a package that imports from another one, both below ``tmp_path``."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    linked = tmp_path / "linked_of_plugin"
    linked.mkdir()
    (linked / "deep.bin").write_text("a")
    (tmp_path / "package_of_plugin" / "linked").symlink_to(linked)
    (linked / "loop").symlink_to(tmp_path / "package_of_plugin")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    before = set(sys.modules)
    yield importlib.import_module("package_of_plugin.method").Method
    for name in set(sys.modules) - before:
        if "_of_plugin" in name:
            del sys.modules[name]


@pytest.mark.parametrize(
    "name",
    [
        "package_of_plugin/__init__.py",
        "package_of_plugin/method.py",
        "package_of_plugin/near.py",
        "package_of_plugin/nearer.py",
        "package_of_plugin/deep/inside.py",
        "package_of_plugin/deep/priors.yaml",
        "package_of_plugin/tables/deeper/units.json",
        "helpers_of_plugin/__init__.py",
        "helpers_of_plugin/scores.py",
        "helpers_of_plugin/late.py",
        "package_of_plugin/weights.bin",
        "package_of_plugin/arrays/prior.npy",
        "package_of_plugin/arrays/deeper/prior.npy",
        "chosen_of_plugin.py",
        "data_of_plugin/words.txt",
        "bare_of_plugin/words.bin",
        "beside_of_plugin.data/words.bin",
        "linked_of_plugin/deep.bin",
        "space_of_plugin/inner/deep/mod.py",
    ],
)
def test_every_imported_module_counts(plugin: type, tmp_path: Path, name: str) -> None:
    before = fresh(plugin)
    assert fresh(plugin) == before
    with open(tmp_path / name, "a") as file:
        file.write("# changed\n")
    assert fresh(plugin) != before


@pytest.mark.parametrize(
    "name",
    [
        "package_of_plugin/unrelated.py",
        "package_of_plugin/other/priors.yaml",
        "helpers_of_plugin/unrelated.py",
        "results/words.bin",
    ],
)
def test_modules_that_are_not_imported_do_not_count(plugin: type, tmp_path: Path, name: str) -> None:
    before = fresh(plugin)
    (tmp_path / name).write_text("VALUE = 2\n")
    assert fresh(plugin) == before


@pytest.mark.parametrize(
    "code",
    [
        "import importlib\ndef f(name):\n    return importlib.import_module(f'package_of_plugin.{name}')\n",
        "exec(open('x').read())\n",
        "import pkgutil\nMODULES = pkgutil.iter_modules(['x'])\n",
        "import sys\nsys.path.insert(0, 'x')\n",
        "NAMES = '*.py'\n",
    ],
)
def test_all_code_of_a_package_counts_where_it_chooses_code(plugin: type, tmp_path: Path, code: str) -> None:
    (tmp_path / "package_of_plugin/near.py").write_text(code)
    before = fresh(plugin)
    (tmp_path / "package_of_plugin/other/__init__.py").write_text("VALUE = 2\n")
    assert fresh(plugin) != before


def test_the_evaluation_mode_of_a_network_chooses_no_code(plugin: type, tmp_path: Path) -> None:
    (tmp_path / "package_of_plugin/near.py").write_text("def f(network):\n    return network.eval()\n")
    before = fresh(plugin)
    (tmp_path / "package_of_plugin/other/__init__.py").write_text("VALUE = 2\n")
    assert fresh(plugin) == before


def test_a_file_that_is_named_in_full_counts_and_may_not_be_read_for_it(plugin: type, tmp_path: Path) -> None:
    weights = tmp_path / "elsewhere.bin"
    weights.write_text("1")
    for code in (
        f"WEIGHTS = open({str(weights)!r})\n",
        f"PLACE = {str(weights)!r}\n",
        f"PLACE = Path({str(tmp_path)!r}) / 'elsewhere.bin'\n",
    ):
        (tmp_path / "package_of_plugin/near.py").write_text(code)
        weights.write_text("1")
        before = fresh(plugin)
        assert weights not in fingerprint.files_of(plugin).values()
        weights.write_text("2")
        assert fresh(plugin) != before


def test_a_module_in_an_archive_counts(plugin: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def packed(name: str, text: str) -> str:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("packed_of_plugin.py", text)
        monkeypatch.syspath_prepend(str(tmp_path / name))
        return fresh(plugin)

    alone = fresh(plugin)
    digests = [
        alone,
        packed("a.zip", "VALUE = 1"),
        packed("b.zip", "VALUE = 1"),
        packed("c.zip", "VALUE = 2"),
    ]
    assert digests[1] == digests[2]
    assert len(set(digests)) == 3


def test_very_many_files_of_a_folder_count_by_size_and_time(
    plugin: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_MANY", 0)
    before = fresh(plugin)
    file = tmp_path / "package_of_plugin/arrays/prior.npy"
    monkeypatch.setattr(sources, "file_digest", lambda path: pytest.fail(f"{path} was read"))
    assert fresh(plugin) == before
    file.write_text("1.5")
    os.utime(file, ns=(1, 1))
    assert fresh(plugin) != before


def test_weights_that_an_environment_variable_of_the_source_names_count(
    plugin: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint._variables_of.cache_clear()
    assert fingerprint.weights_in_environment(plugin) == {}
    weights = tmp_path / "weights" / "w.bin"
    weights.parent.mkdir()
    weights.write_text("1")
    monkeypatch.setenv("HARNESS_OF_PLUGIN_WEIGHTS", str(weights.parent))
    monkeypatch.setenv("HARNESS_OTHER_WEIGHTS", str(weights.parent))
    before = fingerprint.weights_in_environment(plugin)
    assert list(before["variables"]) == ["HARNESS_OF_PLUGIN_WEIGHTS"]
    weights.write_text("2")
    assert fingerprint.weights_in_environment(plugin) != before


def test_no_module_is_imported_for_it(plugin: type) -> None:
    before = set(sys.modules)
    fresh(plugin)
    assert set(sys.modules) == before
    assert "helpers_of_plugin.late" not in sys.modules, "it raises when it is imported"


def test_places_do_not_count(plugin: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fresh(plugin)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for package in ("package_of_plugin", "helpers_of_plugin", "beside_of_plugin.data"):
        (tmp_path / package).rename(elsewhere / package)
    for name in [name for name in sys.modules if "_of_plugin" in name]:
        del sys.modules[name]
    monkeypatch.syspath_prepend(str(elsewhere))
    assert fresh(importlib.import_module("package_of_plugin.method").Method) == before


def test_an_installed_package_counts_where_it_registers_something(
    plugin: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package_of_plugin/near.py").write_text("import library_of_plugin\n")
    library = tmp_path / "site-packages/library_of_plugin/__init__.py"

    def change_is_seen() -> bool:
        before = fresh(plugin)
        library.write_text(library.read_text() + "# changed\n")
        return fresh(plugin) != before

    assert not change_is_seen()
    monkeypatch.setitem(registry.DATASETS, "of-plugin", "library_of_plugin:Data")
    registry._table.cache_clear()
    assert change_is_seen()
    monkeypatch.undo()
    registry._table.cache_clear()


def covered(method_class: type, monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], Callable[[str], bool]]:
    """Modules whose source counts for a method, and whether a change of one changes its fingerprint."""
    original = fingerprint.source_of
    names: set[str] = set()
    changed: set[str] = set()

    def source(name: str) -> bytes | None:
        content = original(name)
        if content is None:
            return None
        names.add(name)
        return content + b"\n# changed" if name in changed else content

    monkeypatch.setattr(fingerprint, "source_of", source)
    before = fresh(method_class)

    def counts(name: str) -> bool:
        changed.add(name)
        after = fresh(method_class)
        changed.clear()
        return after != before

    return names, counts


def test_builtin_methods_follow_what_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    names, counts = covered(registry.load("methods", "dia"), monkeypatch)
    assert {name.partition(".")[0] for name in names} == {"methods"}
    assert counts("methods.common.layers")
    assert counts("methods.dia.vae")
    assert not counts("methods.vdgen.language")
    assert not counts("methods.controls.noise")


def test_a_new_plugin_follows_the_shared_parts_of_the_builtin_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_plugin(Plugin("method", "followed", "report"), tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "followed"))
    module = importlib.import_module("followed")
    _, counts = covered(module.Followed, monkeypatch)
    assert counts("followed")
    assert counts("methods.common.generation")
    assert counts("methods.common.text")
    assert not counts("methods.dia")
    monkeypatch.delitem(sys.modules, "followed")


def in_notebook(text: str) -> Any:
    """A class whose module has no file, as a notebook's cell defines it."""
    module = types.ModuleType("cells_of_notebook")
    sys.modules[module.__name__] = module
    exec(compile(text, "<cell>", "exec"), vars(module))
    return vars(module)["Method"]


def test_a_class_in_a_notebook_counts_by_its_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    head = "class Method:\n    def predict(self, x):\n"
    body = head + "        return [y for y in x if y in {{'a', 'b', {number}}}]\n"
    texts = [body.format(number=number) for number in (1, 1, 2)]
    first, same, other = (fresh(in_notebook(text)) for text in texts)
    assert first == same != other
    monkeypatch.delitem(sys.modules, "cells_of_notebook")


METRIC = """
from package_of_metric.helper import weight


class Metric:
    \"\"\"Scores.\"\"\"

    def statistics(self):
        return weight() + 1  # a remark
"""
SAME = """
# Another remark.
from package_of_metric.helper import weight
class Metric:
    def statistics(self):
        \"\"\"Of every study.\"\"\"
        return (weight()
                + 1)
"""


def fresh_metric(metric_class: type) -> str:
    """The fingerprint as another process computes it."""
    fingerprint._is_installed.cache_clear()
    fingerprint.metric_fingerprint.cache_clear()
    return fingerprint.metric_fingerprint(metric_class)


def test_what_a_metric_does_counts_and_how_it_is_written_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package_of_metric"
    package.mkdir()
    contents = {"__init__.py": "", "metric.py": METRIC, "helper.py": "def weight():\n    return 2\n"}
    for name, text in contents.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    metric = importlib.import_module("package_of_metric.metric").Metric
    before = fresh_metric(metric)
    (package / "metric.py").write_text(SAME)
    assert fresh_metric(metric) == before
    (package / "metric.py").write_text(SAME.replace("+ 1", "+ 2"))
    assert fresh_metric(metric) != before
    (package / "metric.py").write_text(METRIC)
    (package / "helper.py").write_text("def weight():\n    return 3\n")
    assert fresh_metric(metric) != before
    (package / "helper.py").write_text(contents["helper.py"])
    (package / "words.yaml").write_text("heart: 1\n")
    assert fresh_metric(metric) != before


def test_metrics_of_the_harness_count_the_modules_of_their_family() -> None:
    by_name = {name: type(registry.make_metric(name)) for name in ("bleu", "chexpert_rules_f1")}
    modules = {
        name: set(fingerprint._parts(each, fingerprint.is_of_metrics)) for name, each in by_name.items()
    }
    assert "harness.metrics.text.ngrams" in modules["bleu"]
    assert not any("clinical" in name for name in modules["bleu"])
    assert "harness.metrics.clinical/chexpert_rules.yaml" in modules["chexpert_rules_f1"]
    assert len({fingerprint.metric_fingerprint(each) for each in by_name.values()}) == 2
