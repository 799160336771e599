"""Messages between a box and its owner: JSON with arrays beside it, over a socket."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import numpy as np

from harness.core.errors import HarnessError

_HEAD = struct.Struct("=QQ")
_MOST = 8 * 2**30
"""Bytes of a message."""
_ARRAY = "$array"
_KINDS = "biuf"


class WireError(HarnessError):
    """What arrived is no message."""


class Channel:
    """One end of the socket between a box and its owner."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    def send(self, message: dict[str, Any]) -> None:
        """Send a tree of dicts, lists, texts, numbers and NumPy arrays."""
        arrays: list[np.ndarray] = []
        text = json.dumps(_packed(message, arrays)).encode()
        kinds = json.dumps([[array.dtype.str, array.shape] for array in arrays]).encode()
        self.end.sendall(_HEAD.pack(len(text), len(kinds)) + text + kinds)
        for array in arrays:
            self.end.sendall(array.data.cast("B") if array.size else b"")

    def receive(self) -> dict[str, Any]:
        """The next message; its arrays have memory of their own.

        Raises:
            EOFError: the other end is closed.
            TimeoutError: nothing came for as long as the socket waits, between two messages.
            WireError: it is no message.
        """
        head = self._bytes(1)
        self.end.setblocking(True)
        lengths = _HEAD.unpack(head + self._bytes(_HEAD.size - 1))
        if sum(lengths) > _MOST:
            raise WireError("a message is too long")
        try:
            text, kinds = (json.loads(self._bytes(length)) for length in lengths)
            arrays = [self._array(*kind) for kind in kinds]
            message = _unpacked(text, arrays)
        except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
            raise WireError(f"what arrived is no message: {type(error).__name__}") from error
        if not isinstance(message, dict):
            raise WireError("what arrived is no message")
        return message

    def _array(self, kind: str, shape: list[int]) -> np.ndarray:
        dtype = np.dtype(kind)
        if dtype.kind not in _KINDS or any(type(size) is not int or size < 0 for size in shape):
            raise ValueError(kind)
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if size > _MOST:
            raise WireError("a message is too long")
        return np.frombuffer(self._bytes(size), dtype).reshape(shape)

    def _bytes(self, count: int) -> bytearray:
        content = bytearray(count)
        view = memoryview(content)
        while view:
            size = self.end.recv_into(view)
            if not size:
                raise EOFError
            view = view[size:]
        return content


def copied(message: dict[str, Any]) -> dict[str, Any]:
    """The message as it would arrive, for an owner and a box that are one process."""
    arrays: list[np.ndarray] = []
    tree = json.loads(json.dumps(_packed(message, arrays)))
    content: dict[str, Any] = _unpacked(tree, [array.copy() for array in arrays])
    return content


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in _KINDS:
            raise TypeError(f"an array of {value.dtype} is not sent")
        arrays.append(np.ascontiguousarray(value).reshape(value.shape))
        return {_ARRAY: len(arrays) - 1}
    if isinstance(value, dict):
        return {str(key): _packed(each, arrays) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(each, arrays) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _unpacked(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: _unpacked(each, arrays) for key, each in value.items()}
    if isinstance(value, list):
        return [_unpacked(each, arrays) for each in value]
    return value
