"""The entry point: what becomes of errors and signals.

The commands are imported after the signals are handled, so that Ctrl-C in the first second is quiet, too.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from harness.core.children import SAFE_PATH
from harness.core.errors import HarnessError
from harness.core.packages import packages_named
from harness.core.signals import Stopped, stopped_by_signals

_CONTINUES = frozenset({"run", "ablate", "downstream"})
"""Commands that keep what is finished and continue there."""
_KEPT = (
    ": what is finished is kept, training up to its last finished epoch; the same command continues from here"
)


def main() -> None:
    """Run a command: a user's mistake is one line on stderr and a non-zero exit, never a traceback."""
    # Spinning OpenMP threads starve each other when anything else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault(SAFE_PATH, "1")  # of every process that a command starts
    flags: dict[str, Any] = {}
    try:
        with stopped_by_signals():
            from harness.cli.app import app

            with packages_named(lambda: f"harness {flags.get('command', '')}"):
                app(obj=flags)
    except HarnessError as error:
        if flags.get("debug"):
            traceback.print_exception(error)
        text = " ".join(str(error).split())
        _say(f"error: {''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)}")
        sys.exit(error.exit_code)
    except Stopped as stopped:
        _say(f"stopped by {stopped.name}{_KEPT if flags.get('command') in _CONTINUES else ''}")
        sys.exit(stopped.exit_code)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
