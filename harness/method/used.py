"""What a plugin used beyond what its source says: the files that it opened, by place and content."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from harness.core.opened import CODE, Opened, State, noting, opened_by, state_of, unnoted
from harness.core.registry import is_ours
from harness.core.used import digests, own_files
from harness.method.box.confined import ConfinedMethod
from harness.method.contract import Method
from harness.method.fingerprint import files_of

_named: dict[tuple[str, str], dict[str, State | None]] = {}
"""Module and name of a class -> the files that its source names, with what they were then."""


def runs_here(plugin: type) -> bool:
    """Whether a class is code of another package or of the user, in this process."""
    return not is_ours(plugin) and not issubclass(plugin, ConfinedMethod)


def noted(plugin: type) -> AbstractContextManager[None]:
    """What a plugin in this process opens meanwhile is noted."""
    return noting(plugin.__module__) if runs_here(plugin) else nullcontext()


@unnoted()
def used_by_method(method: Method[Any], left_out: Sequence[str | Path]) -> dict[str, str]:
    """Place -> digest of the user's files that a method opened; without those that its fingerprint covers.

    Args:
        method: in a box or not.
        left_out: folders whose files do not count, such as those of the data.
    """
    if isinstance(method, ConfinedMethod):
        method.note_opened()
        return _beyond_source(type(method), own_files(method.opened), left_out)
    return used_by(type(method), left_out)


@unnoted()
def used_by(plugin: type, left_out: Sequence[str | Path], *, alone: bool = False) -> dict[str, str]:
    """The same of any class that runs in this process.

    Python opens a module once: those that other plugins have imported first count, too, except what the
    sources of these name. A module may read its data once: what was read for another plugin by a module
    outside its package counts, too, if this plugin's source names the module, or the other's does not.

    Args:
        alone: what counts is only what was opened for the plugin, or by modules that its source names.
    """
    states: dict[str, State] = {}
    for module, opened in list(opened_by.items()):
        own = own_files(opened.states)
        if module == plugin.__module__:
            states |= {path: state for path, state in own.items() if not opened.was_written(path)}
        if module == plugin.__module__ or own.keys() <= states.keys():
            continue
        others = type("Any", (), {"__module__": module})
        for path, state in own.items():
            sure = _is_of_both(opened, path, plugin)
            if path not in states and (sure or (not alone and _is_shared(opened, path, others))):
                states[path] = state
    return _beyond_source(plugin, states, left_out)


def _is_of_both(opened: Opened, path: str, plugin: type) -> bool:
    """Whether data were read, for another plugin, by a module that this plugin's source names, too."""
    readers = own_files(dict.fromkeys(file for _, file in opened.askers.get(path, ()) if os.path.isabs(file)))
    named = _named_by(plugin) if readers and not path.endswith(CODE) else ()
    return any(os.path.realpath(file) in named for file in readers) and not opened.was_written(path)


def _is_shared(opened: Opened, path: str, owner: type) -> bool:
    """Whether a plugin may rest on a file of another one, the owner, though neither's source says so.

    A module may be chosen as the code runs, and may read data once for both.
    """
    of_owner, package = _named_by(owner), owner.__module__.partition(".")[0]
    if path.endswith(CODE):
        return path not in of_owner
    askers = opened.askers.get(path, frozenset())
    outside = {file for name, file in askers if name.partition(".")[0] != package and os.path.isabs(file)}
    readers = own_files(dict.fromkeys(outside))
    return any(os.path.realpath(file) not in of_owner for file in readers) and not opened.was_written(path)


def _beyond_source(plugin: type, own: dict[str, State], left_out: Sequence[str | Path]) -> dict[str, str]:
    named = _named_by(plugin) if own else ()
    beyond = {path: state for path, state in own.items() if os.path.realpath(path) not in named}
    return digests(beyond, left_out)


def _named_by(plugin: type) -> Collection[str]:
    """Files that a class's source names; they are looked for again where one of them has changed."""
    key = plugin.__module__, plugin.__qualname__
    files = _named.get(key)
    if files is None or any(state_of(path) != state for path, state in files.items()):
        paths = (str(path.resolve()) for path in files_of(plugin).values())
        files = _named[key] = {path: state_of(path) for path in paths}
    return files
