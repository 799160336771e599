"""Programs that some tests need beside Python: a browser, LaTeX."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

import pytest

PACKAGES = {
    "chromium": ["chromium"],
    "pdflatex": ["texlive-latex-base", "texlive-latex-extra", "texlive-science", "lmodern"],
}


@cache
def _install(program: str) -> None:
    """Debian's packages, with HARNESS_TEST_INSTALL=1 where tests run as root, as in a container."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if not root or shutil.which("apt-get") is None or os.environ.get("HARNESS_TEST_INSTALL") != "1":
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300"]
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES[program]]):
        subprocess.run([*apt, *command], env=environment, capture_output=True, timeout=480, check=False)


def require(program: str) -> str:
    """Path of the program; the test is skipped where it is absent and is not installed."""
    if shutil.which(program) is None:
        _install(program)
    executable = shutil.which(program)
    if executable is None:
        pytest.skip(f"no {program}: apt-get install {' '.join(PACKAGES[program])}")
    return executable
