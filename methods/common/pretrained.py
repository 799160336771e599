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

from harness.core.errors import HarnessError, UnavailableError
from harness.core.weights import PACKAGE, RANDOM, lite0_weights, quiet_loading, state_dict_file
from harness.method.pretrained import PretrainedPart

CLASSIFIERS = ("fc.", "classifier.", "head.")
"""Names of layers that a file may have or lack: no method uses a network's own classifier."""
UNUSED = (*CLASSIFIERS, "conv_head.", "bn2.")
"""Names of layers that a file may have besides the network's: of EfficientNet's head, too."""
COUNTER = "num_batches_tracked"
"""End of the names of counters that older files lack."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from.

    Attributes:
        name: a ``.safetensors`` file, a file of ``torch.save``, a folder with ``model.safetensors`` or
            ``pytorch_model.bin``, or the hub's ``owner/model`` with such a file (those of timm have one).
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
        try:
            return state_dict_file(self.name, self.setting)
        except UnavailableError:
            raise
        except HarnessError as error:
            raise self.error(str(error).rpartition(": ")[2]) from error

    def error(self, reason: str) -> HarnessError:
        """The one error about a source: it names the source, what was expected, and the reason."""
        return HarnessError(
            f"{self.setting}: {self.name}: not the weights of {self.expected}: {reason}",
            "name a .safetensors file, a state-dict file of torch.save, or a folder that holds one",
        )


def start(network: nn.Module, part: PretrainedPart) -> None:
    """Give a new network the weights that its setting names; with ``random`` or nothing it stays as it is.

    A network without memory (``torch.device("meta")``) stays so, too.

    Raises:
        HarnessError: no such weights, those of another network, or no package ships any.
        UnavailableError: a package or a model of the hub is absent.
    """
    if part.source in ("", RANDOM) or next(network.parameters()).is_meta:
        return
    source = Source(part.source, part.setting, part.network)
    if part.source != PACKAGE:
        fill(network, in_order(network, read_weights(source), source), source)
    elif part.packaged:
        fill(network, lite0_weights(), source)
    else:
        raise HarnessError(f"{part.setting}: no package ships weights of {part.network}", part.advice)


def read_weights(source: Source) -> dict[str, Tensor]:
    """The state dict of a source, on the CPU.

    A state dict may lie below ``state_dict`` or ``model``, and its names may start with ``module.``.

    Raises:
        HarnessError: the file is absent or cannot be read.
        UnavailableError: neither a file nor a folder nor a model in the hub's cache.
    """
    path = source.file()
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # PyTorch's own text advises to load it all the same
        raise source.error("the file holds more than tensors, or is damaged") from error
    except Exception as error:  # safetensors and the unpickler raise types of their own
        raise source.error(reason_of(error)) from error
    for name in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise source.error("the file is no state dict")
    wrapped = all(name.startswith("module.") for name in content)
    return {name.removeprefix("module.") if wrapped else name: value for name, value in content.items()}


def fill(network: nn.Module, weights: Mapping[str, Tensor], source: Source) -> None:
    """Load weights that may hold a classifier besides.

    Raises:
        HarnessError: they are those of another network; the message says what would not have been filled.
    """
    own = network.state_dict()
    lacking = [name for name in own if name not in weights and not name.startswith(CLASSIFIERS)]
    lacking = [name for name in lacking if not name.endswith(COUNTER)]
    extra = [name for name in weights if name not in own and not name.startswith(UNUSED)]
    both = [name for name in own if name in weights and not name.startswith(CLASSIFIERS)]
    other = [name for name in both if own[name].shape != weights[name].shape]
    reasons = [f"{len(lacking)} of {len(own)} tensors are not in it, first {lacking[0]}"] if lacking else []
    reasons += [f"it has {len(extra)} that the network lacks, first {extra[0]}"] if extra else []
    if other:
        shapes = f"{tuple(weights[other[0]].shape)} instead of {tuple(own[other[0]].shape)}"
        reasons.append(f"{len(other)} have another shape, first {other[0]}: {shapes}")
    if reasons:
        raise source.error("; ".join(reasons))
    network.load_state_dict({name: weights[name] for name in both}, strict=False)


def in_order(network: nn.Module, weights: Mapping[str, Tensor], source: Source) -> dict[str, Tensor]:
    """Weights under the network's names, where no name agrees, and order and number do.

    Raises:
        HarnessError: no name agrees, and it is another number of tensors.
    """
    names = network.state_dict()
    if set(names) & set(weights):
        return dict(weights)
    if len(names) != len(weights):
        raise source.error(f"no name agrees, and it has {len(weights)} tensors instead of {len(names)}")
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
