"""The process group: several processes, one per device, that train one cell together.

A batch of ``training.batch_size`` studies is split among them. Each process weighs its loss by its share of
the batch. So the mean of their gradients is the gradient of the whole batch, if the loss is a mean over
studies.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch

from harness.core.errors import HarnessError

_PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others before it fails."""


class SmallerBatch(BaseException):
    """A device ran out of memory: all processes start again, with half as many studies at a time."""


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes that train one cell, seen from one of them.

    Attributes:
        rank: number of this process; rank 0 writes files.
        size: number of processes.
        devices: number of processes on each node.
        strategy: each process holds the whole network (``ddp``) or a part of it (``fsdp``).
        device: torch device of this process.
    """

    rank: int = 0
    size: int = 1
    devices: int = 1
    strategy: Literal["ddp", "fsdp"] = "ddp"
    device: str = "cpu"

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process is rank 0, which writes files."""
        return self.rank == 0

    @property
    def shards(self) -> bool:
        """Whether parameters are spread over the processes."""
        return self.size > 1 and self.strategy == "fsdp"

    def total(self, *values: float) -> list[float]:
        """Sums over all processes."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(tensor)
        return [float(each) for each in tensor.tolist()]

    def all(self, holds: bool) -> bool:
        """Whether ``holds`` is true in every process."""
        return self.total(float(holds))[0] == self.size

    def as_rank_zero(self, value: bool) -> bool:
        """The value of rank 0, in every process."""
        return self.total(float(value and self.is_rank_zero))[0] > 0

    def same_buffers(self, network: torch.nn.Module) -> None:
        """Copy the buffers of rank 0 to every process, since each process has seen other studies."""
        if self.size > 1:
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def trainer_options(self) -> dict[str, Any]:
        """Arguments of Lightning's Trainer for this process group."""
        from lightning.fabric.plugins.environments.lightning import LightningEnvironment
        from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

        return {
            "devices": list(range(self.devices)) if self.device.startswith("cuda") else self.devices,
            "num_nodes": self.size // self.devices,
            # Which parameters a step uses depends on the modalities of its studies.
            "strategy": ModelParallelStrategy(self.size, 1, save_distributed_checkpoint=False)
            if self.shards
            else DDPStrategy(find_unused_parameters=True),
            "plugins": [LightningEnvironment()],
            "use_distributed_sampler": False,
            "inference_mode": not self.shards,
        }


_ALONE = ProcessGroup()
_current = _ALONE


def process_group() -> ProcessGroup:
    """The process group of this process; a group of one unless ``membership`` set another."""
    return _current


@contextmanager
def membership(group: ProcessGroup, host: str, port: int) -> Iterator[None]:
    """Connect to the other processes at ``host:port``; inside the block this process is one of the group.

    Raises:
        HarnessError: not all processes connected.
    """
    global _current
    on_gpu = group.device.startswith("cuda")
    if group.size == group.devices and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing leaves the machine
    # These tell Lightning that its processes exist already.
    os.environ |= {
        "LOCAL_RANK": str(group.rank % group.devices),
        "NODE_RANK": str(group.rank // group.devices),
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
    }
    if on_gpu:
        torch.cuda.set_device(group.device)
    try:
        torch.distributed.init_process_group(
            "nccl" if on_gpu else "gloo",
            init_method=f"tcp://{host}:{port}",
            rank=group.rank,
            world_size=group.size,
            timeout=_PATIENCE,
            device_id=torch.device(group.device) if on_gpu else None,
        )
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HarnessError(
            f"--devices {group.devices}: {group.size} processes did not meet at {host}:{port}: {reason}",
            "can the nodes reach each other there?",
        ) from error
    _current = group
    try:
        yield
    finally:
        _current = _ALONE


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a tensor that this process holds."""
    part = getattr(tensor, "to_local", None)
    return tensor if part is None else part()


def shard(root: torch.nn.Module, network: torch.nn.Module, group: ProcessGroup) -> None:
    """Spread the parameters of ``network`` over the processes in place (FSDP2).

    Its ``blocks`` are gathered one at a time. Everything else is whole while ``root`` is called, so that a
    method's losses may use any part of its network.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    for parameter in network.parameters():
        parameter.data = parameter.data.contiguous()  # channels-last weights cannot be spread
    mesh = init_device_mesh(group.device.partition(":")[0], (group.size,))
    for block in blocks(network):
        fully_shard(block, mesh=mesh)
    fully_shard(root, mesh=mesh)


def blocks(network: torch.nn.Module) -> list[torch.nn.Module]:
    """Parts of a network that are only used as a whole, by calling them.

    A network names the classes of these parts in ``_no_split_modules``, as models of ``transformers`` do.
    """
    modules: list[torch.nn.Module] = []
    for model in network.modules():
        names = getattr(model, "_no_split_modules", None) or ()
        modules += [part for part in model.modules() if type(part).__name__ in names]
    return list(dict.fromkeys(modules))


def whole_state(network: torch.nn.Module, group: ProcessGroup) -> dict[str, torch.Tensor]:
    """The whole state of a network with spread parameters, on rank 0's CPU; empty on other ranks."""
    state: dict[str, torch.Tensor] = {}
    for name, tensor in network.state_dict().items():
        gather = getattr(tensor, "full_tensor", None)  # all processes have to take part
        whole = tensor if gather is None else gather()
        if group.is_rank_zero:
            state[name] = whole.detach().to("cpu", copy=True)
    return state
