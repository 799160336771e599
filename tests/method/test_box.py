"""A box refuses what holds the data, in whatever way it is reached for, and lets through what is honest."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.datasets.example import ExampleData
from harness.method.batching import collate
from harness.method.box import codec, inside, rules, shared_memory
from harness.method.box.box import Box, BoxError, Boxes, Limits, confinement
from harness.method.box.by_name import ByName
from harness.method.box.ending import exit_code
from harness.method.box.rules import Own, rules_for
from harness.method.box.wire import Channel, WireError, copied

pytestmark = pytest.mark.process

DATA = ExampleData()
TARGET = "tests.helpers.prober:Prober"
confined = pytest.mark.skipif(not confinement(), reason="this kernel confines nothing")
Prober = Callable[..., Box]


@pytest.fixture(scope="module")
def boxes() -> Iterator[Boxes]:
    starter = Boxes(libraries=())
    yield starter
    starter.close()


@pytest.fixture
def prober(boxes: Boxes, tmp_path: Path) -> Iterator[Prober]:
    folder = tmp_path / "own"
    folder.mkdir()
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "reports.csv").write_text("the answers")
    begun: list[Box] = []

    def begin(attempt: str, target: str | None = None, **limits: Any) -> Box:
        chosen = str(hidden / "reports.csv") if target is None else target
        overrides = {"attempt": attempt, "target": chosen}
        rules = rules_for(Own("tests.helpers.prober"), {}, [str(hidden)], [str(folder)])
        box = Box.start(boxes, rules, folder, Limits(**limits))
        begun.append(box)
        settings = {"variant": None, "preset": "tiny", "overrides": overrides, "device": "cpu"}
        box.ask("plug", target=TARGET, info=codec.info_out(DATA.info), settings=settings)
        return box

    yield begin
    for box in begun:
        box.close()


def report_of(box: Box) -> str | None:
    inputs = codec.inputs_out(collate(DATA.studies("test")[:2], DATA.info))
    return codec.predictions_in(box.ask("predict", inputs=inputs)["predictions"])[0].report


WAYS = ("by_open", "by_folder", "by_link", "by_child", "by_worker", "by_c", "by_database")


@confined
@pytest.mark.parametrize("way", WAYS)
def test_hidden_files_are_refused_and_seen(way: str, prober: Prober, tmp_path: Path) -> None:
    box = prober(way)
    expected = {"by_child": "CalledProcessError", "by_database": "OperationalError"}
    assert report_of(box) == expected.get(way, "PermissionError")
    assert box.opens is not None
    assert str(tmp_path / "hidden" / "reports.csv") in box.opens.paths


@confined
def test_the_data_of_packages_is_hidden_and_so_is_everything_that_no_rule_names(
    prober: Prober, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_text("a store")
    assert report_of(prober("by_open", str(tmp_path / "elsewhere"))) == "PermissionError"
    pytest.importorskip("torchxrayvision")
    from importlib.util import find_spec

    spec = find_spec("torchxrayvision")
    assert spec is not None
    assert spec.origin is not None
    reports = Path(spec.origin).parent / "data" / "NLMCXR_reports.tgz"
    assert reports.exists()
    assert report_of(prober("by_open", str(reports))) == "PermissionError"
    assert report_of(prober("by_open", spec.origin)) == "done"


@confined
def test_modules_beside_hidden_data_stay_when_their_folder_changes(
    boxes: Boxes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, own = tmp_path / "project", tmp_path / "own"
    (project / "data").mkdir(parents=True)
    own.mkdir()
    (project / "beside_data").mkdir()
    (project / "beside_data" / "__init__.py").write_text("from tests.helpers.prober import Prober\n")
    monkeypatch.syspath_prepend(project)
    rules = rules_for(Own("beside_data"), {}, [str(project / "data")], [str(own)])
    box = Box.start(boxes, rules, own, Limits())
    try:
        (project / "new.txt").touch()
        assert box.ask("describe", target="beside_data:Prober")["card"]
    finally:
        box.close()


def test_modules_asked_for_by_name_are_those_of_pythons_own_finder(tmp_path: Path) -> None:
    for name in ("package/__init__.py", "both/__init__.py", "both.py", "single.py", "bare/data.txt", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    loaders = ((ExtensionFileLoader, EXTENSION_SUFFIXES), (SourceFileLoader, SOURCE_SUFFIXES))
    finder = FileFinder(str(tmp_path), *loaders)
    for name in ("package", "both", "single", "above.single", "bare", "a", "none"):
        expected, spec = finder.find_spec(name), ByName(str(tmp_path)).find_spec(name)
        assert (spec is None) == (expected is None)
        if spec is not None and expected is not None:
            assert spec.origin == expected.origin
            places = spec.submodule_search_locations, expected.submodule_search_locations
            assert list(places[0] or ()) == list(places[1] or ())


@confined
def test_neither_network_nor_other_processes_are_in_reach(prober: Prober) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        assert report_of(prober("by_network")) == "PermissionError"
    assert report_of(prober("by_memory", str(os.getpid()))) == "PermissionError"


@confined
def test_only_its_own_folder_can_be_written(prober: Prober, tmp_path: Path) -> None:
    assert report_of(prober("by_writing", str(tmp_path / "note"))) == "PermissionError"
    assert report_of(prober("by_writing", str(tmp_path / "own" / "note"))) == "done"
    assert report_of(prober("by_temporary_file")) == "done"


@confined
@pytest.mark.parametrize(("devices", "answer"), [([], "PermissionError"), (["/dev/nvidia0"], "done")])
def test_a_driver_of_a_gpu_can_name_its_threads(
    devices: list[str], answer: str, prober: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "_of_nvidia", lambda: devices)
    assert report_of(prober("by_writing", "/proc/thread-self/comm")) == answer
    assert report_of(prober("by_writing", "/proc/self/oom_score_adj")) == "PermissionError"
    assert (
        report_of(prober("by_writing", f"/proc/{os.getpid()}/task/{os.getpid()}/comm")) == "PermissionError"
    )


@confined
def test_nothing_stays_in_shared_memory(prober: Prober, tmp_path: Path) -> None:
    name = f"left-{os.getpid()}"
    box = prober("by_name", name)
    (tmp_path / "own" / "copy").mkdir()
    copy = box.copy(tmp_path / "own" / "copy")
    assert report_of(copy) == "done"
    assert Path("/dev/shm", name).exists()
    copy.close()
    assert not Path("/dev/shm", name).exists()
    assert report_of(prober("by_shared_name", name)) == "PermissionError"
    assert report_of(prober("by_segment")) == "PermissionError"


def test_shared_memory_of_other_processes_stays(tmp_path: Path) -> None:
    before = shared_memory.names(tmp_path)
    (tmp_path / "left").write_text("")
    with open(tmp_path / "used", "w"):
        assert shared_memory.sweep(before, tmp_path) == ["left"]


@confined
def test_a_copy_writes_into_its_own_folder_alone(prober: Prober, tmp_path: Path) -> None:
    box = prober("by_writing", str(tmp_path / "own" / "note"))
    (tmp_path / "own" / "copy").mkdir()
    copy = box.copy(tmp_path / "own" / "copy")
    assert report_of(copy) == "PermissionError"
    assert copy.close() == 0
    assert report_of(box) == "done"


def test_the_environment_holds_no_secrets(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "secret")
    monkeypatch.setenv("HARNESS_OTHER_WEIGHTS", "/weights")
    assert report_of(prober("by_environment", "API_TOKEN")) == "KeyError"
    assert report_of(prober("by_environment", "HARNESS_OTHER_WEIGHTS")) == "done"


def test_a_box_that_dies_sleeps_or_eats_ends_with_its_reason(prober: Prober) -> None:
    with pytest.raises(BoxError, match="ended with code 7"):
        report_of(prober("by_leaving"))
    with pytest.raises(BoxError, match="was ended by SIGSEGV"):
        report_of(prober("by_a_signal"))
    with pytest.raises(BoxError, match="more than 1 seconds"):
        report_of(prober("by_sleeping", seconds=1))
    with pytest.raises(BoxError, match=r"more than 0\.5 GiB"):
        report_of(prober("by_eating", memory_gib=0.5))


def test_a_fork_that_comes_back_out_of_the_method_answers_nothing(prober: Prober) -> None:
    """Answers of it would be taken for those of the next questions."""
    box = prober("by_a_fork")
    for count in (1, 2, 3, 4):
        inputs = codec.inputs_out(collate(DATA.studies("test")[:count], DATA.info))
        assert len(codec.predictions_in(box.ask("predict", inputs=inputs)["predictions"])) == count


def test_where_the_kernel_does_not_tell_python_says_what_a_box_opens(tmp_path: Path) -> None:
    file = tmp_path / "table.txt"
    file.write_text("x")
    os.utime(file, (1e9, 1e9))
    ours, theirs = socket.socketpair()
    process = os.fork()
    if not process:
        ours.close()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inside, "confine", lambda channel, order: False)
            inside.serve(theirs)
        os._exit(0)
    theirs.close()
    box = Box(process, ours, Limits(), lambda number, wait: exit_code(number, 5.0) or 0)
    box.channel.send({})
    settings = {
        "variant": None,
        "preset": "tiny",
        "overrides": {"attempt": "by_open", "target": str(file)},
        "device": "cpu",
    }
    box.ask("plug", target=TARGET, info=codec.info_out(DATA.info), settings=settings)
    assert str(file) not in box.opens.paths
    assert report_of(box) == "done"
    assert box.opens.new()[-1] == str(file)
    assert str(file) in box.opens.opened.states
    assert report_of(box) == "done"
    assert str(file) not in box.opens.new()
    assert box.close() == 0


def test_a_copy_that_dies_says_its_code_and_leaves_the_original_alive(prober: Prober, tmp_path: Path) -> None:
    box = prober("by_leaving")
    copy = box.copy(tmp_path / "own")
    with pytest.raises(BoxError, match="ended with code 7"):
        report_of(copy)
    again = box.copy(tmp_path / "own")
    assert again.close() == 0


def test_what_a_method_raises_has_its_type_and_place_and_no_text(prober: Prober) -> None:
    box = prober("by_open")
    with pytest.raises(BoxError, match=r"^KeyError at") as error:
        box.ask("predict", inputs={})
    assert error.value.kind == "KeyError"


def test_training_in_a_box_gives_what_it_gives_outside(prober: Prober, tmp_path: Path) -> None:
    box = prober("by_open")
    shares: list[float] = []
    train, val = (codec.studies_out(DATA.studies(split)) for split in ("train", "val"))
    box.ask(
        "fit",
        lambda share, status: shares.append(share),
        train=train,
        val=val,
        seed=3,
        folder=str(tmp_path / "own"),
    )
    box.ask("save", folder=str(tmp_path / "own" / "checkpoint"))
    assert shares == [0.5]
    assert (tmp_path / "own" / "checkpoint" / "weights.json").exists()


def test_studies_arrive_as_copies_and_whole() -> None:
    study = DATA.studies("test")[0]
    (other,) = codec.studies_in(copied({"studies": codec.studies_out([study])})["studies"])
    assert (other.id, other.report, other.context) == (study.id, study.report, study.context)
    assert np.array_equal(other.images["frontal"], study.images["frontal"])
    assert not np.shares_memory(other.images["frontal"], study.images["frontal"])
    assert other.attributes == study.attributes
    info = codec.info_in(copied(codec.info_out(DATA.info)))
    assert info == DATA.info


@pytest.mark.parametrize(
    "content",
    [
        b"\x02" + b"\0" * 7 + b"\x02" + b"\0" * 7 + b"[][]",
        b"\x01" + b"\0" * 7 + b"\x02" + b"\0" * 7 + b"{[]",
        b"\xff" * 16,
        b"\x02" + b"\0" * 7 + b"\x0a" + b"\0" * 7 + b'{}[["O",[]]]',
    ],
)
def test_what_is_no_message_is_refused(content: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(content)
        theirs.close()
        with pytest.raises((WireError, EOFError)):
            Channel(ours).receive()


def test_predictions_of_another_shape_are_refused() -> None:
    wrong: tuple[Any, ...] = ([{}], 5, [{"report": 1, "probabilities": None, "images": None}])
    for content in wrong:
        with pytest.raises(WireError):
            codec.predictions_in(content)


def test_clocks_of_boxes_can_be_ahead() -> None:
    code = (
        "import time, datetime as d; real = time.time(); from harness.method.box.clocks import set_ahead;"
        "old = d.datetime.now(); set_ahead(86400 * 40); days = (d.date.today() - old.date()).days;"
        "assert time.time() - real > 86400 * 39 and 39 <= days <= 41 and isinstance(old, d.datetime);"
        "assert d.datetime.now() - old > d.timedelta(39) and time.localtime().tm_year >= old.year;"
        "assert d.datetime(2020, 1, 1).year == 2020 and d.datetime.now(d.UTC).tzinfo is d.UTC"
    )
    import subprocess

    from harness.core.children import child_environment

    subprocess.run([sys.executable, "-c", code], check=True, env=child_environment())
