"""The order of studies in an epoch, and each process's part of every batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from harness.core.types import DatasetInfo, Inputs, Study, Targets
from harness.distributed.process_group import ProcessGroup, process_group
from harness.method.batching import collate, targets_of

Batch = tuple[Inputs, Targets]


class EpochOrder(Sampler[int]):
    """Another order in each epoch, which depends on (seed, epoch) alone; every study occurs once.

    With ``bucket``, pools of that many batches are sorted by report length, cut into batches, and the batches
    shuffled: studies of a batch are then similarly long, and little of it is padding.
    """

    def __init__(self, lengths: Sequence[int], seed: int, batch_size: int, bucket: int) -> None:
        self.lengths, self.seed, self.batch_size, self.bucket = lengths, seed, batch_size, bucket
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch, also after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(hash_seed(self.seed, self.epoch))
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        if not self.bucket:
            return iter(order)
        full = len(order) // self.batch_size * self.batch_size
        pool = self.bucket * self.batch_size
        pooled = [
            number
            for start in range(0, full, pool)
            for number in sorted(order[start : min(start + pool, full)], key=self.lengths.__getitem__)
        ]
        batches = torch.tensor(pooled, dtype=torch.long).view(-1, self.batch_size)
        shuffled = batches[torch.randperm(len(batches), generator=generator)]
        return iter([*shuffled.flatten().tolist(), *order[full:]])


class SplitBatches(Sampler[list[int]]):
    """A process's part of each training batch: every ``size``-th study of it, in the sampler's order.

    Where a batch has fewer studies than there are processes, the processes without a study repeat the first
    one with weight 0.
    """

    def __init__(self, sampler: EpochOrder, batch_size: int, drop_last: bool, group: ProcessGroup) -> None:
        self.sampler, self.batch_size, self.group = sampler, batch_size, group
        self.studies = len(sampler) // batch_size * batch_size if drop_last else len(sampler)

    def __len__(self) -> int:
        return -(-self.studies // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.sampler)
        for start in range(0, self.studies, self.batch_size):
            batch = order[start : start + self.batch_size]
            yield batch[self.group.rank :: self.group.size] or batch[:1]

    def weight(self, index: int) -> float:
        """Weight of the mean over this process's studies of a batch in the mean over all processes."""
        whole = min(self.batch_size, self.studies - index * self.batch_size)
        own = len(range(self.group.rank, whole, self.group.size))
        return own * self.group.size / whole


class WholeBatches(Sampler[list[int]]):
    """Validation batches, each computed whole by one process: the batches of a run with one process.

    All processes take the same number of steps: processes without a batch left repeat the last one with
    weight 0.
    """

    def __init__(self, studies: Sequence[Any], batch_size: int, group: ProcessGroup) -> None:
        self.studies, self.batch_size, self.group = len(studies), batch_size, group
        self.batches = -(-self.studies // batch_size)

    def __len__(self) -> int:
        return -(-self.batches // self.group.size)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(len(self)):
            start = min(step * self.group.size + self.group.rank, self.batches - 1) * self.batch_size
            yield list(range(start, min(start + self.batch_size, self.studies)))

    def weight(self, index: int) -> float:
        """1 for a batch that counts, 0 for a repeated one."""
        return float(index * self.group.size + self.group.rank < self.batches)


def hash_seed(*parts: int) -> int:
    """A 63-bit seed for (run seed, epoch, step); seeds of neighbouring steps are unrelated."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _batch(studies: Sequence[Study], info: DatasetInfo, reads: frozenset[str]) -> Batch:
    return collate(studies, info, reads=reads), targets_of(studies)


def loader(
    studies: Sequence[Study],
    *,
    info: DatasetInfo,
    reads: frozenset[str],
    batch_size: int,
    sampler: EpochOrder | None = None,
) -> DataLoader[Study]:
    """Training batches in the sampler's order, or validation batches in the order of ``studies``."""
    # A last batch of one study would break batch normalisation.
    drop_last = sampler is not None and len(studies) % batch_size == 1 and len(studies) > batch_size
    batches: dict[str, Any] = {"batch_size": batch_size, "sampler": sampler, "drop_last": drop_last}
    if process_group().size > 1:
        whole = WholeBatches(studies, batch_size, process_group())
        split = None if sampler is None else SplitBatches(sampler, batch_size, drop_last, process_group())
        batches = {"batch_sampler": whole if split is None else split}
    collated = partial(_batch, info=info, reads=reads)
    return DataLoader(studies, collate_fn=collated, **batches)  # type: ignore[arg-type]
