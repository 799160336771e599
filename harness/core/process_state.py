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
    settings = _settings()
    values = [read() for read, _, _ in settings]
    try:
        yield
    finally:
        os.umask(mask)
        for number, limit in limits.items():
            if resource.getrlimit(number) != limit:
                with suppress(OSError, ValueError):  # the hard limit may be lower now
                    resource.setrlimit(number, limit)
        settings = settings or _settings()
        values = values or [usual for _, _, usual in settings]  # torch was imported meanwhile
        for (read, write, _), value in zip(settings, values, strict=True):
            if value is not None and read() != value:
                write(value)


def _numbers() -> list[int]:
    return [getattr(resource, name) for name in _LIMITS if hasattr(resource, name)]


Setting = tuple[Callable[[], Any], Callable[[Any], object], Any]
"""A function that reads, one that writes, and what is set from the beginning; None where that depends."""


def _settings() -> list[Setting]:
    """Settings of torch where it is imported."""
    torch: Any = sys.modules.get("torch")
    if not hasattr(torch, "set_default_dtype"):
        return []
    backends = torch.backends
    flags = {"benchmark": False, "deterministic": False, "enabled": True}

    def deterministic() -> tuple[bool, bool]:
        warns = torch.is_deterministic_algorithms_warn_only_enabled()
        return torch.are_deterministic_algorithms_enabled(), warns

    return [
        (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        (torch.get_default_device, torch.set_default_device, torch.device("cpu")),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
        (torch.is_grad_enabled, torch.set_grad_enabled, True),
        (torch.get_num_threads, torch.set_num_threads, None),
        (
            deterministic,
            lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
            (False, False),
        ),
        *(_autocast(torch, device) for device in ("cpu", "cuda")),
        *(_flag(backends.cudnn, name, usual) for name, usual in flags.items()),
    ]


def _autocast(torch: Any, device: str) -> Setting:
    return (
        lambda: torch.is_autocast_enabled(device),
        lambda value: torch.set_autocast_enabled(device, value),
        False,
    )


def _flag(owner: Any, name: str, usual: bool) -> Setting:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value), usual
