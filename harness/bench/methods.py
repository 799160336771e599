"""Speed and memory of methods on random weights, beside official code where it is available.

Every line is measured in a process of its own, so that peak memory is that of one job. Official repositories
are not shipped: a method names its peer's adapter (``peer``), and the user names the folder of the clones.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.bench.rows import Row, measured
from harness.core import registry
from harness.core.errors import HarnessError
from harness.core.feature_store import computed
from harness.core.files import peak_gib
from harness.core.names import did_you_mean
from harness.method.size import REFERENCE_INFO
from harness.method.torch_method import TorchMethod

Works = Mapping[str, Callable[[], Any]]
"""Name of a piece of work -> what does it once. A piece is the same on both sides of a comparison."""

BATCH = 8
_TIMES, _SECONDS = 5, 5.0
"""Most repetitions of a piece of work, and seconds after which it is not repeated again."""


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work of a method, done in a process of its own.

    Attributes:
        name: registered name.
        preset: size of the method.
        work: name of the piece.
        device: torch device.
        folder: clone of the official repository whose code does the work; empty for ours.
        bfloat16: whether a training step runs under autocast, as Lightning's ``bf16-mixed`` has it. None: the
            work is the one that a peer is compared on, where there is a peer.
        seconds: the process is stopped after so many; None: never.
    """

    name: str
    preset: str
    work: str
    device: str = "cpu"
    folder: str = ""
    bfloat16: bool | None = None
    seconds: float | None = None


def learned_methods() -> list[str]:
    """Registered methods with a network."""
    return [
        name for name in registry.names("methods") if issubclass(registry.load("methods", name), TorchMethod)
    ]


def check(methods: Sequence[str], peers: Path | None) -> None:
    """Find what is wrong with the flags before anything is measured.

    Raises:
        HarnessError: an unknown or a control method, or no such folder of peers.
    """
    learned = learned_methods()
    for name in methods:
        if name not in learned:
            raise HarnessError(f"--methods {name}: no method with a network", did_you_mean(name, learned))
    if peers is not None and not peers.is_dir():
        raise HarnessError(f"--peers {peers}: no such folder", "give the one that holds the clones")


def method_benchmark(
    name: str, preset: str, peers: Path | None, device: str = "cpu", seconds: float | None = None
) -> list[Row]:
    """Seconds and peak memory of each piece of work of a learned method, beside its peer's.

    Args:
        name: registered name.
        preset: size of the method. The official code has one size: it is compared at ``paper`` alone.
        peers: folder with clones of the official repositories, or None.
        device: torch device of both sides.
        seconds: limit of each process; None for none.

    Raises:
        HarnessError: a process that does the work fails, or takes longer than ``seconds``.
    """
    peer = _peer_of(name)
    folder = peers / peer.FOLDER if peer is not None and peers is not None else None
    note = _why_alone(peer, preset, folder)
    rows = []
    for work in peer.WORKS if peer is not None else ("predict", "training step"):
        job = Job(name, preset, work, device, seconds=seconds)
        ours = timed(job)
        rest: dict[str, Any] = {"gib": ours["gib"], "note": note}
        if not note:
            theirs = timed(replace(job, folder=str(folder)))
            rest |= {"peer": theirs["seconds"], "peer_gib": theirs["gib"], "of": peer.SOURCE}
        rows.append(
            measured(
                "methods", f"{name} ({preset}), {work}, batch {BATCH}, {device}", ours["seconds"], **rest
            )
        )
    return rows


def _why_alone(peer: Any, preset: str, folder: Path | None) -> str:
    """Why a method is measured without its official code; empty where it is measured beside it."""
    if peer is None:
        return "no official code that could be measured beside it"
    if folder is None or preset != "paper":
        return f"beside official code with --preset paper --peers DIR: clone {peer.SOURCE} into it"
    return "" if folder.is_dir() else f"no folder {folder}: clone {peer.SOURCE} into it"


def timed(job: Job) -> dict[str, float]:
    """Seconds and peak memory in GiB of a piece of work.

    Raises:
        HarnessError: its process fails or takes too long.
    """
    code = "import sys; from harness.bench.methods import _work; _work(sys.argv[1])"
    command = [sys.executable, "-c", code, json.dumps(asdict(job))]
    what, where = f"{job.name} ({job.preset}), {job.work}", f"in {job.folder}" if job.folder else ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=job.seconds)
    except subprocess.TimeoutExpired:
        raise HarnessError(f"{what}: stopped after {job.seconds:.0f} s", where) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise HarnessError(f"{what}: {last}", where)
    costs: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return costs


def _work(text: str) -> None:
    """Do the ``Job`` that the JSON names in this process, and print seconds and peak memory as JSON."""
    import torch

    job = Job(**json.loads(text))
    torch.manual_seed(0)
    peer, on_gpu = _peer_of(job.name), job.device.startswith("cuda")
    method = registry.load("methods", job.name).create(REFERENCE_INFO, preset=job.preset)
    if job.folder:
        do = peer.official(method, Path(job.folder), BATCH, job.device)[job.work]
    else:
        artifacts = method.reference_artifacts()
        if artifacts is None:
            raise HarnessError(f"{job.name} defines no reference_artifacts")
        method.prepare(artifacts)
        method.to(job.device)
        compared = peer is not None and job.bfloat16 is None
        do = (peer.ours(method, BATCH) if compared else works(method, BATCH, bool(job.bfloat16)))[job.work]
    with computed():  # a second call would find frozen features of the first one's images
        seconds = _shortest(do, torch.cuda.synchronize if on_gpu else lambda: None)
    gib = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else peak_gib()
    print(json.dumps({"seconds": seconds, "gib": gib}))


def _shortest(do: Callable[[], Any], wait: Callable[[], None]) -> float:
    """Seconds of the quickest of up to ``_TIMES`` calls: the first loads and compiles what the rest use."""
    times: list[float] = []
    while len(times) < _TIMES and sum(times) < _SECONDS:
        started = time.perf_counter()
        do()
        wait()
        times.append(time.perf_counter() - started)
    return min(times)


def works(method: TorchMethod[Any], batch: int, bfloat16: bool = False) -> Works:
    """What every learned method can be measured on; the training step mixed with ``bfloat16``."""
    import torch

    inputs, targets = method.example_batch(batch)
    device = next(method.network.parameters()).device
    inputs, targets = inputs.to(device), targets.to(device)
    method.network.train()
    optimizer, _ = method.optimizer(1)

    def training_step() -> None:
        method.network.train()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
            loss = method.losses(inputs, targets)["loss"]
        loss.backward()
        optimizer.step()

    return {"predict": lambda: method.predict(inputs), "training step": training_step}


def _peer_of(name: str) -> Any:
    """The adapter of a method's official code, or None where it has none."""
    module = registry.load("methods", name).peer
    return import_module(module) if module else None
