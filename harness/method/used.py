"""What a plugin used beyond what its source says: the files that it opened, by place and content."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from harness.core.opened import CODE, NOTED, State, noting
from harness.core.registry import is_foreign
from harness.core.used import digests
from harness.method.box.confined import ConfinedMethod
from harness.method.contract import Method
from harness.method.fingerprint import files_of


def runs_here(plugin: type) -> bool:
    """Whether a class is code of another package, in this process."""
    return is_foreign(plugin) and not issubclass(plugin, ConfinedMethod)


def noted(plugin: type) -> AbstractContextManager[None]:
    """What a plugin in this process opens meanwhile is noted."""
    return noting(plugin.__module__) if runs_here(plugin) else nullcontext()


def used_by_method(method: Method[Any], left_out: Sequence[str | Path]) -> dict[str, str]:
    """Place -> digest of the user's files that a method opened; without those that its fingerprint covers.

    Args:
        method: in a box or not.
        left_out: folders whose files do not count, such as those of the data.
    """
    if isinstance(method, ConfinedMethod):
        method.note_opened()
        return _beyond_source(type(method), method.opened, left_out)
    return used_by(type(method), left_out)


def used_by(plugin: type, left_out: Sequence[str | Path]) -> dict[str, str]:
    """The same of any class that runs in this process.

    Python opens a module once: those that other plugins have imported first count, too, except what the
    sources of these name.
    """
    states: dict[str, State] = {}
    for module, opened in list(NOTED.items()):
        if module == plugin.__module__:
            states |= {path: state for path, state in opened.states.items() if path not in opened.written}
        else:
            named = _named_by(type("Any", (), {"__module__": module}))
            code = {path: state for path, state in opened.states.items() if path.endswith(CODE)}
            states |= {
                path: state for path, state in code.items() if path not in named and path not in states
            }
    return _beyond_source(plugin, states, left_out)


def _beyond_source(plugin: type, opened: dict[str, State], left_out: Sequence[str | Path]) -> dict[str, str]:
    named = _named_by(plugin)
    return digests({path: state for path, state in opened.items() if path not in named}, left_out)


def _named_by(plugin: type) -> set[str]:
    return {str(path.resolve()) for path in files_of(plugin).values()}
