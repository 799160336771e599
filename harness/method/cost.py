"""What a method costs, measured while it is fitted: size, arithmetic, memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from harness.core.feature_store import computed
from harness.core.files import peak_gib, read_json
from harness.core.types import Study
from harness.method.batching import collate, targets_of
from harness.method.contract import Method
from harness.method.torch_method import TorchMethod

_RESET_PEAK = Path("/proc/self/clear_refs")


class PeakMemory:
    """Peak memory while the block runs: of the GPU's allocations, else of the whole process.

    Attributes:
        gib: GiB; set when the block ends, None where the system does not report it.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.gib: float | None = None

    def __enter__(self) -> Self:
        if self.device.startswith("cuda"):
            torch.cuda.init()  # in a new process, as a box is, nothing has used the GPU yet
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            # A worker process fits one method after another, and only its own peak is a method's cost.
            with suppress(OSError):  # some kernels and containers forbid it
                _RESET_PEAK.write_text("5")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.device.startswith("cuda"):
            self.gib = torch.cuda.max_memory_allocated(self.device) / 2**30
        else:
            with suppress(OSError, ValueError):
                self.gib = peak_gib()


def sizes(method: Method[Any], study: Study) -> dict[str, int | None]:
    """Parameters and FLOPs of a fitted method; None for a method without a network.

    Args:
        method: fitted, on its device.
        study: a training study; FLOPs are those of a training forward pass on it alone, or, of a method
            that leaves parts behind when training ends, of inference. A multiply-add counts as two.
    """
    if not isinstance(method, TorchMethod):
        return {"parameters": None, "trainable_parameters": None, "flops": None}
    parameters = list(method.network.parameters())
    return {
        "parameters": sum(each.numel() for each in parameters),
        "trainable_parameters": sum(each.numel() for each in parameters if each.requires_grad),
        "flops": _flops(method, study),
    }


def _flops(method: TorchMethod[Any], study: Study) -> int | None:
    """None where they cannot be counted: that must not cost the row its numbers."""
    from torch.utils.flop_counter import FlopCounterMode

    device = next(method.network.parameters()).device
    inputs = collate([study], method.info, reads=method.card.reads).to(device)
    targets = targets_of([study]).to(device)
    method.network.eval()
    forked = [device] if device.type == "cuda" else []
    try:
        with (
            computed(),
            torch.random.fork_rng(forked),
            FlopCounterMode(display=False) as counter,
            torch.no_grad(),
        ):
            if method.as_fitted(inputs) is None:
                method.losses(inputs, targets)
    except Exception:
        return None
    return int(counter.get_total_flops())


def training_summary(directory: Path) -> Mapping[str, Any]:
    """Seconds, best epoch and history of a finished or interrupted fit; empty where there is none."""
    path = directory / "history.json"
    return dict(read_json(path)) if path.exists() else {}


def last_signs(directory: Path) -> dict[str, Any]:
    """Vital signs of a fit at the epoch whose weights stand, those of all stages in one; empty without any.

    Args:
        directory: of the fit; a method that trains in stages has a folder in it for each of them.
    """
    signs: dict[str, Any] = {}
    for path in sorted(directory.rglob("history.json")):
        summary = read_json(path)
        measured = [epoch["signs"] for epoch in summary["history"] if "signs" in epoch]
        if not measured:
            continue
        best = summary["history"][summary["best_epoch"]] if summary["best_epoch"] >= 0 else {}
        stage = "" if path.parent == directory else f"{path.parent.name}: "
        latest = best.get("signs", measured[-1]) if summary.get("keep") == "best" else measured[-1]
        signs.setdefault("probes", []).extend(latest.get("probes", ()))
        terms = {f"{stage}{name}": shares for name, shares in latest.get("terms", {}).items()}
        signs.setdefault("terms", {}).update(terms)
        if "error" in latest:
            signs["error"] = f"{stage}{latest['error']}"
    return signs
