"""One cell trained by several processes: the table of one, whatever happens to any of them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core import registry
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.files import read_json
from harness.core.types import Inputs, Targets
from harness.distributed.process_group import ProcessGroup, blocks
from harness.evaluation import reproduce
from harness.evaluation import run as executors
from harness.method.epochs import EpochOrder, SplitBatches, WholeBatches
from harness.store.results import Measurement
from harness.store.store import Store
from harness.store.tolerance import TOLERANCE
from tests.helpers import toys
from tests.helpers.toys import SIZE, Learner

CALM = {"dropout": 0.0, "training.batch_size": 7}
"""Without noise; of 40 studies the last batch has 5, which two processes cannot share evenly."""


class Stacked(Learner):
    """Stacked blocks, a parameter that stands still, one that no loss uses, statistics, a tied weight."""

    card = replace(Learner.card, name="stacked")

    def build(self, artifacts: dict[str, Any]) -> torch.nn.Module:
        return Stack()


class Block(torch.nn.Linear):
    """What is gathered on its own."""


class Stack(torch.nn.Module):
    _no_split_modules = ("Block",)

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(Block(SIZE * SIZE, SIZE * SIZE) for _ in range(2))
        self.head = torch.nn.Linear(SIZE * SIZE, 1)
        filters = torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last)
        self.still = torch.nn.Parameter(filters, requires_grad=False)
        self.unused = torch.nn.Parameter(torch.ones(3))
        self.tied = self.head.bias
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = images.flatten(1)
        for block in self.blocks:
            values = values + block(values).tanh()
        return self.head(values) + self.still.sum() * 0


class Sick(Learner):
    """Its loss on one study is not a number from the second epoch on."""

    card = replace(Learner.card, name="sick", variants={})

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, torch.Tensor]:
        values = super().losses(inputs, targets)
        self.steps = getattr(self, "steps", 0) + self.network.training
        if self.network.training and self.steps > 6 and "train7" in inputs.ids:
            values["loss"] = values["loss"] * float("nan")
        return values


class Large(Learner):
    """One of the processes has room for two studies; the other would bear more."""

    card = replace(Learner.card, name="large", variants={})

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, torch.Tensor]:
        if self.network.training and len(inputs) > 2 and torch.distributed.get_rank() == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().losses(inputs, targets)


class Listening(toys.Quiet):
    """A reporter that remembers what training said, and pulls the plug at ``stop``."""

    def __init__(self, stop: str = "never") -> None:
        super().__init__()
        self.stop, self.said = stop, list[str]()

    def phase(self, label: str, phase: str) -> Callable[[float, str], None]:
        def update(fraction: float, status: str) -> None:
            if status.startswith(self.stop):
                raise KeyboardInterrupt
            self.said += [status] if phase == "train" else []

        return update


@pytest.fixture(scope="module", autouse=True)
def _own_server() -> None:
    """The server of processes is started anew: one that another test started has not imported what trains."""
    forkserver._forkserver._stop()


@pytest.fixture
def _toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    toys.register(monkeypatch.setitem)
    for name in ("stacked", "sick", "large"):
        monkeypatch.setitem(registry.METHODS, name, f"tests.distributed.test_process_group:{name.title()}")
    registry._table.cache_clear()
    yield
    monkeypatch.undo()
    registry._table.cache_clear()


def config(store: Path, *methods: str, **rest: Any) -> RunSettings:
    given = {"missing": (0.4, 0.8), "drop": "any", "mask_seeds": 3, "metrics": toys.FAST_METRICS}
    return RunSettings.of(
        methods=methods, dataset="toy", store=store, device="cpu", workers=1, **given | rest
    )


def weights(store: Path, name: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    (path,) = store.glob(f"cells/toy/{name}*/*/checkpoint/model.safetensors")
    return load_file(path)


def summary(store: Path, name: str) -> dict[str, Any]:
    (path,) = store.glob(f"cells/toy/{name}*/*/training/history.json")
    return dict(read_json(path))


def cost(store: Path, name: str) -> dict[str, Any]:
    (path,) = store.glob(f"cells/toy/{name}*/*/checkpoint/done.json")
    return dict(read_json(path)["cost"])


def close(rows: list[Measurement], expected: list[Measurement]) -> None:
    assert len(rows) == len(expected) > 0
    for row, other in zip(rows, expected, strict=True):
        assert (row.method, row.rate, row.metric, row.key) == (
            other.method,
            other.rate,
            other.metric,
            other.key,
        )
        assert row.value == pytest.approx(other.value, abs=TOLERANCE), (
            "weights that differ in the last digit only"
        )


@pytest.mark.usefixtures("_toys")
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_give_the_table_of_one(tmp_path: Path, strategy: str) -> None:
    several = config(tmp_path / "two", "stacked", devices=2, strategy=strategy, set={"stacked": CALM})
    rows, succeeded = executors.run(several, toys.Quiet())
    assert succeeded
    close(rows, executors.run(config(tmp_path / "one", "stacked", set={"stacked": CALM}), toys.Quiet())[0])
    values, expected = weights(tmp_path / "two", "stacked"), weights(tmp_path / "one", "stacked")
    assert values.keys() == expected.keys()
    for name, tensor in values.items():
        assert torch.allclose(tensor, expected[name], atol=1e-5), name
    history, alone = (summary(tmp_path / each, "stacked") for each in ("two", "one"))
    assert history["best_epoch"] == alone["best_epoch"]
    for epoch, other in zip(history["history"], alone["history"], strict=True):
        for name in ("train", "val"):
            assert epoch[name] == pytest.approx(other[name], rel=1e-4)
        assert epoch["losses"] == pytest.approx(other["losses"], rel=1e-4)
    assert cost(tmp_path / "two", "stacked")["devices"] == 2
    assert cost(tmp_path / "two", "stacked")["parameters"] == cost(tmp_path / "one", "stacked")["parameters"]
    again, _ = executors.run(several.replaced(devices=1, strategy="ddp"), toys.Quiet())
    close(again, rows)  # how a cell was trained is no part of what it is


@pytest.mark.usefixtures("_toys")
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_killed_training_goes_on_from_its_last_epoch(tmp_path: Path, strategy: str) -> None:
    given = {"devices": 2, "strategy": strategy}
    parts = config(tmp_path / "parts", "stacked", **given)
    with pytest.raises(KeyboardInterrupt):
        executors.run(parts, Listening(stop="epoch 3/"))
    assert len(summary(tmp_path / "parts", "stacked")["history"]) == 2
    reporter = Listening()
    rows, succeeded = executors.run(parts, reporter)
    assert succeeded
    assert reporter.said[0].startswith("epoch 3/")
    whole, _ = executors.run(config(tmp_path / "whole", "stacked", **given), toys.Quiet())
    close(rows, whole)
    for name, tensor in weights(tmp_path / "parts", "stacked").items():
        assert torch.equal(tensor, weights(tmp_path / "whole", "stacked")[name])


@pytest.mark.usefixtures("_toys")
@pytest.mark.parametrize(("first", "then"), [("fsdp", {}), ("ddp", {"devices": 2, "strategy": "fsdp"})])
def test_a_training_goes_on_with_other_processes_than_it_began_with(
    tmp_path: Path, first: str, then: dict[str, Any]
) -> None:
    begun = config(tmp_path / "parts", "stacked", devices=2, strategy=first, set={"stacked": CALM})
    with pytest.raises(KeyboardInterrupt):
        executors.run(begun, Listening(stop="epoch 3/"))
    reporter = Listening()
    rows, succeeded = executors.run(
        config(tmp_path / "parts", "stacked", set={"stacked": CALM}, **then), reporter
    )
    assert succeeded, reporter.failures
    assert reporter.said[0].startswith("epoch 3/")
    close(rows, executors.run(config(tmp_path / "one", "stacked", set={"stacked": CALM}), toys.Quiet())[0])


@pytest.mark.usefixtures("_toys")
def test_a_loss_that_is_no_number_anywhere_stops_all_processes_and_this_cell(tmp_path: Path) -> None:
    reporter = toys.Quiet()
    rows, succeeded = executors.run(config(tmp_path, "sick", "echo", devices=2), reporter)
    assert not succeeded
    assert re.match(r"sick: loss is not finite at epoch \d, step \d \(loss nan\)", reporter.failures["sick"])
    assert {row.method for row in rows if row.status == "ok"} == {"echo"}
    assert summary(tmp_path, "sick")["history"], "the last good checkpoint is kept"


@pytest.mark.usefixtures("_toys")
def test_out_of_memory_in_one_process_halves_the_batch_of_all(tmp_path: Path) -> None:
    reporter = Listening()
    given = {"large": {"dropout": 0.0}}
    _, succeeded = executors.run(config(tmp_path, "large", devices=2, set=given), reporter)
    assert succeeded
    assert cost(tmp_path, "large")["batch_division"] == 2
    assert reporter.said[-1].endswith("out of memory: 2 x 4 studies")


@pytest.mark.slow
@pytest.mark.usefixtures("_toys")
def test_a_row_of_several_processes_is_reproduced_to_the_digit(tmp_path: Path) -> None:
    executors.run(config(tmp_path / "store", "learner", devices=2), toys.Quiet())
    stored = reproduce.find(Store(tmp_path / "store"), "learner")
    assert reproduce.reproduce(stored, tmp_path / "fresh", toys.Quiet(), tolerance=0.0).equal


@pytest.mark.usefixtures("_toys")
def test_a_batch_that_is_too_small_to_share_is_an_error(tmp_path: Path) -> None:
    reporter = toys.Quiet()
    given = {"learner": {"training.batch_size": 1}}
    executors.run(config(tmp_path, "learner", devices=2, set=given), reporter)
    assert all(
        "2 processes cannot share a batch of 1 studies" in reason for reason in reporter.failures.values()
    )
    assert len(reporter.failures) == 2


def running(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_a_run_that_is_killed_takes_its_processes_along(tmp_path: Path) -> None:
    environment = {**os.environ, "TOY_LOG": str(tmp_path / "work.log"), "TOY_KILL": "train"}
    command = [sys.executable, "-m", "tests.helpers.toys", str(tmp_path / "store"), "learner", "1", "2"]
    killed = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    deadline = time.monotonic() + 20
    lock = next((tmp_path / "store").glob("cells/toy/learner/*/training/.lock"))
    while _held(lock):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    again = subprocess.run(command, env=environment | {"TOY_KILL": ""}, capture_output=True, timeout=300)
    assert again.returncode == 0, again.stderr


def _held(lock: Path) -> bool:
    import fcntl

    with open(lock) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


@pytest.mark.slow
@pytest.mark.usefixtures("_toys")
def test_two_nodes_give_the_table_of_one_process(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = (
        "import sys; from pathlib import Path; from tests.helpers import toys; "
        "from tests.distributed import test_process_group as t;"
        "from harness.evaluation import run as executors; toys.register(dict.__setitem__);"
        "c = t.config(Path(sys.argv[1]), 'learner', 'echo', nodes=2, set={'learner': t.CALM});"
        "r = toys.Quiet(); rows, ok = executors.run(c, r); print(len(rows), ok, r.failures)"
    )
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    nodes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "two")],
            env={**os.environ, **meeting, "NODE_RANK": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (1, 0)
    ]
    outputs = [node.communicate(timeout=300) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    expected, _ = executors.run(
        config(tmp_path / "one", "learner", "echo", set={"learner": CALM}), toys.Quiet()
    )
    assert [out.strip() for out, _ in outputs] == ["0 True {}", f"{len(expected)} True {{}}"]
    again, _ = executors.run(config(tmp_path / "two", "learner", "echo", set={"learner": CALM}), toys.Quiet())
    close(again, expected)
    assert cost(tmp_path / "two", "learner")["devices"] == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategy": "fsdp"}, "--strategy fsdp: one device trains alone"),
        ({"devices": 2, "workers": 3}, "--workers 3 --devices 2 --nodes 1: one cell at a time"),
        ({"devices": 2, "device": "cuda:1"}, "--device cuda:1 --devices 2 --nodes 1: one GPU by number"),
        ({"devices": 4096, "device": "cuda"}, r"--devices 4096: \d+ CUDA devices found"),
        ({"nodes": 2}, "--nodes 2: NODE_RANK is ''"),
        ({"nodes": 2, "executor": "ray"}, "--nodes 2: Ray trains a cell on one node"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], message: str
) -> None:
    for name in ("NODE_RANK", "SLURM_NODEID", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(HarnessError, match=message):
        executors.run(RunSettings.of(**{"device": "cpu", **given}), toys.Quiet())


@pytest.mark.parametrize(("studies", "batch"), [(40, 8), (40, 7), (41, 8), (5, 8)])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_shares_of_a_batch_are_the_batch(studies: int, batch: int, size: int) -> None:
    order = EpochOrder([1] * studies, 0, batch, 0)
    shares = [SplitBatches(order, batch, False, ProcessGroup(rank, size, size)) for rank in range(size)]
    whole = list(order)
    for index, parts in enumerate(zip(*shares, strict=True)):
        weighed = [(share.weight(index), part) for share, part in zip(shares, parts, strict=True)]
        counted = [study for weight, part in weighed if weight for study in part]
        assert sorted(counted) == sorted(whole[index * batch : (index + 1) * batch])
        for weight, part in weighed:
            assert part
            assert weight == pytest.approx(len(part) * size / len(counted) if weight else 0)
    per_process = [
        WholeBatches(range(studies), batch, ProcessGroup(rank, size, size)) for rank in range(size)
    ]
    assert len({len(each) for each in per_process}) == 1
    seen = [n for each in per_process for i, part in enumerate(each) if each.weight(i) for n in part]
    assert sorted(seen) == list(range(studies))


def test_blocks_are_what_a_network_or_one_inside_it_names() -> None:
    stack = Stack()
    assert blocks(stack) == list(stack.blocks)
    assert blocks(torch.nn.Sequential(torch.nn.Linear(2, 2), stack)) == list(stack.blocks)
    assert blocks(torch.nn.Linear(2, 2)) == []


def test_blocks_of_a_language_model_are_its_layers() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "vocab_size": 8}
    model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=3, **sizes))
    assert blocks(torch.nn.ModuleDict({"llm": model})) == list(model.model.layers)
