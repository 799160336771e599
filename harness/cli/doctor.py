"""``harness doctor``: what this machine has and lacks, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Literal

import typer

from harness import __version__
from harness.cli.output import Format, format_option, print_rows
from harness.core import registry
from harness.core.config import RunConfig
from harness.core.errors import HarnessError, PluginError, UnavailableError
from harness.core.failures import describe, let_through
from harness.core.files import cache_root
from harness.core.packages import absent, install

BASE = ("numpy", "pandas", "pydantic")
RUN = ("torch", "torchvision", "transformers", "lightning", "timm", "torchxrayvision", "pycocoevalcap")
"""Packages of the base, and those without which the main job does not run."""
WIDTH, NAME_WIDTH = 80, 24
"""Columns of a terminal, and of the longest registered name."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that was looked at.

    ``missing`` keeps the main job from running, or the other commands where the extra ``run`` is not
    installed; ``optional`` does not.
    """

    name: str
    state: Literal["ok", "optional", "missing"]
    detail: str


_WITHOUT_RUN = Requirement("run", "optional", f"harness run needs it: {install('run')}")


def doctor(
    format_: Annotated[Format, format_option(Format.table, Format.json, Format.csv)] = Format.table,
) -> None:
    """Check packages, device, Java, data, weights and space; exit 1 if what is installed cannot run."""
    findings = examine()
    if format_ is Format.table:
        typer.echo(summary(findings) + "\n")
        typer.echo("\n".join(line for each in findings for line in _lines(each)))
    else:
        rows = [{"check": each.name, "state": each.state, "detail": each.detail} for each in findings]
        print_rows(rows, format_)
    if any(each.state == "missing" for each in findings):
        raise typer.Exit(1)


def summary(findings: Sequence[Requirement]) -> str:
    """One line: whether the main job can run, and how much else is absent.

    Without the extra ``run``: whether the commands that need no method can.
    """
    count = Counter(each.state for each in findings)
    names = ", ".join(each.name for each in findings if each.state == "missing")
    light = any(each.name == _WITHOUT_RUN.name for each in findings)
    works = "score, compare, leaderboard and papers work here" if light else "harness run works here"
    ready = f"NOT READY, missing: {names}" if names else f"ready: {works}"
    optional = f"{count['optional']} optional parts are absent" if count["optional"] else "nothing is absent"
    return "\n".join(wrap(f"{ready}; {optional}", WIDTH))


def _lines(finding: Requirement) -> list[str]:
    """A finding in lines of at most ``WIDTH`` columns."""
    head = f"{finding.name:<{NAME_WIDTH}} {finding.state:<8} "
    lines = wrap(finding.detail, WIDTH - len(head), break_on_hyphens=False) or [""]
    return [head + lines[0], *(" " * len(head) + line for line in lines[1:])]


def examine() -> list[Requirement]:
    """Look at packages, device, Java, cache folder, datasets and metrics."""
    return [
        _program(),
        *(_package(name) for name in BASE),
        *([_WITHOUT_RUN] if absent("lightning") else [_package(name, "run") for name in RUN]),
        _device(),
        _java(),
        _cache(),
        *_datasets(),
        *_metrics(),
    ]


def _program() -> Requirement:
    return Requirement("harness", "ok", f"{__version__}, Python {platform.python_version()}")


def _package(name: str, extra: str = "") -> Requirement:
    try:
        return Requirement(name, "ok", version(name))
    except PackageNotFoundError:
        return Requirement(name, "missing", install(extra) if extra else f"pip install {name}")


def _device() -> Requirement:
    if absent("torch"):
        return Requirement("device", "optional", "torch is not installed")
    import torch

    if not torch.cuda.is_available():
        return Requirement("device", "ok", f"CPU, {os.cpu_count()} cores; no GPU found")
    gpu = torch.cuda.get_device_properties(0)
    return Requirement(
        "device", "ok", f"{torch.cuda.device_count()} x {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
    )


def _java() -> Requirement:
    java = shutil.which("java")
    hint = "only --tokenizer ptb needs it; install a Java runtime"
    if java is None:
        return Requirement("java", "optional", f"not found: {hint}")
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Requirement("java", "optional", f"{java} does not run ({error}): {hint}")
    return Requirement("java", "ok", (answer.stderr or answer.stdout).splitlines()[0])


def _cache() -> Requirement:
    folder = cache_root()
    existing: Path = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return Requirement("cache", "missing", f"{folder} is not writable: set HARNESS_CACHE")
    return Requirement("cache", "ok", f"{folder}, {shutil.disk_usage(existing).free / 2**30:.0f} GiB free")


def _datasets() -> list[Requirement]:
    from harness.datasets.opening import open_dataset, studies_of

    findings = []
    for name in registry.names("datasets"):
        try:
            dataset = open_dataset(name)
            counts = "/".join(str(len(studies_of(dataset, split))) for split in ("train", "val", "test"))
            findings.append(Requirement(name, "ok", f"{counts} studies (train/val/test)"))
        except UnavailableError as error:  # it is nowhere until the user says where
            findings.append(Requirement(name, "optional", str(error)))
        except PluginError as error:  # the main job needs its own dataset alone
            main = name == RunConfig().dataset
            findings.append(Requirement(name, "missing" if main else "optional", str(error)))
        except HarnessError as error:
            findings.append(Requirement(name, "missing", str(error)))
        except BaseException as error:  # e.g. studies of a length that cannot be counted
            let_through(error)
            findings.append(Requirement(name, "optional", describe(error)))
    return findings


def _metrics() -> list[Requirement]:
    findings = []
    for name in registry.names("metrics"):
        try:
            reason = registry.make_metric(name).unavailable()
        except BaseException as error:
            let_through(error)
            reason = describe(error)
        findings.append(Requirement(name, "optional" if reason else "ok", reason or "available"))
    return findings
