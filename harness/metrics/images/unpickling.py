"""Networks from files that pickle a whole network: their layers are taken, and nothing in them is called."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import nn

from harness.core.errors import CorruptFileError

_LAYERS = ("torch.nn.modules.", "torchxrayvision.models", "torchvision.models.densenet")
"""Modules whose networks may be there."""

_CALLED = {
    ("collections", "OrderedDict"),
    ("__builtin__", "set"),
    ("builtins", "set"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}
"""What rebuilds tensors and their containers."""


# The one in Python: the one in C lets nobody see what is about to be called.
_Unpickler: Any = pickle._Unpickler


class _Layers(_Unpickler):
    """An unpickler that finds layers, storages and what rebuilds tensors, and never calls a layer's class.

    A network's constructor may itself open files, so objects are made without it, as pickles of networks ask.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """A class or function of the short list."""
        if (module, name) in _CALLED or (module in ("torch", "torch.storage") and name.endswith("Storage")):
            return super().find_class(module, name)
        found = super().find_class(module, name) if module.startswith(_LAYERS) and "." not in name else None
        if isinstance(found, type) and issubclass(found, nn.Module | nn.Parameter):
            return found
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def load_reduce(self) -> None:
        """Call a function of the list."""
        self._refuse_layers(self.stack[-2])
        super().load_reduce()

    def _instantiate(self, made: Any, arguments: Any) -> None:
        self._refuse_layers(made)
        super()._instantiate(made, arguments)

    @staticmethod
    def _refuse_layers(called: Any) -> None:
        if isinstance(called, type) and issubclass(called, nn.Module):
            raise pickle.UnpicklingError(f"it calls {called.__name__}")

    dispatch[pickle.REDUCE[0]] = load_reduce


def _load(stream: Any, **options: Any) -> Any:
    return _Layers(stream, **options).load()


def pickled_network(path: Path) -> nn.Module:
    """The network that ``torch.save`` wrote whole, on the CPU.

    Raises:
        CorruptFileError: the file is damaged, is no network, or asks for anything but layers and tensors.
    """
    reader = SimpleNamespace(Unpickler=_Layers, load=_load, __name__="pickle")
    try:
        found = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
    except Exception as error:  # torch.load raises whatever the unpickler meets
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptFileError(f"{path}: not a network: {reason}", "download it again") from error
    if not isinstance(found, nn.Module):
        raise CorruptFileError(f"{path}: not a network", "download it again")
    return found
