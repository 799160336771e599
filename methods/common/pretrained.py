"""Pretrained weights and models: from a file, from a folder, or from the hub's cache.

Nothing is fetched unless the user allows it (``harness.core.weights``), and nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from harness.core.errors import HarnessError
from harness.core.weights import model_folder, quiet_loading

FILES = ("model.safetensors", "pytorch_model.bin")
"""State dicts in a folder of the hub, the first that is there."""

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
CLASSIFIERS = ("fc.", "classifier.", "head.")
"""Names of layers that a file may hold besides the backbone's."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from.

    Attributes:
        name: a ``.safetensors`` file, a file of ``torch.save``, a folder with one of ``FILES``, or the hub's
            ``owner/model``.
        setting: the configuration's field, ``method.field``.
        expected: what it should hold, e.g. ``a ResNet-101 of timm``.
    """

    name: str
    setting: str
    expected: str

    def file(self) -> Path:
        """The file with the state dict.

        Raises:
            HarnessError: there is no such file, or the folder has none.
            UnavailableError: neither a folder nor a model in the hub's cache.
        """
        path = Path(self.name)
        if path.is_file():
            return path
        if path.suffix in SUFFIXES:
            raise self.error("no such file")
        folder = model_folder(self.name, self.setting, FILES)
        files = [folder / name for name in FILES if (folder / name).is_file()]
        if not files:
            raise self.error(f"the folder has neither {' nor '.join(FILES)}")
        return files[0]

    def error(self, reason: str) -> HarnessError:
        """The one error about a source: it names the source, what was expected, and the reason."""
        return HarnessError(
            f"{self.setting}: {self.name}: not the weights of {self.expected}: {reason}",
            "name a .safetensors file, a state-dict file of torch.save, or a folder that holds one",
        )


def read_weights(source: Source) -> dict[str, Tensor]:
    """The state dict of a source, on the CPU.

    Raises:
        HarnessError: the file is absent or cannot be read.
        UnavailableError: neither a file nor a folder nor a model in the hub's cache.
    """
    path = source.file()
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # PyTorch's own text advises to load it all the same
        raise source.error("the file holds more than tensors, or is damaged") from error
    except Exception as error:  # safetensors and the unpickler raise types of their own
        raise source.error(reason_of(error)) from error
    return weights


def fill(network: nn.Module, weights: Mapping[str, Tensor], source: Source) -> None:
    """Load weights that may hold a classifier besides.

    Raises:
        HarnessError: they are those of another network.
    """
    try:
        missing, extra = network.load_state_dict(weights, strict=False)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise source.error(reason_of(error)) from error
    extra = [name for name in extra if not name.startswith(CLASSIFIERS)]
    if missing or extra:
        raise source.error(f"it lacks {missing[0]}" if missing else f"it has {extra[0]}")


def in_order(network: nn.Module, weights: Mapping[str, Tensor], source: Source) -> dict[str, Tensor]:
    """Weights under the network's names, where names differ and order and number agree.

    Raises:
        HarnessError: another number of tensors.
    """
    names = network.state_dict()
    if set(names) == set(weights):
        return dict(weights)
    if len(names) != len(weights):
        raise source.error(f"{len(weights)} tensors instead of {len(names)}")
    return dict(zip(names, weights.values(), strict=True))


def load_model(load: Callable[..., Any], folder: Path | str, expected: str, **options: Any) -> Any:
    """A model of transformers or diffusers from a local folder, or a tokenizer.

    Args:
        load: a class's ``from_pretrained``.
        expected: what the folder should hold, e.g. ``a Swin Transformer``.
        options: passed on; with ``output_loading_info=True``, weights that are missing are an error.

    Raises:
        HarnessError: it cannot be read, or weights are missing from it.
    """
    try:
        with quiet_loading():
            model = load(folder, local_files_only=True, **options)
    except Exception as error:
        raise HarnessError(
            f"{folder}: cannot read {expected}: {reason_of(error)}", "copy the model's files again"
        ) from error
    if not options.get("output_loading_info"):
        return model
    model, report = model
    missing = sorted(report["missing_keys"])
    if missing:
        raise HarnessError(
            f"{folder}: {len(missing)} weights are missing, first {missing[0]}",
            "copy the model's files again",
        )
    return model


def reason_of(error: Exception) -> str:
    """The first line of an error that says something; PyTorch's own first line only introduces the second."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[1].strip() if lines[0].startswith("Error(s) in loading") and len(lines) > 1 else lines[0]
