"""A process that draws phantoms: patients as JSON on standard input, raw pixels on standard output."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from harness.core.signals import leave_to_parent
from harness.datasets.phantom.draw import render
from harness.datasets.phantom.patient import Patient


def main() -> None:
    """Draw every patient of the job, in order; each is ``2 * size * size`` bytes."""
    try:
        _draw(json.load(sys.stdin))
    except (OSError, ValueError):  # the process that gave the job has been killed
        os._exit(1)


def _draw(job: dict[str, Any]) -> None:
    for study_id, codes, age, sex, acquisition in job["patients"]:
        sys.stdout.buffer.write(
            render(Patient(study_id, tuple(codes), age, sex, tuple(acquisition)), job["size"]).tobytes()
        )
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    leave_to_parent()
    main()
