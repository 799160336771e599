"""Small random models on disk in the layouts that metrics read, where the real weights cannot be had."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from harness.metrics.pretrained import old_tokenizer_methods

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_RELATIONS = ("modify", "located_at", "suggestive_of")
_ENTITIES = ("Anatomy::definitely present", "Observation::definitely present", "Observation::uncertain")
_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.5,
}


def write_bert(folder: Path, texts: Sequence[str], pieces: Sequence[str] = (), **sizes: Any) -> Any:
    """Write vocabulary, tokenizer and configuration of a BERT; the weights are the caller's.

    Args:
        folder: gets them.
        texts: the words of the vocabulary are theirs.
        pieces: further entries, before the words.
        sizes: fields of BertConfig.

    Returns:
        The BertConfig.
    """
    from transformers import BertConfig, BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    words = {word for text in texts for word in re.findall(r"[a-z]+|\S", text.lower())}
    vocabulary = list(dict.fromkeys([*SPECIAL, *pieces, *sorted(words)]))
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)
    config = BertConfig(**{"vocab_size": len(vocabulary), **_SIZES, **sizes})
    config.save_pretrained(folder)
    return config


def write_encoder(folder: Path, texts: Sequence[str]) -> None:
    """Write a BERT with its weights."""
    import torch
    from transformers import BertModel

    config = write_bert(folder, texts)
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)


def write_chexbert(root: Path, texts: Sequence[str]) -> None:
    """Write a CheXbert, ``chexbert.pth`` and the vocabulary of its BERT."""
    import torch
    from torch import nn
    from transformers import BertModel

    config = write_bert(root / "bert-base-uncased", texts)
    torch.manual_seed(0)
    state = {f"module.bert.{name}": value for name, value in BertModel(config).state_dict().items()}
    for place in range(14):
        head = nn.Linear(config.hidden_size, 2 if place == 13 else 4)
        state |= {f"module.linear_heads.{place}.{name}": value for name, value in head.state_dict().items()}
    torch.save({"epoch": 0, "model_state_dict": state}, root / "chexbert.pth")


def write_radgraph(root: Path, model: str, texts: Sequence[str], **sizes: Any) -> None:
    """Write a model over a BERT (one layer, if ``sizes`` says no more) in the layout of the package."""
    import torch
    from radgraph import RadGraph

    bert, folder = root / "bert", root / model
    (folder / "vocabulary").mkdir(parents=True)
    write_bert(bert, texts, **{"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16, **sizes})
    (folder / "config.json").write_text(json.dumps(_dygie(bert)))
    (folder / "vocabulary" / "non_padded_namespaces.txt").write_text("*labels\n*tags\n")
    for kind, labels in (("ner", _ENTITIES), ("relation", _RELATIONS)):
        path = folder / "vocabulary" / f"{model}__{kind}_labels.txt"
        path.write_text("\n".join(["", *labels]) + "\n")
    torch.manual_seed(1)
    with (
        old_tokenizer_methods(),
        patch.object(torch, "load", lambda *args, **options: {}),
        patch.object(torch.nn.Module, "load_state_dict", lambda *args, **options: None),
    ):
        random = RadGraph(model_type=model, model_cache_dir=str(root), cuda=-1)
    torch.save(random.model.state_dict(), folder / "weights.th")


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
