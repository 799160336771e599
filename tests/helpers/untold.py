"""A method whose card lacks two fields: its module cannot be imported."""

from __future__ import annotations

from harness.method.card import MethodCard
from tests.helpers.odd import Odd


class Untold(Odd):
    """Says neither what it does nor what it reads."""

    card = MethodCard(name="untold", title="untold", paper="", licence="")  # type: ignore[call-arg]
