"""Flags and YAML are the same thing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.core.config import ExecutionConfig, RunConfig, RunSettings, parse_overrides, split_list
from harness.core.errors import HarnessError
from harness.core.names import did_you_mean
from harness.evaluation.benchmark import resolve_device
from tests.helpers.toys import Learner, LearnerConfig, ToyData


def test_zero_is_always_among_the_rates() -> None:
    assert RunConfig(missing=(0.4, 0.2, 0.4)).rates == (0.0, 0.2, 0.4)


def test_overrides_are_typed_like_yaml() -> None:
    assert parse_overrides(["dia.lr=1e-3", "dia.training.epochs=3", "kedr.name=x"]) == {
        "dia": {"lr": 0.001, "training.epochs": 3},
        "kedr": {"name": "x"},
    }


def test_yaml_and_flags_give_the_same_configuration(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("methods: [dia]\nmissing: [0.2]\nmask-seeds: 3\nset: {dia: {lr: 0.1}}\n")
    flags = {"methods": ("dia",), "missing": (0.2,), "mask_seeds": 3, "set": {"dia": {"lr": 0.1}}}
    assert RunSettings.build({}, file) == RunSettings.build(flags)


@pytest.mark.parametrize(
    ("written", "listed"),
    [
        ("methods: template\nmissing: 0.5", "methods: [template]\nmissing: [0.5]"),
        ("methods: dia,template\nseeds: 3", "methods: [dia, template]\nseeds: [3]"),
        (
            "metrics: bleu\nmissing: 0.2, 0.4\nseeds: 0,1",
            "metrics: [bleu]\nmissing: [0.2, 0.4]\nseeds: [0, 1]",
        ),
    ],
)
def test_yaml_may_have_one_value_where_a_list_is_due(tmp_path: Path, written: str, listed: str) -> None:
    short, long = tmp_path / "short.yaml", tmp_path / "long.yaml"
    short.write_text(written)
    long.write_text(listed)
    assert RunSettings.build({}, short) == RunSettings.build({}, long)


@pytest.mark.parametrize(
    "written",
    [
        "{dia: {lr: 0.1, training.epochs: 3}, kedr: {lr: 0.2}}",
        "{dia.lr: 0.1, dia.training.epochs: 3, kedr.lr: 0.2}",
        "{dia: {lr: 0.1}, dia.training.epochs: 3, kedr: {lr: 0.2}}",
        "[dia.lr=0.1, dia.training.epochs=3, kedr.lr=0.2]",
    ],
)
def test_yaml_has_overrides_nested_flat_or_as_the_flag_takes_them(tmp_path: Path, written: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"set: {written}\n")
    overrides = {"dia": {"lr": 0.1, "training.epochs": 3}, "kedr": {"lr": 0.2}}
    assert RunSettings.build({}, file).config.set == overrides


@pytest.mark.parametrize(
    ("written", "message"),
    [("{dia: 3}", "set: dia names no setting"), ("[{dia.lr: 3}]", "an item of set is no text")],
)
def test_overrides_of_yaml_that_name_nothing_are_explained(
    tmp_path: Path, written: str, message: str
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"set: {written}\n")
    with pytest.raises(HarnessError, match=message):
        RunSettings.build({}, file)


def test_flat_names_reach_the_model_that_has_them() -> None:
    settings = RunSettings.of(preset="base", device="cpu", workers=2)
    assert settings == RunSettings(RunConfig(preset="base"), ExecutionConfig(device="cpu", workers=2))
    assert not set(RunConfig.model_fields) & set(ExecutionConfig.model_fields)
    assert settings.replaced(preset="tiny", workers=None) == RunSettings.of(device="cpu")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("misssing: [0.2]", "did you mean missing"),
        ("missing: [2]", "--missing"),
        ("missing: half", "--missing"),
        ("missing: true", "--missing: .*a number was expected, but got yes"),
        ("seeds: [yes]", "--seeds: .*a number was expected, but got yes"),
        ("missing: {frontal: no}", "--missing: .*a number was expected, but got no"),
        ("workers: yes", "--workers: .*a number was expected, but got yes"),
        ("methods: {dia: 1}", "--methods: input should be a list"),
        ("- dia", "mapping"),
        ("a: [", "YAML"),
    ],
)
def test_bad_yaml_is_explained(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(content)
    with pytest.raises(HarnessError, match=says):
        RunSettings.build({}, file)


def test_list_items_have_the_right_kind() -> None:
    assert split_list("0.2, 0.4", "--missing", float) == (0.2, 0.4)
    with pytest.raises(HarnessError, match="--seeds 1,x: expected comma-separated whole numbers"):
        split_list("1,x", "--seeds", int)


def test_suggestions() -> None:
    assert did_you_mean("retreival", ["template", "retrieval"]) == "did you mean retrieval?"
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b"


def test_overriding_one_field_of_a_section_leaves_the_others() -> None:
    method = Learner.create(ToyData().info, overrides={"training.epochs": 5})
    default = LearnerConfig().training
    assert method.config.training == default.model_copy(update={"epochs": 5})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"methods: caf\xe9", "not UTF-8 at byte"),
        (b"limit: 5\nlimit: 6", "the key limit stands twice"),
        (b"methods: &a [*a]", "aliases"),
        (b"set: {kedr: {x: &b [1, 1], y: [*b, *b]}}", "aliases"),
        (b"limit: " + b"1" * 5000, "a value that cannot be read"),
        (b"limit: " + b"[" * 5000, "nested too deep"),
        (b"#" * (2**24 + 1), "more than 16 MiB"),
        (b"methods: !!python/object:os.system x", "tag"),
    ],
)
def test_hostile_yaml_is_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    with pytest.raises(HarnessError, match=f"--config {file}: (?:not valid YAML: )?.*{says}"):
        RunSettings.build({}, file)


def test_two_values_for_one_setting_are_refused() -> None:
    assert parse_overrides(["dia.a=1", "dia.a=1", "dia.b=2"]) == {"dia": {"a": 1, "b": 2}}
    with pytest.raises(HarnessError, match=r"--set dia\.a: two values for one setting"):
        parse_overrides(["dia.a=1", "dia.a=2"])


def test_dates_are_text_and_a_pipe_without_a_writer_is_empty(tmp_path: Path) -> None:
    assert parse_overrides(["kedr.a=2020-13-45", "kedr.b=2020-01-02"]) == {
        "kedr": {"a": "2020-13-45", "b": "2020-01-02"}
    }
    with pytest.raises(HarnessError, match="is no YAML value"):
        parse_overrides(["kedr.a=&a [*a]"])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(HarnessError, match="expected a mapping"):
        RunSettings.build({}, tmp_path / "pipe")


@pytest.mark.parametrize("device", ["cuda:x", "cuda:-1", "gpu", "cuda:", "cpu:x"])
def test_a_device_that_cannot_be_is_one_line(device: str) -> None:
    with pytest.raises(HarnessError, match=f"--device {device}: "):
        resolve_device(device)


def test_a_list_without_items_is_refused_where_it_must_have_one() -> None:
    assert split_list(",", "--missing") == ()
    assert split_list(None, "--metrics", empty=False) is None
    with pytest.raises(HarnessError, match="--metrics ' , ': no name in it"):
        split_list(" , ", "--metrics", empty=False)
