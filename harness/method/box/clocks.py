"""Other clocks for a box: Python code in it reads a date that is not today's.

Code that asks the kernel itself (C++, ``ctypes``, a new file's times) still sees today's.
"""

from __future__ import annotations

import datetime as dates
import time
from collections.abc import Callable
from typing import Any


def set_ahead(seconds: float) -> None:
    """Put the clocks of ``time`` and ``datetime`` ahead in this process, for modules imported later."""
    clock, clock_ns, strftime = time.time, time.time_ns, time.strftime

    def later() -> float:
        return clock() + seconds

    def ahead(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda at=None: function(later() if at is None else at)

    changed: dict[str, Any] = {name: ahead(getattr(time, name)) for name in ("localtime", "gmtime", "ctime")}
    changed |= {"time": later, "time_ns": lambda: clock_ns() + int(seconds * 1e9)}
    changed["strftime"] = lambda text, at=None: strftime(text, changed["localtime"]() if at is None else at)
    for name, function in changed.items():
        setattr(time, name, function)
    date, moment = dates.date, dates.datetime
    today = {"today": classmethod(lambda cls: date.fromtimestamp(later()))}
    now = {
        "now": classmethod(lambda cls, tz=None: moment.fromtimestamp(later(), tz)),
        "today": classmethod(lambda cls: moment.fromtimestamp(later())),
        "utcnow": classmethod(lambda cls: moment.fromtimestamp(later(), dates.UTC).replace(tzinfo=None)),
    }
    for original, functions in ((date, today), (moment, now)):
        setattr(dates, original.__name__, _stand_in(original, functions))


def _stand_in(original: Any, functions: dict[str, Any]) -> type:
    """A subclass with other functions, of which objects of the original are instances, too."""

    class Standing(type):
        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, original)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, original)

    return Standing(original.__name__, (original,), functions)
