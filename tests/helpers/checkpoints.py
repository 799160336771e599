"""Small random BERTs on disk in the Hugging Face layout, for metrics whose real weights no test can have."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.metrics.pretrained import old_tokenizer_methods
from tests.helpers.reports import findings

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,-:;()'/"
PIECES = (*LETTERS, *(f"##{letter}" for letter in LETTERS))
"""With these every word is known: as itself or letter by letter."""


def write_bert(folder: Path, *, reports: int = 100, pieces: Sequence[str] = (), **sizes: Any) -> Any:
    """Write vocabulary, tokenizer and configuration into ``folder``; the weights are the caller's.

    Args:
        reports: how many real reports the vocabulary's words are taken from.
        pieces: further entries, before the words.
        sizes: fields of BertConfig.

    Returns:
        The BertConfig.
    """
    from transformers import BertConfig, BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    words = {word for text in findings(reports) for word in re.findall(r"[a-z]+|\S", text.lower())}
    vocabulary = list(dict.fromkeys([*SPECIAL, *pieces, *sorted(words)]))
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        **{
            "vocab_size": len(vocabulary),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "initializer_range": 0.5,
        }
        | sizes
    )
    config.save_pretrained(folder)
    return config


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


_RELATIONS = ["modify", "located_at", "suggestive_of"]
_ENTITIES = ["Anatomy::definitely present", "Observation::definitely present", "Observation::uncertain"]


def _dygie(bert: Path) -> dict[str, Any]:
    embedder = {"model_name": str(bert), "max_length": 512}
    return {
        "dataset_reader": {"token_indexers": {"bert": embedder}, "max_span_width": 3},
        "model": {
            "type": "dygie",
            "embedder": {"token_embedders": {"bert": embedder}},
            "initializer": {},
            "module_initializer": {},
            "feature_size": 4,
            "max_span_width": 3,
            "target_task": "relation",
            "feedforward_params": {"num_layers": 1, "hidden_dims": 16, "dropout": 0.0},
            "loss_weights": {"ner": 1.0, "relation": 1.0, "coref": 0.0, "events": 0.0},
            "modules": {
                "ner": {},
                "coref": {"spans_per_word": 0.3, "max_antecedents": 5, "coref_prop": 0},
                "relation": {"spans_per_word": 0.5},
                "events": {
                    "trigger_spans_per_word": 0.3,
                    "argument_spans_per_word": 0.5,
                    "loss_weights": {"trigger": 0.0, "arguments": 0.0},
                },
            },
        },
    }


def write_radgraph(root: Path, model: str) -> None:
    """Write a random model over a one-layer BERT, in the layout of the package radgraph."""
    import torch
    from radgraph import RadGraph

    bert, folder = root / "bert", root / model
    (folder / "vocabulary").mkdir(parents=True)
    write_bert(bert, hidden_size=16, num_hidden_layers=1, intermediate_size=16)
    (folder / "config.json").write_text(json.dumps(_dygie(bert)))
    (folder / "vocabulary" / "non_padded_namespaces.txt").write_text("*labels\n*tags\n")
    for kind, labels in (("ner", _ENTITIES), ("relation", _RELATIONS)):
        path = folder / "vocabulary" / f"{model}__{kind}_labels.txt"
        path.write_text("\n".join(["", *labels]) + "\n")
    torch.manual_seed(1)
    with pytest.MonkeyPatch.context() as patch, old_tokenizer_methods():
        patch.setattr(torch, "load", lambda *args, **options: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *args, **options: None)
        random = RadGraph(model_type=model, model_cache_dir=str(root), cuda=-1)
    torch.save(random.model.state_dict(), folder / "weights.th")
