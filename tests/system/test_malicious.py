"""Foreign files, names and texts that would run, escape or mark up something: none does."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors import SafetensorError
from torchxrayvision.models import DenseNet

from harness.cli.progress import ConsoleReporter
from harness.core.config import RunSettings
from harness.core.errors import CorruptFileError, HarnessError
from harness.core.feature_store import FeatureStore
from harness.core.files import seal, write_checked_json
from harness.core.slugs import slug
from harness.core.types import DatasetInfo, Task
from harness.evaluation.run import run_serially
from harness.evaluation.tracking import tracked
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import formats, terminal
from harness.leaderboard.render.blocks import Screen
from harness.method.contract import Method
from harness.metrics.clinical import chexbert
from harness.metrics.images.extractors import Inception, XrayDenseNet
from harness.papers import compare as papers
from harness.papers import library
from harness.papers.render import formats as paper_formats
from harness.store.arrays import load_array
from harness.store.store import Store
from methods.common.pretrained import Source, read_weights
from methods.controls import noise, retrieval
from tests.cli.test_cli import invoke
from tests.helpers.leaderboards import add
from tests.helpers.toys import Quiet
from tests.method.test_training import fit

HOSTILE = (
    "[red]x[/red] <script>alert(1)</script> \\input{/etc/passwd} $(touch y) `z` [a](javascript:b) "
    "\x1b[2J\u202e"
)


class Payload:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "unpickled"


def pickled(trace: Path) -> bytes:
    return pickle.dumps(Payload(trace))


def as_checkpoint(trace: Path) -> bytes:
    stream = io.BytesIO()
    torch.save({"state_dict": Payload(trace)}, stream)
    return stream.getvalue()


def as_array(trace: Path) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([Payload(trace)], dtype=object), allow_pickle=True)
    return stream.getvalue()


def as_arrays(trace: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("bleu_4.npy", as_array(trace))
    return stream.getvalue()


def test_the_payload_would_run(trace: Path) -> None:
    torch.load(io.BytesIO(as_checkpoint(trace)), weights_only=False)
    assert trace.exists()


POISONS = [pickled, as_checkpoint, as_array]


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_training_state_is_refused(
    tmp_path: Path, trace: Path, poison: Callable[[Path], bytes]
) -> None:
    with pytest.raises(RuntimeError, match="pulled the plug"):
        fit(tmp_path / "fit", stop_in_epoch=3)
    path = tmp_path / "fit" / "last.ckpt"
    path.write_bytes(poison(trace))
    with pytest.raises(CorruptFileError, match=f"{path}: not a training state.*delete"):
        fit(tmp_path / "fit")
    assert not trace.exists()


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("name", ["checkpoint/model.safetensors", "checkpoint/artifacts.json"])
def test_a_poisoned_checkpoint_is_set_aside(
    toy_world: Path, trace: Path, name: str, poison: Callable[[Path], bytes]
) -> None:
    """With a seal that fits: an attacker who can write the file can write the seal, too."""
    settings = toy_config(toy_world, "learner")
    run_serially(settings, Quiet())
    (cell,) = settings.config.store.glob("cells/toy/learner/*")
    (cell / name).write_bytes(poison(trace))
    seal(cell / name)
    for path in (cell / "predictions").iterdir():
        path.unlink()
    assert run_serially(settings, Quiet())[1]
    assert (cell / "checkpoint.damaged").exists()
    assert not trace.exists()


def test_poisoned_statistics_and_replicates_are_refused(toy_world: Path, trace: Path) -> None:
    settings = toy_config(toy_world, "echo")
    run_serially(settings, Quiet())
    path = next(settings.config.store.rglob("bleu-*.npy"))
    path.write_bytes(as_array(trace))
    seal(path)
    with pytest.raises(CorruptFileError, match=f"{path}: not an array.*delete"):
        load_array(path)
    (replicates,) = settings.config.store.rglob("results/**/*.npz")
    replicates.write_bytes(as_arrays(trace))
    (stored,) = Store(settings.config.store).stored()
    with pytest.raises(CorruptFileError, match="not the bootstrap replicates"):
        stored.replicates()
    assert not trace.exists()


@pytest.mark.parametrize("poison", [pickled, as_array, as_arrays])
@pytest.mark.parametrize(
    ("control", "file"), [(retrieval.Retrieval, "features.safetensors"), (noise.Noise, "noise.npz")]
)
def test_poisoned_features_of_controls_are_refused(
    tmp_path: Path, trace: Path, control: type[Method[Any]], file: str, poison: Callable[[Path], bytes]
) -> None:
    info = DatasetInfo("toy", frozenset({Task.REPORT}), ("frontal",), False, 12, fingerprint="toy")
    method = control.create(info)
    (tmp_path / file).write_bytes(poison(trace))
    (tmp_path / "index.json").write_text('{"reports": [], "labels": null}')
    with pytest.raises((CorruptFileError, SafetensorError)):
        method.load(tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize("poison", POISONS)
def test_poisoned_weights_of_inception_are_refused(
    tmp_path: Path, trace: Path, monkeypatch: pytest.MonkeyPatch, poison: Callable[[Path], bytes]
) -> None:
    path = tmp_path / "inception.pth"
    path.write_bytes(poison(trace))
    monkeypatch.setenv("HARNESS_INCEPTION_WEIGHTS", str(path))
    with pytest.raises(CorruptFileError, match=f"{path}: not Inception's weights"):
        Inception().network()
    assert not trace.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_network_is_read_without_running_anything(
    tmp_path: Path, trace: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    """In the format of today's torch and in that of the years in which such files were made."""
    torch.manual_seed(0)
    network, path = DenseNet().eval(), tmp_path / XrayDenseNet.file
    monkeypatch.setenv("HARNESS_XRV_WEIGHTS", str(tmp_path))
    images = torch.rand(1, 1, 224, 224) * 255
    torch.save(network, path, _use_new_zipfile_serialization=zipped)
    with torch.inference_mode():
        expected = network.features2(images / 255 * 2048 - 1024)
        assert torch.equal(XrayDenseNet().network()(images), expected)
    network.classifier.odd = Payload(trace)
    torch.save(network, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CorruptFileError, match=f"{path}: not a network: it asks for posix.mkdir"):
        XrayDenseNet().network()
    network.classifier.odd = Builder()
    torch.save(network, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CorruptFileError, match=f"{path}: not a network: it calls DenseNet"):
        XrayDenseNet().network()
    path.write_bytes(b"damaged")
    with pytest.raises(CorruptFileError, match=f"{path}: not a network"):
        XrayDenseNet().network()
    assert not trace.exists()


class Script(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def inception_of(path: Path) -> None:
    Inception().network()


def xray_of(path: Path) -> None:
    XrayDenseNet().network()


def backbone_of(path: Path) -> None:
    read_weights(Source(str(path), "backbone_weights", "timm's efficientnet_lite0"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("load", [inception_of, xray_of, chexbert._tensors, backbone_of])
def test_an_archive_of_torchscript_is_never_handed_to_its_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Callable[[Path], object]
) -> None:
    path = tmp_path / XrayDenseNet.file
    torch.jit.script(Script()).save(str(path))
    monkeypatch.setenv("HARNESS_XRV_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HARNESS_INCEPTION_WEIGHTS", str(path))
    loaded: list[object] = []
    monkeypatch.setattr(torch.jit, "load", lambda *options, **more: loaded.append(options))
    with pytest.raises(HarnessError, match=f"{path}"):
        load(path)
    assert not loaded


class Builder:
    """Makes a network from another file, which its package would unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return DenseNet, ()


@pytest.mark.parametrize("poison", POISONS)
def test_poisoned_weights_of_a_backbone_are_refused(
    tmp_path: Path, trace: Path, poison: Callable[[Path], bytes]
) -> None:
    path = tmp_path / "backbone.pth"
    path.write_bytes(poison(trace))
    with pytest.raises(HarnessError, match=f"backbone_weights: {path}"):
        read_weights(Source(str(path), "backbone_weights", "timm's efficientnet_lite0"))
    assert not trace.exists()


def test_a_poisoned_feature_store_is_computed_anew(
    tmp_path: Path, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "features" / "made"
    folder.mkdir(parents=True)
    (folder / "data.mdb").write_bytes(pickled(trace) * 500)
    store = FeatureStore("made")
    store.write({b"key": b"value"})
    assert store.read([b"key"]) in ([None], [b"value"])
    assert not trace.exists()


def toy_config(folder: Path, *methods: str, **rest: Any) -> RunSettings:
    values = {"missing": (0.4,), "drop": "context", "metrics": ("bleu",), **rest}
    return RunSettings.of(methods=methods, dataset="toy", store=folder / "store", **values)


NAMES = ["../../x", "$(touch x)", "; touch x", "a\nb", "\x1b[2J", "..", "", "x" * 5000]


@pytest.mark.parametrize("name", [name for name in NAMES if name])
@pytest.mark.parametrize("flag", ["--methods", "--dataset", "--metrics", "--preset", "--drop", "--mechanism"])
def test_names_with_shell_or_path_characters_are_unknown_names(
    toy_world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flag: str, name: str
) -> None:
    monkeypatch.chdir(toy_world)
    options = {
        "--methods": "learner",
        "--dataset": "toy",
        "--metrics": "bleu",
        "--missing": "0.4",
        flag: name,
    }
    given = [word for option in options.items() for word in option]
    code, _, err = invoke(capsys, "run", *given, "--store", str(toy_world / "inside" / "store"))
    assert code == 2
    assert err.startswith("error: ")
    assert err.rstrip("\n").isprintable()
    outside = {path.name for path in toy_world.iterdir()} - {"inside", "work.log"}
    assert not outside


@pytest.mark.parametrize(
    "value", [*NAMES, "[red]x[/red]", "[/]", "{0}", "!!python/object/apply:os.mkdir [x]"]
)
def test_values_with_shell_or_path_characters_stay_inside(
    toy_world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """They become part of a row's label, and so of file names."""
    monkeypatch.chdir(toy_world)
    store = toy_world / "inside" / "store"
    options = ["--dataset", "toy", "--methods", "echo", "--metrics", "bleu", "--no-figures"]
    code, out, err = invoke(capsys, "run", *options, "--store", str(store), "--set", f"echo.fail={value}")
    assert code in (0, 2), err
    assert "Traceback" not in err
    assert "\x1b[2J" not in out + err
    assert {path.name for path in toy_world.iterdir()} <= {"inside", "work.log"}
    if code == 0:
        (label,) = {row.method for row in Store(store).results()}
        assert label.startswith("echo")
        assert all(path.resolve().is_relative_to(store) for path in store.rglob("*"))


@pytest.mark.parametrize("name", ["..", ".", "../../x", "/etc/passwd", "a/../b", "x" * 5000, "\0", ".hidden"])
def test_a_slug_is_one_plain_file_name(tmp_path: Path, name: str) -> None:
    made = slug(name)
    assert (tmp_path / made).parent == tmp_path
    assert made not in ("", ".", "..")
    assert not made.startswith(".")
    (tmp_path / f".{made}.json.sha256.json.{2**22}.tmp"[:255]).touch()
    assert slug(name + "y") != made or len(name) < 200


def test_hostile_labels_are_inert_in_bars(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=400, color_system=None)
    with ConsoleReporter(console) as reporter:
        reporter.phase("echo[fail=[/red]]", "predict [/]")(0.5, "[/bold] 3/4 [link=x]")
        reporter.progress.refresh()
        reporter.done("echo[fail=[/red]]", "[/bold]")
    assert "echo[fail=[/red]]" in stream.getvalue()
    assert "[/bold] 3/4 [link=x]" in stream.getvalue()


@pytest.mark.parametrize("kind", ["markdown", "html", "latex", "csv", "json"])
def test_a_result_file_with_hostile_labels_is_inert_in_every_export(tmp_path: Path, kind: str) -> None:
    text = formats.render(Leaderboard.of(hostile_store(tmp_path)), kind).decode()
    assert "\x1b" not in text
    assert "\u202e" not in text
    if kind == "markdown":
        prose = re.sub(r"`[^`]*`", "", text)  # what stands in code is shown as it is
        assert "<script>" not in prose
        assert "[a](javascript" not in prose
    if kind == "html":
        assert "<script>alert" not in text
    if kind == "latex":
        assert r"\input{/etc" not in text


def test_a_result_file_with_hostile_labels_is_inert_in_the_terminal(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=400, color_system=None)
    for table in Leaderboard.of(hostile_store(tmp_path)).tables:
        for part in terminal.render(table, Screen.of(console)):
            console.print(part)
    said = stream.getvalue()
    assert "[red]x[/red] <script>" in said
    assert "\x1b[2J" not in said
    assert "\u202e" not in said


def hostile_store(folder: Path) -> Store:
    """A store whose result files someone has written by hand."""
    store = Store(folder / "store")
    add(store, "fine", {"bleu_4": 0.2})
    add(store, "odd", {"bleu_4": 0.1})
    for path in (store.root / "results").rglob("*.json"):
        content = json.loads(path.read_text())
        if content["manifest"]["method"] == "odd":
            for row in content["rows"]:
                row |= {"method": HOSTILE, "detail": HOSTILE, "signature": HOSTILE}
            content["manifest"]["method"] = HOSTILE
            content["manifest"]["cost"]["device"] = HOSTILE
            del content["sha256"]
            write_checked_json(path, content)
    return store


MARKS = {"\x1b", "\u202e"}


def test_trackers_see_no_escape_code(tmp_path: Path) -> None:
    store = hostile_store(tmp_path)
    seen = repr(list(tracked(store.root, store.results())))
    assert "fine" in seen
    assert "\\x1b" not in seen
    assert "\\u202e" not in seen


@pytest.mark.parametrize("format_", ["markdown", "latex", "html", "csv", "json"])
def test_a_papers_file_with_escape_codes_is_inert_in_every_report(tmp_path: Path, format_: str) -> None:
    text = (library.PUBLISHED / "kedr.yaml").read_text(encoding="utf-8")
    lines = [r'title: "K \e[2J\u202e"' if each.startswith("title:") else each for each in text.splitlines()]
    file = tmp_path / "kedr.yaml"
    file.write_text("\n".join(lines))
    report = papers.compare(library.load(str(file)), papers.Results())
    shown = paper_formats.text([report], format_)
    assert "2J" in shown or format_ == "csv"  # which has no titles
    assert not MARKS & set(shown)
    assert "\\u001b" not in shown


def test_ids_and_names_of_systems_with_escape_codes_are_inert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "\x1b[2J\u202e[/]"
    files = {}
    for file, number in (("true", 12), ("ours", 12), ("short", 11)):
        files[file] = tmp_path / f"{file}.json"
        files[file].write_text(json.dumps({f"{name}{n}": f"clear lungs {name} {n}" for n in range(number)}))
    words = ["score", str(files["true"]), "--preset", "rexrank"]
    systems = ["--system", f"[/]={files['ours']}", "--system", f"{name}={files['true']}"]
    for arguments, code in (
        ([*words, str(files["ours"]), "--format", "table"], 0),
        ([*words, str(files["ours"]), "--format", "json"], 0),
        ([*words, str(files["short"])], 2),
        (["compare", "--references", str(files["true"]), *systems, "--metrics", "bleu", "--trials", "20"], 0),
    ):
        given, out, err = invoke(capsys, *arguments)
        assert given == code, err
        assert "Traceback" not in err
        assert not MARKS & set(out + err)


def test_yaml_builds_no_objects(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"methods: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    with pytest.raises(HarnessError, match="not valid YAML"):
        RunSettings.build({}, file)
    assert not (tmp_path / "made").exists()
