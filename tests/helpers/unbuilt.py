"""A method whose constructor fails."""

from __future__ import annotations

import os
import signal
from typing import Any

from methods.controls.template import Template


class Unbuilt(Template):
    """Never gets as far as to be trained."""

    def __init__(self, *args: Any) -> None:
        raise RuntimeError("the report of a patient")


class Ended(Template):
    """Its constructor ends the process."""

    def __init__(self, *args: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
