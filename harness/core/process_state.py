"""State of the process that a plugin's code may change by one line, put back after it."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_LIMITS = ("RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_NPROC")


@contextmanager
def process_kept() -> Iterator[None]:
    """The umask, soft limits and settings of torch are afterwards what they were."""
    mask = os.umask(0o077)
    os.umask(mask)
    limits = {number: resource.getrlimit(number) for number in _numbers()}
    torch = sys.modules.get("torch")
    settings = _settings(torch) if torch is not None else []
    values = [read() for read, _ in settings]
    try:
        yield
    finally:
        os.umask(mask)
        for number, limit in limits.items():
            if resource.getrlimit(number) != limit:
                with suppress(OSError, ValueError):  # the hard limit may be lower now
                    resource.setrlimit(number, limit)
        for (read, write), value in zip(settings, values, strict=True):
            if read() != value:
                write(value)


def _numbers() -> list[int]:
    return [getattr(resource, name) for name in _LIMITS if hasattr(resource, name)]


def _settings(torch: Any) -> list[tuple[Callable[[], Any], Callable[[Any], object]]]:
    """Each setting as a function that reads and one that writes it."""
    backends = torch.backends
    flags = ((backends.cudnn, "benchmark"), (backends.cudnn, "deterministic"), (backends.cudnn, "enabled"))

    def deterministic() -> tuple[bool, bool]:
        warns = torch.is_deterministic_algorithms_warn_only_enabled()
        return torch.are_deterministic_algorithms_enabled(), warns

    return [
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_default_device, torch.set_default_device),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.get_num_threads, torch.set_num_threads),
        (deterministic, lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1])),
        *(_autocast(torch, device) for device in ("cpu", "cuda")),
        *(_flag(owner, name) for owner, name in flags),
    ]


def _autocast(torch: Any, device: str) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    return (
        lambda: torch.is_autocast_enabled(device),
        lambda value: torch.set_autocast_enabled(device, value),
    )


def _flag(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)
