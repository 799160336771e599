"""Networks from files that pickle a whole network: only layers are read, and no code of the file is run."""

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


# The unpickler in Python: that in C does not show what is about to be called.
_Unpickler: Any = pickle._Unpickler


class _Layers(_Unpickler):
    """An unpickler that finds layers, storages and what rebuilds tensors, and never calls a layer's class.

    A network's constructor may itself open files, so objects are created without it, as pickles of networks
    require.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """A class or function of the short list."""
        if (module, name) in _CALLED or (module in ("torch", "torch.storage") and name.endswith("Storage")):
            return super().find_class(module, name)
        if module.startswith(_LAYERS) and "." not in name:
            layer_class = super().find_class(module, name)
            if isinstance(layer_class, type) and issubclass(layer_class, nn.Module | nn.Parameter):
                return layer_class
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def load_reduce(self) -> None:
        """Call a function of the list."""
        self._refuse_layers(self.stack[-2])
        super().load_reduce()

    def _instantiate(self, layer_class: Any, arguments: Any) -> None:
        self._refuse_layers(layer_class)
        super()._instantiate(layer_class, arguments)

    @staticmethod
    def _refuse_layers(called: Any) -> None:
        if isinstance(called, type) and issubclass(called, nn.Module):
            raise pickle.UnpicklingError(f"it calls {called.__name__}")

    dispatch[pickle.REDUCE[0]] = load_reduce


def _load(stream: Any, **options: Any) -> Any:
    return _Layers(stream, **options).load()


def _refuse_programs(path: Path) -> None:
    """Refuse an archive of TorchScript, which ``torch.load`` would hand to ``torch.jit.load``: it holds code.

    PyTorch's own reader lists the files, so that both see the same archive.
    """
    try:
        names = torch._C.PyTorchFileReader(str(path)).get_all_records()
    except RuntimeError:
        return  # no archive; torch.load says what else it is
    if "constants.pkl" in names:
        raise CorruptFileError(
            f"{path}: not a network: a TorchScript archive, which holds code", "download it again"
        )


def pickled_network(path: Path) -> nn.Module:
    """The network that ``torch.save`` wrote whole, on the CPU.

    Raises:
        CorruptFileError: the file is damaged, is no network, or asks for anything but layers and tensors.
    """
    _refuse_programs(path)
    reader = SimpleNamespace(Unpickler=_Layers, load=_load, __name__="pickle")
    try:
        network = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
    except Exception as error:  # torch.load raises whatever the unpickler meets
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptFileError(f"{path}: not a network: {reason}", "download it again") from error
    if not isinstance(network, nn.Module):
        raise CorruptFileError(f"{path}: not a network", "download it again")
    return network
