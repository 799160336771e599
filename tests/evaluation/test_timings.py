"""Where a run's time went: kept in the store by phase, row and process, and told by ``harness bench run``."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.bench.phases import run_benchmark
from harness.cli.app import app
from harness.core.clock import Span, Watch, during
from harness.core.config import RunSettings
from harness.core.errors import CorruptFileError, HarnessError
from harness.evaluation import run as executors
from harness.evaluation.timings import Timings, kept, last_complete
from tests.helpers.store_hash import contents
from tests.helpers.toys import FAST_METRICS, Quiet


def config(folder: Path, *methods: str, **rest: object) -> RunSettings:
    return RunSettings.of(
        methods=methods, dataset="toy", store=folder / "store", missing=(0.4,), metrics=FAST_METRICS, **rest
    )


def test_a_process_is_in_one_phase_at_a_time() -> None:
    spans: list[Span] = []
    watch = Watch(spans.append)
    with during("nobody measures"):
        pass
    watch.began("import", time.monotonic() - 2.0)
    watch.begin("open data")
    with during("draw"):
        time.sleep(0.05)
    watch.begin("train", "dia")
    watch.end()
    watch.end()
    phases = [(span.label, span.phase) for span in spans]
    assert phases == [("", "import"), ("", "open data"), ("", "draw"), ("", "open data"), ("dia", "train")]
    assert spans[0].seconds >= 2.0
    assert 0.05 <= spans[2].seconds < 1.0
    assert spans[2].processor_seconds < 0.05


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_keeps_the_time_of_every_phase(toy_world: Path, workers: int) -> None:
    given = config(toy_world, "echo", "learner", workers=workers)
    before = time.monotonic()
    assert executors.run(given, Quiet())[1]
    passed = time.monotonic() - before
    (_, run), *others = kept(given.config.store)
    assert not others
    assert run.succeeded
    assert (run.cells, run.trained) == (2, 2)
    by_row = {(share.label, share.phase) for share in run.shares}
    for label in ("echo", "learner", "learner+shuffled-image"):
        assert {(label, "predict full"), (label, "score")} <= by_row
    assert ("echo", "predict context") in by_row
    assert ("learner", "predict context") not in by_row  # it reads no context
    assert ("learner", "train") in by_row
    assert {share.process for share in run.shares} == ({0} if workers == 1 else {0, 1, 2})
    own = sum(share.seconds for share in run.shares if share.process == 0)
    assert 0.9 * run.seconds <= own <= run.seconds + 0.01 <= passed + 0.1

    rows = {row.benchmark.split(":")[0]: row for row in run_benchmark(given.config.store, required=True)}
    assert rows["wall clock"].ours == run.seconds
    assert "train" in rows["cell learner"].note
    assert min(rows["cell learner"].ours, rows["cell echo"].ours) > 0
    chains = [row for name, row in rows.items() if name.startswith("chain of process")]
    assert len(chains) == workers
    assert all(row.ours <= run.seconds + 0.01 and "of processor" in row.note for row in chains)
    work = sum(row.ours for name, row in rows.items() if name.startswith("cell "))
    assert work <= sum(row.ours for row in chains) + 0.01


def test_times_belong_to_no_result_and_the_whole_run_is_told_rather_than_the_last(toy_world: Path) -> None:
    given = config(toy_world, "echo")
    executors.run(given, Quiet())
    first = contents(given.config.store)
    executors.run(given.replaced(mask_seeds=7), Quiet())
    executors.run(given, Quiet())
    assert [run.trained for _, run in kept(given.config.store)] == [1, 0, 0]
    assert last_complete(given.config.store).trained == 1
    same = {name: digest for name, digest in contents(given.config.store).items() if name in first}
    assert same == first
    assert not any(name.startswith("timings") for name in first)


def test_a_failed_run_is_no_complete_one(toy_world: Path) -> None:
    given = config(toy_world, "echo", set={"echo": {"fail": "fit"}})
    assert not executors.run(given, Quiet())[1]
    assert [run.succeeded for _, run in kept(given.config.store)] == [False]
    with pytest.raises(HarnessError, match="knows the times of no complete run"):
        run_benchmark(given.config.store, required=True)
    (row,) = run_benchmark(given.config.store, required=False)
    assert row.state == "skipped"


def test_files_that_hold_no_times_are_named(tmp_path: Path) -> None:
    path = tmp_path / "timings" / "x.seconds.json"
    path.parent.mkdir()
    for text in ('{"schema": 99}', "[]", '{"schema": 1, "shares": [{}]}'):
        path.write_text(text)
        with pytest.raises(CorruptFileError, match=r"x.seconds.json: not the times of a run"):
            kept(tmp_path)


def test_a_command_counts_its_tables_too(toy_world: Path) -> None:
    timings = Timings(Quiet(), time.monotonic() - 3.0)
    given = config(toy_world, "echo")
    executors.run(given, timings)
    timings.begin("tables")
    timings.keep_again()
    ((_, run),) = kept(given.config.store)
    phases = {share.phase: share.seconds for share in run.shares if not share.label}
    assert phases["import"] >= 3.0
    assert "tables" in phases
    assert run.seconds >= 3.0


def test_harness_run_keeps_its_times_from_the_first_import_to_the_last_figure(toy_world: Path) -> None:
    store = toy_world / "store"
    flags = ["--methods", "echo", "--dataset", "toy", "--metrics", "bleu", "--store", str(store)]
    done = CliRunner().invoke(app, ["run", *flags, "--no-figures"])
    assert done.exit_code == 0, done.output
    run = last_complete(store)
    own = {share.phase for share in run.shares if share.process == 0}
    assert {"import", "open data", "train", "predict full", "score", "tables", "figures"} <= own
    done = CliRunner().invoke(app, ["bench", "run", "--store", str(store), "--format", "json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    assert rows[0]["benchmark"] == "wall clock: toy, echo, tiny, 1 cells, 1 trained"
    assert rows[0]["ours"] == run.seconds
    assert {row["benchmark"] for row in rows} >= {"tables", "figures and robustness", "cell echo"}
    gone = CliRunner().invoke(app, ["bench", "run", "--store", str(toy_world / "none"), "--format", "json"])
    assert gone.exit_code == 1
    assert "knows the times of no complete run" in json.loads(gone.stdout)["rows"][0]["note"]
