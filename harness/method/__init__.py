"""What a method has to fulfil, and what it is given: the names that plugins import."""

from harness.method.card import Deviation, MethodCard
from harness.method.config import MethodConfig, TrainingConfig
from harness.method.contract import FitRun, Method
from harness.method.torch_method import TorchMethod

__all__ = ["Deviation", "FitRun", "Method", "MethodCard", "MethodConfig", "TorchMethod", "TrainingConfig"]
