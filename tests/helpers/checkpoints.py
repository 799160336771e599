"""Small random BERTs on disk in the Hugging Face layout, for metrics whose real weights no test can have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.bench import checkpoints
from tests.helpers.reports import findings

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,-:;()'/"
PIECES = (*LETTERS, *(f"##{letter}" for letter in LETTERS))
"""With these every word is known: as itself or letter by letter."""


def write_bert(folder: Path, *, reports: int = 100, pieces: Sequence[str] = (), **sizes: Any) -> Any:
    """``checkpoints.write_bert`` with the words of so many real reports."""
    return checkpoints.write_bert(folder, findings(reports), pieces, **sizes)


def write_chexbert(root: Path) -> None:
    """Write an untrained two-layer CheXbert with random weights, and a vocabulary of report words."""
    import torch
    from f1chexbert.f1chexbert import bert_labeler

    write_bert(root / "bert-base-uncased", reports=150, initializer_range=0.4)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)  # where the package's name of the backbone is our folder
        model = bert_labeler(inference=True)
    for head in model.linear_heads:
        torch.nn.init.normal_(head.weight)
        torch.nn.init.normal_(head.bias)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 0, "model_state_dict": state}, root / "chexbert.pth")


def write_roberta(folder: Path, **sizes: Any) -> None:
    """Write a random RoBERTa with a byte-pair vocabulary of report words."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(findings(60), vocab_size=600, special_tokens=special)
    trained.save_model(str(folder))
    layers = {"num_hidden_layers": 6, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}
    config = RobertaConfig(
        **{
            **layers,
            "vocab_size": trained.get_vocab_size(),
            "max_position_embeddings": 514,
            "initializer_range": 0.3,
        }
        | sizes
    )
    config.save_pretrained(folder)
    RobertaTokenizer.from_pretrained(folder).save_pretrained(folder)
    torch.manual_seed(2)
    RobertaModel(config).save_pretrained(folder)


def write_radgraph(root: Path, model: str) -> None:
    """Write a random model over a one-layer BERT, in the layout of the package radgraph."""
    checkpoints.write_radgraph(root, model, findings(100))
