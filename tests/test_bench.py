"""``harness bench methods``: pieces of work in processes of their own, beside official code."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import bench_methods
from harness.bench_methods import learned_methods, methods_benchmark
from harness.errors import HarnessError


def test_work_is_done_and_measured(capsys: pytest.CaptureFixture[str]) -> None:
    for work in ("predict", "training step"):
        bench_methods._work("dia", "tiny", work, "cpu")
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert found["seconds"] > 0
        assert found["gib"] > 0.1


def test_controls_and_unknown_names_are_refused() -> None:
    assert "dia" in learned_methods()
    assert "template" not in learned_methods()
    for name in ("template", "dai"):
        with pytest.raises(HarnessError, match=f"--methods {name}: no method with a network"):
            methods_benchmark([name], "tiny", None)


def test_official_code_stands_beside_ours_at_the_paper_s_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = SimpleNamespace(FOLDER="clone", SOURCE="https://example.org/clone", WORKS=("decode",))
    monkeypatch.setattr(bench_methods, "_peer_of", lambda name: peer)
    measured = lambda *_: {"seconds": 8.0 if _[-1] else 2.0, "gib": 1.0}  # noqa: E731
    monkeypatch.setattr(bench_methods, "_measured", measured)
    with pytest.raises(HarnessError, match="no folder clone"):
        methods_benchmark(["dia"], "paper", tmp_path)
    (tmp_path / "clone").mkdir()
    (line,) = methods_benchmark(["dia"], "paper", tmp_path)
    assert (line["ours"], line["peer"], line["ratio"]) == ("2 s", "8 s", "4.0")
    (line,) = methods_benchmark(["dia"], "tiny", tmp_path)
    assert "peer" not in line


def test_a_failing_process_says_why() -> None:
    with pytest.raises(HarnessError, match=r"dia \(tiny\), nothing: KeyError"):
        bench_methods._measured("dia", "tiny", "nothing", "cpu", None)


def test_robustness_from_statistics_and_against_predicting_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness import bench_robustness, registry
    from harness.datasets.example import ExampleData

    monkeypatch.setattr(
        registry,
        "load",
        lambda kind, name, load=registry.load: ExampleData if kind == "datasets" else load(kind, name),
    )
    monkeypatch.setattr(bench_robustness, "_METHOD", "template")
    monkeypatch.setattr(bench_robustness, "_STUDIES", 24)
    (line,) = bench_robustness.peer_benchmark()
    assert float(line["ratio"]) > 0
    assert "4 rates x 20 mask seeds" in line["benchmark"]
    monkeypatch.setattr(bench_robustness, "_METHODS", 2)
    bench_robustness._from_statistics()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["studies"] == 24
    assert found["seconds"] > 0


def test_data_is_filled_and_loaded_faster_than_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness import bench_data, cli

    monkeypatch.setattr(bench_data, "_SECONDS", 0.05)
    arguments = ["bench", "data", "--images", "6", "--size", "300", "--format", "json"]
    monkeypatch.setattr("sys.argv", ["harness", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    rows = json.loads(capsys.readouterr().out)
    kinds = [row["benchmark"].split(":")[0].split(" as ")[0] for row in rows]
    assert kinds == ["filling the store", "epoch 2"] * 2
    assert all(float(row["ratio"]) > 1 for row in rows[1::2])


def test_pixels_that_differ_end_the_data_benchmark_and_so_do_sizes_out_of_range(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from harness import bench_data

    for images, size in ((1, 300), (4, 8), (4, 10_000)):
        with pytest.raises(HarnessError, match=f"--images {images} --size {size}: out of range"):
            bench_data.data_benchmark(images, size)
    monkeypatch.setattr(bench_data._Decoded, "__getitem__", lambda self, view: 0)
    with pytest.raises(AssertionError, match="file 0: the two loaders give other pixels"):
        bench_data.data_benchmark(2, 64)
