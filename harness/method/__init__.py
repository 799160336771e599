"""The contract of a method and what it receives: the names that plugins import."""

from harness.method.card import Deviation, MethodCard
from harness.method.config import MethodConfig, TrainingConfig
from harness.method.contract import FitRun, Method
from harness.method.torch_method import TorchMethod
from harness.method.trainable import Trainable

__all__ = [
    "Deviation",
    "FitRun",
    "Method",
    "MethodCard",
    "MethodConfig",
    "TorchMethod",
    "Trainable",
    "TrainingConfig",
]
