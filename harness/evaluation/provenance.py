"""Where a number came from, as its manifest says it: the method's card and the software around it."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness import __version__
from harness.core.hardware import cores, cpu_model, load
from harness.core.packages import SCORING
from harness.store.manifest import Environment, Machine


@cache
def environment() -> Environment:
    """Python, system and package versions; a package that is not installed is left out."""
    packages = {}
    for name in SCORING:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    system = f"{platform.system()} {platform.machine()}"
    return Environment(python=platform.python_version(), system=system, packages=packages)


def machine(device: str) -> Machine:
    """Device, cores and threads of this process; sums of floats depend on all three."""
    import torch

    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {}
    return Machine(device=device, cpus=os.cpu_count(), threads=torch.get_num_threads(), **gpu)


def measured_on(device: str) -> dict[str, Any]:
    """What a measured time depends on, for tables of times: no name of a host or a user.

    Args:
        device: as ``--device`` has it; where this process finds no GPU, its own device is the CPU.
    """
    import torch

    if device != "cpu":
        device = device.replace("auto", "cuda") if torch.cuda.is_available() else "cpu"
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": cpu_model(),
        "cores": cores(),
        "load": load(),
        **machine(device).to_json(),
        "torch": version("torch"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "harness": __version__,
        "commit": _commit(),
    }


def _commit() -> str:
    """The checkout that the harness runs from, ``-dirty`` where files differ; empty for a package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
