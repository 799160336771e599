"""What the Linux kernel confines without privileges: Landlock for files, seccomp for system calls.

Both are called through ``ctypes`` (man 7 landlock, man 2 seccomp). Numbers are those of the kernel's headers.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _NEW_LISTENER = 1, 1 << 3

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE, _REFER, TRUNCATE = 0b11 << 4, 1 << 13, 1 << 14
REMOVE_FILE, MAKE_FILE = 1 << 5, 1 << 8
_MAKE = sum(1 << number for number in (7, 8, 9, 10, 12))
"""Folders, files, sockets, pipes and links, but no devices."""
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | _REMOVE | _MAKE | _REFER | TRUNCATE
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
"""Rights as Landlock numbers them. Only these make sense for a file that is no folder."""

_ALLOW, _ERROR, _NOTIFY = 0x7FFF0000, 0x00050000, 0x7FC00000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_EPERM, _EACCES, _ENOSYS = 1, 13, 38


@dataclass(frozen=True, slots=True)
class _Machine:
    """System call numbers of a processor.

    Attributes:
        audit: how seccomp names the processor.
        seccomp, socket: numbers of these calls.
        opening: calls that open a file by its name: number -> place of the name among the arguments.
        refused: number -> error; calls that would open files or sockets past the filter.
    """

    audit: int
    seccomp: int
    socket: int
    opening: dict[int, int]
    refused: dict[int, int]


_URING = {425: _ENOSYS, 426: _ENOSYS, 427: _ENOSYS}
# shmget, semget, msgget, mq_open, add_key, request_key, keyctl: what they make outlives a process.
_KEPT = {
    name: dict.fromkeys(numbers, _EPERM)
    for name, numbers in (
        ("x86_64", (29, 64, 68, 240, 248, 249, 250)),
        ("aarch64", (194, 190, 186, 180, 217, 218, 219)),
    )
}
MACHINES = {
    "x86_64": _Machine(
        *(0xC000003E, 317, 41, {2: 0, 85: 0, 257: 1, 437: 1}), {304: _EPERM, **_URING, **_KEPT["x86_64"]}
    ),
    "aarch64": _Machine(
        *(0xC00000B7, 277, 198, {56: 1, 437: 1}), {265: _EPERM, **_URING, **_KEPT["aarch64"]}
    ),
}


def machine() -> _Machine | None:
    """This machine's numbers; None where they are not known, or where the system is not Linux."""
    linux = platform.system() == "Linux" and struct.calcsize("P") == 8
    return MACHINES.get(platform.machine()) if linux else None


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    """A system call; -1 where it failed."""
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    call = _libc().syscall
    call.restype = ctypes.c_long
    return int(call(ctypes.c_long(number), *values))


def landlock_version() -> int:
    """Version of the kernel's Landlock interface (1 and above); 0 where there is none."""
    if machine() is None:
        return 0
    return max(0, _call(_CREATE_RULESET, None, 0, _VERSION_FLAG))


def restrict_files(rights: Sequence[tuple[str, int]]) -> int:
    """Refuse this process every file except those below the given paths, for good.

    Processes outside cannot be traced or signalled from then on, either, and TCP ports are refused, as far as
    the kernel's version can.

    Args:
        rights: (path, ``READ`` or ``WRITE`` or single rights); a path that does not exist is left out.

    Returns:
        The version of Landlock; 0 where the kernel has none and nothing is refused.

    Raises:
        HarnessError: the kernel has Landlock and refuses to apply it.
    """
    version = landlock_version()
    if not version:
        return 0
    handled = (1 << 13) - 1
    handled |= (_REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    fields = (handled, 0b11, 0b11)[: 1 if version < 4 else 2 if version < 6 else 3]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _call(_CREATE_RULESET, ctypes.c_char_p(attributes), len(attributes), 0)
    if ruleset < 0:
        raise HarnessError(f"Landlock: no rules: {os.strerror(ctypes.get_errno())}")
    try:
        for path, allowed in rights:
            _add(ruleset, path, allowed & handled)
        _forgo_privileges()
        if _call(_RESTRICT_SELF, ruleset, 0) != 0:
            raise HarnessError(f"Landlock: not applied: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(ruleset)
    return version


def _add(ruleset: int, path: str, allowed: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rule = struct.pack("=Qi", allowed if Path(path).is_dir() else allowed & _OF_FILES, handle)
        if _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.c_char_p(rule), 0) != 0:
            raise HarnessError(f"Landlock: {path}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(handle)


def _forgo_privileges() -> None:
    if _libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise HarnessError("the kernel does not let this process give up privileges")


def restrict_calls(*, listened: bool) -> int | None:
    """Refuse sockets other than those of this machine's file system, for good.

    Args:
        listened: each opening of a file waits until the owner of the returned descriptor lets it go on.

    Returns:
        The descriptor, where ``listened`` and possible, else -1; None where the kernel filters no calls.
    """
    own = machine()
    if own is None:
        return None
    _forgo_privileges()
    program = _program(own, listened)
    instructions = b"".join(struct.pack("=HBBI", *each) for each in program)
    held = ctypes.create_string_buffer(instructions)
    filter_ = struct.pack("@HP", len(program), ctypes.addressof(held))
    result = _call(own.seccomp, _SET_FILTER, _NEW_LISTENER if listened else 0, ctypes.c_char_p(filter_))
    if result < 0:
        return restrict_calls(listened=False) if listened else None
    return result if listened else -1


def _program(own: _Machine, listened: bool) -> list[tuple[int, int, int, int]]:
    """The filter, as instructions (code, jump if true, jump if false, value)."""
    instructions = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, own.audit),
        (_RETURN, 0, 0, _ERROR | _EPERM),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, 0x40000000),
        (_RETURN, 0, 0, _ERROR | _EPERM),
    ]
    answers = {number: _ERROR | error for number, error in own.refused.items()}
    if listened:
        answers |= dict.fromkeys(own.opening, _NOTIFY)
    for number, answer in answers.items():
        instructions += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, answer)]
    return [
        *instructions,
        (_EQUAL, 1, 0, own.socket),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, 16),  # the low half of a socket's first argument
        (_EQUAL, 0, 1, int(socket.AF_UNIX)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERROR | _EACCES),
    ]
