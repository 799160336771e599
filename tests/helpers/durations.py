"""The page of the slowest tests: written at the end of a run if ``TEST_DURATIONS`` names its file."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.tiers import TIERS

ROOT = Path(__file__).parents[2]
SLOWEST, FILES = 50, 30
PAGE = """# The slowest tests

`make durations` writes this page: it is `make test` with a file for the seconds of each test.

{tests} in {minutes} with {processes} processes ({machine}, {day}, commit {commit}).
Installation and checks of style come before; the check of types runs beside the tests. Seconds are of wall
time, those of setup and teardown among them. {tail}

| tier | tests | seconds |
|---|--:|--:|
{tiers}

## By file

The {files} files with the largest sums.

| seconds | tests | file |
|--:|--:|---|
{by_file}

## By test

The {slowest} slowest phases, {share} of the time of all.

| seconds | phase | test |
|--:|---|---|
{by_test}
"""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write the page; processes of xdist do not get here."""
    path = os.environ.get("TEST_DURATIONS")
    if path:
        reports = [
            report
            for group in terminalreporter.stats.values()
            for report in group
            if isinstance(report, pytest.TestReport)
        ]
        started = min((report.start for report in reports), default=0.0)
        (ROOT / path).write_text(page(reports, time.time() - started), encoding="utf-8")


def page(reports: Iterable[pytest.TestReport], seconds: float) -> str:
    """The page about these reports of a run that took so many seconds."""
    reports = list({(report.nodeid, report.when): report for report in reports}.values())
    by_tier: defaultdict[str, float] = defaultdict(float)
    by_file: defaultdict[str, float] = defaultdict(float)
    tests: defaultdict[str, set[str]] = defaultdict(set)
    ends: dict[str, float] = {}
    for report in reports:
        file, tier = report.nodeid.partition("::")[0], _tier(report)
        by_tier[tier] += report.duration
        by_file[file] += report.duration
        tests[tier].add(report.nodeid)
        tests[file].add(report.nodeid)
        process = getattr(report, "worker_id", "main")
        ends[process] = max(ends.get(process, 0.0), report.stop)
    slowest = sorted(reports, key=lambda report: -report.duration)[:SLOWEST]
    whole = sum(by_tier.values())
    outcomes = Counter(report.outcome for report in reports if report.when == "call" or report.skipped)
    return PAGE.format(
        tests=", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common()),
        minutes=f"{seconds // 60:.0f} min {seconds % 60:.0f} s",
        processes=len(ends),
        machine=_machine(),
        day=datetime.now(UTC).strftime("%Y-%m-%d"),
        commit=_commit(),
        tail=f"The last process ended {max(ends.values()) - min(ends.values()):.0f} s after the first.",
        tiers=_rows((tier, len(tests[tier]), f"{by_tier[tier]:.0f}") for tier in TIERS if tier in by_tier),
        files=FILES,
        by_file=_rows((f"{by_file[file]:.1f}", len(tests[file]), f"`{file}`") for file in _largest(by_file)),
        slowest=len(slowest),
        share=f"{sum(report.duration for report in slowest) / whole:.0%}",
        by_test=_rows((f"{each.duration:.1f}", each.when, f"`{each.nodeid}`") for each in slowest),
    )


def _largest(sums: Mapping[str, float]) -> list[str]:
    return sorted(sums, key=lambda name: -sums[name])[:FILES]


def _rows(rows: Iterable[tuple[object, ...]]) -> str:
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in row)} |" for row in rows)


def _tier(report: pytest.TestReport) -> str:
    return next((tier for tier in reversed(TIERS) if tier in report.keywords), TIERS[0])


def _machine() -> str:
    facts = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", facts.read_text() if facts.exists() else "")
    name = model[1] if model else platform.machine()
    return f"{os.cpu_count()} x {name}, Python {platform.python_version()}, torch {version('torch')}"


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
