"""Several processes that train one cell together, one per device: who is which, and what they agree on.

A batch of ``training.batch_size`` studies is split among them. Each process weighs its loss by its share of
the batch, so the mean of their gradients is that of the whole batch where a loss is a mean over studies.
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
"""How long processes wait for one another."""


class SmallerBatch(BaseException):
    """A device ran out of memory: all processes have to start again, with half as many studies at a time."""


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process among those that train one cell.

    Attributes:
        rank: its number; 0 is the one that writes files.
        size: how many there are.
        devices: how many of them are on each node.
        strategy: whether each holds the whole network (``ddp``) or a part of it (``fsdp``).
        device: torch device of this process.
    """

    rank: int = 0
    size: int = 1
    devices: int = 1
    strategy: Literal["ddp", "fsdp"] = "ddp"
    device: str = "cpu"

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process writes."""
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
        """Whether something holds in every process."""
        return self.total(float(holds))[0] == self.size

    def as_rank_zero(self, value: bool) -> bool:
        """What the leading process thinks."""
        return self.total(float(value and self.is_rank_zero))[0] > 0

    def same_buffers(self, network: torch.nn.Module) -> None:
        """Give every process the leading one's buffers: each has seen other studies."""
        if self.size > 1:
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def trainer_options(self) -> dict[str, Any]:
        """What Lightning's Trainer has to know about several processes."""
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
    """The process group of this process; alone unless it was started as a member of one."""
    return _current


@contextmanager
def membership(member: ProcessGroup, host: str, port: int) -> Iterator[None]:
    """Meet the others at ``host:port`` and be one of them for the duration.

    Raises:
        HarnessError: not all of them came.
    """
    global _current
    on_gpu = member.device.startswith("cuda")
    if member.size == member.devices and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing leaves the machine
    # How Lightning learns that its processes are there already.
    os.environ |= {
        "LOCAL_RANK": str(member.rank % member.devices),
        "NODE_RANK": str(member.rank // member.devices),
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
    }
    if on_gpu:
        torch.cuda.set_device(member.device)
    try:
        torch.distributed.init_process_group(
            "nccl" if on_gpu else "gloo",
            init_method=f"tcp://{host}:{port}",
            rank=member.rank,
            world_size=member.size,
            timeout=_PATIENCE,
            device_id=torch.device(member.device) if on_gpu else None,
        )
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HarnessError(
            f"--devices {member.devices}: {member.size} processes did not meet at {host}:{port}: {reason}",
            "can the nodes reach each other there?",
        ) from error
    _current = member
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
    """Parts of which a network, or one inside it, says that they are used as a whole and by calling them.

    Models of ``transformers`` name these classes in ``_no_split_modules``, and so may any other network.
    """
    modules: list[torch.nn.Module] = []
    for model in network.modules():
        names = getattr(model, "_no_split_modules", None) or ()
        modules += [part for part in model.modules() if type(part).__name__ in names]
    return list(dict.fromkeys(modules))


def whole_state(network: torch.nn.Module, group: ProcessGroup) -> dict[str, torch.Tensor]:
    """State of a network whose parameters are spread, on the CPU of the leading process; else empty."""
    state: dict[str, torch.Tensor] = {}
    for name, tensor in network.state_dict().items():
        gather = getattr(tensor, "full_tensor", None)  # all processes have to take part
        whole = tensor if gather is None else gather()
        if group.is_rank_zero:
            state[name] = whole.detach().to("cpu", copy=True)
    return state
