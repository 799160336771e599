"""What a plugin replaces in this process is put back, and the plugin is named."""

from __future__ import annotations

import abc
import builtins
import collections
import copy
import json
import math
import os
import pickle
import resource
import signal
import string
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.core import files, registry, words
from harness.core.errors import PluginError
from harness.core.types import Prediction
from harness.core.untouched import untouched
from harness.evaluation.run import run
from harness.metrics import base
from harness.metrics.base import MetricOutput
from harness.metrics.text.bleu import Bleu


def nothing(*values: object) -> int:
    return 0


CHANGES: dict[str, tuple[Any, str]] = {
    "numpy.mean": (np, "mean"),
    "json.dumps": (json, "dumps"),
    "builtins.sum": (builtins, "sum"),
    "collections.Counter.get": (collections.Counter, "get"),
    "collections.Counter.most_common": (collections.Counter, "most_common"),
    "abc.ABCMeta.__call__": (abc.ABCMeta, "__call__"),
    "harness.metrics.base.sum": (base, "sum"),
    "harness.metrics.base.mean_of": (base, "mean_of"),
    "harness.metrics.text.bleu.Bleu.outputs": (Bleu, "outputs"),
    "harness.core.types.Prediction.report": (Prediction, "report"),
    "harness.core.words.Words.split": (words.Words, "split"),
    "harness.core.words._BY_NAME": (words, "_BY_NAME"),
    "harness.metrics.text.bleu.Bleu.signature": (Bleu, "signature"),
    "math.pi": (math, "pi"),
    "string.punctuation": (string, "punctuation"),
}


def emptied(value: Any) -> None:
    value.clear()


def exchanged(value: Any) -> None:
    first, second, *_ = value
    value[first] = value[second]


def renamed(value: Any) -> None:
    object.__setattr__(value[0], "name", "another")


def with_another_split(value: Any) -> None:
    object.__setattr__(value["r2gen-iu"], "split", list)


INSIDE: dict[str, tuple[Any, str, Callable[[Any], None]]] = {
    "harness.core.words._BY_NAME": (words, "_BY_NAME", emptied),
    "harness.core.registry.METRICS": (registry, "METRICS", exchanged),
    "harness.metrics.text.bleu.Bleu.outputs": (Bleu, "outputs", renamed),
    "harness.core.words._BY_NAME.r2gen-iu": (words, "_BY_NAME", with_another_split),
}


@pytest.mark.parametrize("name", INSIDE)
def test_what_changes_inside_a_constant_is_put_back(name: str) -> None:
    owner, attribute, change = INSIDE[name]
    value = getattr(owner, attribute)
    before, text = copy.copy(value), repr(value)
    with pytest.raises(PluginError, match=r"metric mine replaced harness\.[\w.]+, which"):  # noqa: SIM117
        with untouched("metric mine"):
            change(value)
    assert value == before
    assert repr(value) == text


def other_default(function: Any) -> None:
    function.__defaults__ = (1, 1)


def other_code(function: Any) -> None:
    function.__code__ = nothing.__code__


@pytest.mark.parametrize(
    ("function", "change"),
    [(base.mean_of, other_default), (base.mean_of, other_code), (files.read_checked_json, other_default)],
)
def test_what_a_function_does_and_its_defaults_are_put_back(
    function: Any, change: Callable[[Any], None]
) -> None:
    before = function.__code__, function.__defaults__, function.__kwdefaults__
    for _ in range(2):
        with pytest.raises(PluginError, match=rf"replaced harness\.\w+\.\w+\.{function.__name__}, which"):  # noqa: SIM117
            with untouched("metric mine"):
                change(function)
        assert (function.__code__, function.__defaults__, function.__kwdefaults__) == before


def test_defaults_by_name_are_put_back() -> None:
    for _ in range(2):
        with pytest.raises(PluginError, match=r"replaced harness\.evaluation\.run\.run, which"):  # noqa: SIM117
            with untouched("metric mine"):
                run.__kwdefaults__["tracks"] = False
        assert run.__kwdefaults__ == {"tracks": True}


def test_the_fields_of_a_dataclass_are_put_back() -> None:
    before = dict(Prediction.__dataclass_fields__)
    with pytest.raises(PluginError, match=r"replaced harness\.core\.types\.Prediction\."):  # noqa: SIM117
        with untouched("metric mine"):
            Prediction.__dataclass_fields__.clear()
    assert dict(Prediction.__dataclass_fields__) == before


def test_a_new_attribute_that_objects_would_show_is_removed() -> None:
    with pytest.raises(PluginError, match=r"replaced harness\.metrics\.text\.bleu\.Bleu\.versions, which"):  # noqa: SIM117
        with untouched("metric mine"):
            Bleu.versions = property(lambda self: {})  # type: ignore[attr-defined]
    assert not hasattr(Bleu, "versions")


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_replaced_or_hidden_is_put_back(name: str) -> None:
    owner, attribute = CHANGES[name]
    before = dict(vars(owner))
    with pytest.raises(PluginError, match=f"metric mine replaced {name}, which"):  # noqa: SIM117
        with untouched("metric mine"):
            setattr(owner, attribute, nothing)
    after = vars(owner)
    assert after.keys() == before.keys()
    assert all(after[key] is value for key, value in before.items())


def test_settings_of_torch_limits_and_the_umask_are_put_back() -> None:
    number = resource.RLIMIT_FSIZE
    mask, limit = os.umask(0o022), resource.getrlimit(number)
    threads = torch.get_num_threads()
    try:
        with untouched("metric mine"):
            torch.set_float32_matmul_precision("medium")
            torch.set_default_dtype(torch.float64)
            torch.set_default_device("meta")
            torch.set_grad_enabled(False)
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.set_num_threads(threads + 1)
            torch.autocast("cpu", dtype=torch.bfloat16).__enter__()
            torch.backends.cudnn.benchmark = True
            os.umask(0)
            resource.setrlimit(number, (1000, limit[1]))
        assert torch.get_float32_matmul_precision() == "highest"
        assert torch.zeros(1).dtype is torch.float32
        assert torch.zeros(1).device.type == "cpu"
        assert torch.is_grad_enabled()
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == threads
        assert not torch.is_autocast_enabled("cpu")
        assert not torch.backends.cudnn.benchmark
        assert os.umask(0o022) == 0o022
        assert resource.getrlimit(number) == limit
    finally:
        os.umask(mask)


def test_settings_of_torch_that_a_plugin_imports_first_are_the_usual_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    with untouched("metric mine"):
        sys.modules["torch"] = torch
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.enabled = False
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cudnn.enabled


def test_the_code_of_a_function_is_put_back() -> None:
    code = base.mean_of.__code__
    with pytest.raises(PluginError, match=r"replaced harness\.metrics\.base\.mean_of, which"):  # noqa: SIM117
        with untouched("metric mine"):
            base.mean_of.__code__ = (lambda totals, value=0, count=1: totals[..., 0] * 0 + 0.25).__code__
    assert base.mean_of.__code__ is code


def test_what_python_adds_to_a_class_is_no_change() -> None:
    metric = Bleu()
    with untouched("metric mine"):
        copy.deepcopy(metric)
        pickle.dumps(MetricOutput("a"))
        for each in Bleu.__mro__:
            getattr(each, "__annotations__", None)


def test_a_module_that_another_stands_for_is_put_back() -> None:
    with pytest.raises(PluginError, match="metric mine replaced numpy, which"):  # noqa: SIM117
        with untouched("metric mine"):
            sys.modules["numpy"] = None  # type: ignore[assignment]
    assert sys.modules["numpy"] is np


def test_imports_work_as_before_and_what_was_added_for_them_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    before, modules, handles = sys.path, dict(sys.modules), resource.getrlimit(resource.RLIMIT_NOFILE)
    folders, finders = list(sys.path), list(sys.meta_path)
    with untouched("metric mine"):
        sys.path = ["of-a-plugin"]
        sys.meta_path.clear()
        sys.modules.pop("tomllib", None)
        sys.modules.pop("yaml")
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, handles[1]))
    assert sys.path is before
    assert sys.path == [*folders, "of-a-plugin"]
    assert sys.meta_path == finders
    assert all(sys.modules[name] is module for name, module in modules.items())
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == handles


def test_what_hides_nothing_stays_and_folder_and_depth_are_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, depth = os.getcwd(), sys.getrecursionlimit()
    with untouched("metric mine"):
        os.chdir(tmp_path)
        sys.setrecursionlimit(depth + 7)
        monkeypatch.setattr(base, "of_a_plugin", nothing, raising=False)
    assert (os.getcwd(), sys.getrecursionlimit()) == (folder, depth)
    assert base.of_a_plugin is nothing  # type: ignore[attr-defined]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    def write(code: str) -> str:
        (tmp_path / "plugin_at_import.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setitem(registry.METRICS, "mine", "plugin_at_import:Mine")
        monkeypatch.setattr(registry, "_in_distribution", lambda module: not module.startswith("plugin_"))
        registry._table.cache_clear()
        return "mine"

    return write


def test_an_import_that_replaces_a_function_is_refused_each_time(written: Callable[[str], str]) -> None:
    mean = np.mean
    name = written("import numpy\nnumpy.mean = max\nclass Mine: pass\n")
    for _ in range(2):
        with pytest.raises(PluginError, match=r"mine cannot be loaded: its import replaced numpy\.mean"):
            registry.load("metrics", name)
    assert np.mean is mean
    registry._table.cache_clear()


@pytest.mark.timeout(60, method="thread")
def test_handlers_of_signals_stay_and_no_alarm_is_left() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    with untouched("metric mine"):
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        signal.alarm(60)
    assert {number: signal.getsignal(number) for number in before} == before
    assert signal.alarm(0) == 0
    with pytest.raises(TimeoutError), untouched("metric mine"):
        ring()
    with untouched("metric mine"):
        signal.signal(signal.SIGPROF, lambda number, frame: pytest.fail("it went off"))
        signal.setitimer(signal.ITIMER_PROF, 60, 60)
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGPROF) is signal.SIG_DFL


def ring() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(5)
