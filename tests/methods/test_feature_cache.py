"""Features of frozen layers are computed once per study while a method is fitted."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.common.feature_cache import FeatureCache


def test_features_are_computed_once_per_study_while_kept() -> None:
    kept, calls = FeatureCache(), list[int]()
    values = {"a": 1.0, "b": 2.0, "c": 3.0}

    def ask(*ids: str) -> Tensor:
        def compute(rows: list[int]) -> list[Tensor]:
            calls.append(len(rows))
            return [torch.tensor([[values[ids[row]]] for row in rows])]

        return kept(ids, compute, torch.zeros(1))[0]

    with kept.keeping():
        torch.testing.assert_close(ask("a", "b"), torch.tensor([[1.0], [2.0]]))
        torch.testing.assert_close(ask("c", "a"), torch.tensor([[3.0], [1.0]]))
        assert ask("b").dtype == torch.float32
        assert calls == [2, 1]
    ask("a")
    assert calls == [2, 1, 1]
    with kept.keeping(active=False):
        ask("a")
        ask("a")
    assert calls == [2, 1, 1, 1, 1]
