"""Starters of boxes: they live as long as this process, so that their imports are waited for once."""

from __future__ import annotations

import atexit
from collections.abc import Sequence

from harness.method.box.box import Boxes

_AHEAD = 400 * 86_400 + 5 * 3_600 + 7 * 60
"""Seconds: another year, month, day of the week and hour."""
_SALTS = {False: 0, True: 1}

_starters: dict[bool, Boxes] = {}


def boxes(elsewhere: bool = False, libraries: Sequence[str] = ()) -> Boxes:
    """What starts boxes here, or elsewhere: with another hash salt, on another day.

    Args:
        elsewhere: which of the two.
        libraries: what it imports once for all methods, where it does not run yet.
    """
    starter = _starters.get(elsewhere)
    if starter is None or not starter.alive:
        if not _starters:
            atexit.register(end_starters)
        starter = Boxes(_SALTS[elsewhere], _AHEAD if elsewhere else 0.0, libraries)
        _starters[elsewhere] = starter
    return starter


def end_starters() -> None:
    """End them with all their boxes."""
    while _starters:
        _starters.popitem()[1].close()
