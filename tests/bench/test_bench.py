"""``harness bench``: each benchmark is a row beside its peer, and one that fails takes no other with it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.bench import (
    data,
    history,
    index,
    labeler,
    methods,
    metrics,
    robustness,
    sampling,
    scaling,
    suite,
    tables,
)
from harness.bench.rows import Row, measured
from harness.cli.app import app
from harness.core.errors import CorruptFileError, HarnessError
from harness.core.types import DatasetInfo, Inputs, Prediction, Study, Task
from harness.datasets.opening import open_dataset
from tests.helpers.toys import Quiet

MACHINE: dict[str, Any] = {
    "date": "2026-01-02T03:04:05Z",
    "cpu": "a processor | with a bar",
    "cores": 2,
    "cpus": 4,
    "threads": 1,
    "torch": "2",
    "python": "3",
    "load": 0.5,
    "harness": "0.1.0",
    "commit": "abc",
}


def test_work_is_done_and_measured(capsys: pytest.CaptureFixture[str]) -> None:
    for work in ("predict", "training step"):
        methods._work(json.dumps({"name": "dia", "preset": "tiny", "work": work}))
        report = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert report["seconds"] > 0
        assert report["gib"] > 0.1


def test_controls_and_unknown_names_are_refused(tmp_path: Path) -> None:
    assert "dia" in methods.learned_methods()
    assert "template" not in methods.learned_methods()
    for name in ("template", "dai"):
        with pytest.raises(HarnessError, match=f"--methods {name}: no method with a network"):
            suite.run(suite.Options(("methods",), (name,)), Quiet())
    with pytest.raises(HarnessError, match=r"--peers .*absent: no such folder"):
        methods.check(["dia"], tmp_path / "absent")


def test_official_code_stands_beside_ours_at_the_paper_s_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = SimpleNamespace(FOLDER="clone", SOURCE="https://example.org/clone", WORKS=("decode",))
    monkeypatch.setattr(methods, "_peer_of", lambda name: peer)
    monkeypatch.setattr(methods, "timed", lambda job: {"seconds": 8.0 if job.folder else 2.0, "gib": 1.0})
    (row,) = methods.method_benchmark("dia", "paper", tmp_path)
    assert (row.state, row.ratio) == ("no peer", None)
    assert row.note.endswith("clone: clone https://example.org/clone into it")
    (tmp_path / "clone").mkdir()
    (row,) = methods.method_benchmark("dia", "paper", tmp_path)
    assert (row.ours, row.peer, row.ratio, row.state, row.peer_gib) == (2.0, 8.0, 4.0, "ok", 1.0)
    (row,) = methods.method_benchmark("dia", "tiny", tmp_path)
    assert (row.peer, row.state) == (None, "no peer")


def test_a_failing_process_says_why() -> None:
    with pytest.raises(HarnessError, match=r"dia \(tiny\), nothing: KeyError"):
        methods.timed(methods.Job("dia", "tiny", "nothing"))
    with pytest.raises(HarnessError, match=r"dia \(tiny\), predict: stopped after 0 s"):
        methods.timed(methods.Job("dia", "tiny", "predict", seconds=0.01))


def test_metrics_name_their_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_IMAGES", (60,))
    monkeypatch.setattr(metrics, "_FEATURES", 40)
    peers = [row.of.split()[0] for row in metrics.fid_benchmark()]
    assert peers == ["clean-fid", "torch-fidelity"]
    monkeypatch.setattr(metrics, "_PEER_TRIALS", 1)
    monkeypatch.setattr(metrics, "_TRIALS", 50)
    (row,) = metrics.compare_benchmark()
    assert row.benchmark.startswith("compare, BLEU-4, 50 trials")
    assert "extrapolated" in row.of
    assert row.ratio > 0


def test_robustness_from_statistics_and_against_predicting_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.core import registry
    from harness.datasets.example import ExampleData

    monkeypatch.setattr(
        registry,
        "load",
        lambda kind, name, load=registry.load: ExampleData if kind == "datasets" else load(kind, name),
    )
    monkeypatch.setattr(robustness, "_METHOD", "template")
    monkeypatch.setattr(robustness, "_STUDIES", 24)
    (row,) = robustness.peer_benchmark()
    assert row.ratio > 0
    assert "4 rates x 20 mask seeds" in row.benchmark
    monkeypatch.setattr(robustness, "_METHODS", 2)
    robustness._from_statistics()
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["studies"] == 24
    assert report["processor_seconds"] > 0
    assert report["naive"] > report["seconds"] > 0


def test_data_is_filled_and_loaded_faster_than_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_SECONDS", 0.05)
    done = CliRunner().invoke(app, ["bench", "data", "--images", "6", "--size", "300", "--format", "json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    kinds = [row["benchmark"].split(":")[0].split(" as ")[0] for row in report["rows"]]
    assert kinds == ["filling the store", "epoch 2"] * 2
    assert all(row["ratio"] > 1 and row["unit"] == "images/s" for row in report["rows"][1::2])
    assert {"cpu", "cores", "threads", "torch", "date", "commit", "load"} <= set(report["machine"])


def test_pixels_that_differ_end_the_data_benchmark_and_so_do_sizes_out_of_range(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for images, size in ((1, 300), (4, 8), (4, 10_000)):
        with pytest.raises(HarnessError, match=f"--images {images} --size {size}: out of range"):
            suite.run(suite.Options(("data",), images=images, size=size), Quiet())
    monkeypatch.setattr(data._Decoded, "__getitem__", lambda self, view: np.zeros((224, 224, 1), np.uint8))
    reporter = Quiet()
    rows = suite.run(suite.Options(("data",), images=2, size=64), reporter)
    assert [row.state for row in rows] == ["failed", "failed"]
    assert rows[0].note == "AssertionError: file 0: the two loaders give other pixels"
    assert set(reporter.failures) == {"data, jpg", "data, png"}


def test_every_label_where_the_labeler_is_asked_for_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scores = [
        {
            "label": label,
            "positives": 3.0,
            "found": 2.0,
            "precision": 1.0,
            "recall": 0.5,
            "f1": 0.6,
            "reports": 9,
            "reports_per_second": 100.0,
        }
        for label in ("Edema", "micro", "macro")
    ]
    monkeypatch.setattr(labeler, "agreement", lambda table: scores)
    alone = suite.run(suite.Options(("labeler",)), Quiet())
    kinds = len({pair.kind for pair in labeler.read_pairs()})
    assert [row.unit for row in alone] == [
        *["of 1"] * (1 + kinds),
        *["reports"] * 14,
        *["F1"] * 6,
        "reports/s",
    ]
    assert all(row.ours >= 0.98 for row in alone if row.unit == "of 1" and row.ours)
    without_a_run = suite.Options(("labeler", "run"), store=tmp_path / "runs")
    assert len(suite.run(without_a_run, Quiet())) == 5


def test_samplers_are_held_against_the_last_one() -> None:
    info = DatasetInfo("toy", frozenset({Task.REPORT}), ("frontal",), False, 32, fingerprint="toy")
    rng = np.random.default_rng(0)
    shape = (info.image_size, info.image_size, info.channels)
    studies = [
        Study(f"s{i}", f"p{i}", "test", {"frontal": pixels}, report="a report")
        for i, pixels in enumerate(rng.integers(0, 256, (12, *shape), dtype=np.uint8))
    ]

    class Drawer:
        """Two samplers: one of them returns the truth, the other a black image."""

        SAMPLERS: ClassVar = {"quick": {"sampler": "quick"}, "slow": {"sampler": "slow"}}
        card = SimpleNamespace(name="drawer", reads=frozenset({"frontal"}))

        def sample_with(self, sampler: str) -> None:
            self.sampler = sampler

        def synthesize(self, inputs: Inputs, targets: list[str]) -> list[Prediction]:
            assert targets == ["frontal"]
            assert inputs.reports == ["a report"] * len(inputs)
            assert not inputs.present["frontal"].any()
            truth = {study.id: study.images["frontal"] for study in studies}
            factor = int(self.sampler == "slow")
            return [Prediction(images={"frontal": truth[name] * np.uint8(factor)}) for name in inputs.ids]

    (row,) = sampling.compared(Drawer(), "drawer", studies, info)
    assert (row.unit, row.of, row.state) == ("images/s", "slow", "ok")
    assert row.ratio == pytest.approx(row.ours / row.peer)
    before, after = row.note.removeprefix("fid_lite0 ").removesuffix(", n 12").split(" against ")
    assert float(before) > 0.1 > float(after)


@pytest.fixture
def some(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts quick benchmarks in the place of ``metrics``."""

    def put(**works: Callable[[], list[Row]]) -> None:
        monkeypatch.setattr(metrics, "BENCHMARKS", works)

    return put


def _row(ratio: float) -> list[Row]:
    return [measured("metrics", "one", 1.0, peer=ratio, of="a peer")]


def test_one_failure_is_a_row_and_exit_code_1(some: Callable[..., None]) -> None:
    def broken() -> list[Row]:
        raise ModuleNotFoundError("No module named 'peer'\nmore")

    some(broken=broken, one=lambda: _row(3.0))
    done = CliRunner().invoke(app, ["bench", "metrics", "--format", "json"])
    assert done.exit_code == 1
    first, second = json.loads(done.stdout)["rows"]
    assert (first["state"], first["note"]) == ("failed", "ModuleNotFoundError: No module named 'peer'")
    assert (second["ratio"], second["state"]) == (3.0, "ok")


def test_without_an_argument_all_are_measured(
    some: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    some(one=lambda: _row(3.0))
    alone = {"one": lambda: [measured("robustness", "two", 1.0)]}
    monkeypatch.setattr(robustness, "BENCHMARKS", alone)
    monkeypatch.setattr(methods, "learned_methods", lambda: ["dia"])
    monkeypatch.setattr(methods, "method_benchmark", lambda name, *_: [measured("methods", name, 1.0)])
    monkeypatch.setattr(labeler, "agreement", list)
    monkeypatch.setattr(
        labeler, "labeler_benchmark", lambda every: [measured("labeler", "f", 0.9, unit="F1")]
    )
    monkeypatch.setattr(data, "data_benchmark", lambda kind, *_: [measured("data", kind, 1.0)])
    done = CliRunner().invoke(app, ["bench", "--format", "json", "--store", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    assert [row["suite"] for row in rows] == [
        *("metrics", "methods", "sampling", "robustness", "labeler", "data", "data", "run")
    ]
    assert rows[2]["state"] == rows[-1]["state"] == "skipped"
    assert "harness run --methods codi_xr" in rows[2]["note"]
    assert "harness run keeps the times" in rows[-1]["note"]


def test_history_gives_the_last_ratio_of_this_machine(some: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    arguments = ["bench", "metrics", "--history", str(path), "--format", "markdown"]
    for ratio, before in ((3.0, ""), (4.0, "3.0"), (5.0, "4.0")):
        some(one=lambda ratio=ratio: _row(ratio))
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        header, _, row = done.stdout.splitlines()[-3:]
        assert "before" in header
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[3:5] == [f"{ratio:.1f}", before]
    lines = path.read_text().splitlines()
    assert [json.loads(line)["rows"][0]["ratio"] for line in lines] == [3.0, 4.0, 5.0]
    assert history.before(path, MACHINE) == {}, "another machine's ratios say nothing"


def test_a_history_that_is_none_is_an_error_before_anything_is_measured(
    some: Callable[..., None], tmp_path: Path
) -> None:
    some(one=lambda: pytest.fail("measured"))
    path = tmp_path / "history.jsonl"
    history.append(path, {"machine": MACHINE, "rows": []})
    path.write_text(path.read_text() + '{"machine"', encoding="utf-8")
    with pytest.raises(CorruptFileError, match="line 2 is no run of benchmarks"):
        history.before(path, MACHINE)
    history.append(path, {"machine": MACHINE, "rows": []})
    assert len(path.read_text().splitlines()) == 3, "a half line of somebody else's swallows no other"
    done = CliRunner().invoke(app, ["bench", "metrics", "--history", str(path)])
    assert isinstance(done.exception, CorruptFileError)


def test_markdown_goes_between_its_marks_and_nowhere_else(some: Callable[..., None], tmp_path: Path) -> None:
    page = tmp_path / "bench.md"
    rows = [
        *_row(3.0),
        measured("metrics", "rate", 30.0, unit="images/s", peer=60.0),
        Row("metrics", "<b>two</b> | three", note="why\nnot", state="failed"),
        Row("run", "a run", note="none", state="skipped"),
    ]
    marks = "<!-- harness bench {0} -->\nold {0}\n<!-- end of harness bench {0} -->\n"
    page.write_text("# Head\n\n" + marks.format("metrics") + "\n" + marks.format("run") + "\nTail\n")
    tables.put_into(page, MACHINE, rows)
    tables.put_into(page, MACHINE, rows)
    written = page.read_text()
    assert written.startswith("# Head\n\n<!-- harness bench metrics -->\n")
    assert written.endswith("\n" + marks.format("run") + "\nTail\n"), "what was skipped keeps its table"
    assert "old metrics" not in written
    body = written.splitlines()
    assert any("a processor | with a bar" in line and "no GPU" in line for line in body)
    assert "| one | 1 s | 3 s | 3.0 | a peer |" in body
    assert "| rate | 30 images/s | 60 images/s | 0.5 |  |" in body
    assert r"| \<b\>two\</b\> \| three |  |  |  | failed: why not |" in body

    some(one=lambda: pytest.fail("measured"))
    done = CliRunner().invoke(app, ["bench", "metrics", "data", "--into", str(page)])
    assert "nothing between <!-- harness bench data -->" in str(done.exception)
    assert page.read_text() == written


def test_the_page_of_results_has_a_place_for_every_benchmark() -> None:
    tables.check_page(Path(__file__).parents[2] / "docs" / "results" / "bench.md", suite.SUITES)


def test_a_process_that_ends_says_why_without_its_command(some: Callable[..., None]) -> None:
    def ended(message: str) -> list[Row]:
        raise subprocess.CalledProcessError(3, ["/secret/python", "-c", "..."], stderr=message)

    some(one=lambda: ended("Traceback\nValueError: no\n"), two=lambda: ended(""))
    rows = suite.run(suite.Options(("metrics",)), Quiet())
    assert [row.note for row in rows] == ["ValueError: no", "a process ended with 3"]


def test_an_index_of_mimic_s_size_is_opened_without_pixels(tmp_path: Path) -> None:
    index.write(tmp_path, 300)
    index.open_and_mask(tmp_path)
    dataset = open_dataset("mimic-cxr", tmp_path)
    assert sum(len(dataset.studies(split)) for split in ("train", "val", "test")) == 300
    images = sum(path.suffix == ".jpg" for path in tmp_path.rglob("*"))
    assert 450 < images < 550  # the release has 377 thousand of 227 thousand studies
    assert dataset.studies("test")[0].context


def test_scaling_has_a_row_per_size_and_exponents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {name: scaling.KINDS[name] for name in ("compare", "calibration")}
    monkeypatch.setattr(scaling, "KINDS", kinds)
    page = tmp_path / "page.md"
    page.write_text("<!-- harness bench scaling -->\n<!-- end of harness bench scaling -->\n")
    done = CliRunner().invoke(app, ["bench", "scaling", "--sizes", "300,100,200", "--into", str(page)])
    assert done.exit_code == 0, done.output
    lines = [line.strip("|").split(" | ") for line in page.read_text().splitlines() if line[:1] == "|"][2:]
    names = [line[0].strip() for line in lines]
    assert [name.rsplit(": ")[-1] for name in names] == [
        *("100 studies", "200 studies", "300 studies"),
        *("exponent of processor time", "exponent of peak memory"),
    ] * 2
    assert all("GiB" in line[1] for name, line in zip(names, lines, strict=True) if "studies" in name)
    of_exponents = [line for name, line in zip(names, lines, strict=True) if "exponent" in name]
    assert all("power of n" in line[1] or "none: 300 studies take only" in line[-1] for line in of_exponents)
    assert "s of one processor" in lines[5][-1]


def test_the_exponent_is_that_of_what_grows() -> None:
    sizes = [1_000, 10_000, 100_000]
    power, count = scaling._exponent(sizes, [2.0 + 1e-3 * size for size in sizes], 2.05)  # of 50 studies
    assert (power, count) == (pytest.approx(1.0), 3)
    power, count = scaling._exponent(sizes, [0.5 + 1e-9 * (size - 50) ** 2 for size in sizes], 0.5)
    assert (power, count) == (pytest.approx(2.0), 2)
    growth = [
        value + 4.0 for value in (1.2, 7.5, 30.0)
    ]  # the first process began 0.3 s earlier than the others
    assert scaling._exponent([1_000, 5_000, 20_000], growth, 4.0)[0] == pytest.approx(1.02, abs=0.01)
    assert scaling._exponent(sizes, [1.0, 1.0, 0.9], 1.0) == (None, 0)
    assert scaling._exponent(sizes, [1.001, 1.002, 1.05], 1.0) == (None, 0), "no exponent of noise"
    for wrong in ([1_000], [1_000, 1_000], [10, 1_000], [1_000, 10**9]):
        with pytest.raises(HarnessError, match="--sizes"):
            suite.run(suite.Options(("scaling",), sizes=tuple(wrong)), Quiet())


def test_made_up_reports_are_like_reports() -> None:
    texts = list(scaling._reports(np.random.default_rng(0), 300))
    assert len(set(texts)) == 300
    assert 30 <= np.mean([len(text.split()) for text in texts]) <= 50


def test_a_gpu_that_is_not_there_is_one_clear_error() -> None:
    done = CliRunner().invoke(app, ["bench", "labeler", "--device", "cuda:7"])
    assert "CUDA devices found" in str(done.exception)


def test_scoring_is_measured_in_a_process_without_the_user_s_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[dict[str, str]] = []

    def ran(command: list[str], **options: Any) -> None:
        truth, ours = (json.loads(Path(path).read_text()) for path in command[4:6])
        assert len(truth) == len(ours) == 590
        assert command[1:4] == ["-m", "harness.cli", "score"]
        seen.append(options["env"])

    monkeypatch.setenv("HARNESS_GREEN", "/somewhere")
    monkeypatch.setattr(metrics.subprocess, "run", ran)
    (row,) = metrics.score_benchmark()
    assert row.state == "no peer"
    assert "of processor time" in row.note
    assert "HARNESS_GREEN" not in seen[0]
    assert not Path(seen[0]["HARNESS_CACHE"]).exists()
