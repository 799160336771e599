"""A method whose constructor fails."""

from __future__ import annotations

from typing import Any

from methods.controls.template import Template


class Unbuilt(Template):
    """Never gets as far as to be trained."""

    def __init__(self, *args: Any) -> None:
        raise RuntimeError("the report of a patient")
