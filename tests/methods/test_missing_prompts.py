"""Missing-aware prompts: prompts of each case, the frozen transformer, both levels, absent modalities."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Study, Task
from harness.method.batching import collate, targets_of
from harness.method.contract import FitRun
from harness.method.size import describe
from methods.missing_prompts.method import MissingPrompts
from methods.missing_prompts.network import other_cases
from methods.missing_prompts.transformer import Sequence
from methods.missing_prompts.words import word_pieces

INFO = DatasetInfo(
    name="small",
    tasks=frozenset({Task.DIAGNOSE}),
    image_modalities=("frontal", "lateral"),
    has_context=True,
    image_size=64,
    channels=1,
    label_names=("a", "b", "c"),
    multilabel=False,
)
SMALL: dict[str, Any] = {
    "image_size": 64,
    "grid": 2,
    "width": 16,
    "heads": 2,
    "training.batch_size": 8,
    "pretraining.batch_size": 8,
    "training.epochs": 2,
    "pretraining.epochs": 2,
}
WORDS = ("cough", "fever", "fall")


def studies(split: str, n: int) -> list[Study]:
    """The class is which third of both images is bright, and a word; some studies lack a modality."""
    rng = np.random.default_rng(len(split))
    result = []
    for number in range(n):
        label = number % 3
        images = {}
        for view in INFO.image_modalities:
            pixels = rng.integers(0, 60, (64, 64, 1))
            pixels[:, label * 64 // 3 : (label + 1) * 64 // 3] += 150
            images[view] = pixels.astype(np.uint8)
        if number % 7 == 6:
            del images["lateral"]
        context = None if number % 5 == 4 else f"a patient with {WORDS[label]}"
        labels = np.eye(3, dtype=np.float32)[label]
        result.append(Study(f"{split}{number}", f"{split}{number}", split, images, context, labels=labels))
    return result


def prepared(info: DatasetInfo = INFO, variant: str | None = None, **options: Any) -> MissingPrompts:
    torch.manual_seed(0)
    method = MissingPrompts.create(info, variant=variant, overrides={**SMALL, **options})
    method.prepare(method.artifacts(studies("train", 12)))
    method.network.eval()
    return method


shared_method = cache(prepared)
"""For tests that leave the network as it is."""


def logits(method: MissingPrompts, batch: list[Study], dropped: str | None = None, **options: Any) -> Any:
    inputs = collate(batch, method.info, dropped=dropped)
    trunk, present = method.read(inputs)
    with torch.no_grad():
        return method.network(trunk, present, method.rows(inputs, present), **options)


def probabilities(method: MissingPrompts, batch: list[Study], dropped: str | None = None) -> np.ndarray:
    inputs = collate(batch, method.info, reads=method.card.reads, dropped=dropped)
    return np.stack([prediction.probabilities for prediction in method.predict(inputs)])


def fitted(folder: Path, n: int = 48, **options: Any) -> MissingPrompts:
    method = MissingPrompts.create(INFO, overrides={**SMALL, **options})
    folder.mkdir(exist_ok=True)
    method.fit(studies("train", n), studies("val", 12), FitRun(folder, "cpu", 0))
    return method


def test_each_set_of_modalities_is_a_case_of_its_own() -> None:
    network = shared_method().network
    present = (torch.arange(1, 8)[:, None] >> torch.arange(3)) & 1 == 1
    assert sorted(network.cases(present).tolist()) == list(range(7)) == list(range(len(network.prompts)))
    assert network.cases(torch.zeros(1, 3, dtype=torch.bool)).item() == 0


@pytest.mark.parametrize("level", ["input", "attention"])
def test_prompts_of_the_own_case_are_read_and_differ_between_cases(level: str) -> None:
    method, batch = prepared(prompts=level), studies("test", 4)
    network = method.network
    own = logits(method, batch, "lateral")
    case = network.cases(torch.tensor([[True, False, True]]))
    assert torch.allclose(own, logits(method, batch, "lateral", cases=case.expand(4)), atol=1e-6)
    assert not torch.allclose(own, logits(method, batch, "lateral", cases=case.expand(4) + 1), atol=1e-5)
    whole = logits(method, batch)
    with torch.no_grad():
        network.prompts[case] += torch.randn(16)
    assert not torch.allclose(own, logits(method, batch, "lateral"), atol=1e-4)
    assert torch.equal(whole, logits(method, batch))


def test_input_prompts_lengthen_the_sequence_and_attention_prompts_do_not() -> None:
    def lengths_at(level: str) -> list[int]:
        method = prepared(prompts=level, depth=3, prompt_layers=2, prompt_length=4)
        sizes: list[int] = []
        for layer in method.network.transformer.layers:
            layer.register_forward_hook(lambda *call: sizes.append(call[2].tokens.shape[1]))
        logits(method, studies("test", 2))
        return sizes

    lengths = {level: lengths_at(level) for level in ("none", "input", "attention")}
    tokens = lengths["none"][0]
    assert lengths == {
        "none": [tokens] * 3,
        "attention": [tokens] * 3,
        "input": [tokens + 4, tokens + 8, tokens + 8],
    }


def test_attention_prompts_of_zeros_take_their_share_of_the_attention() -> None:
    method = prepared(prompts="attention", depth=1, prompt_layers=1, prompt_length=2)
    layer, batch = method.network.transformer.layers[0], studies("test", 1)
    inputs = collate(batch, INFO)
    trunk, present = method.read(inputs)
    sequence = method.network.transformer.embed(trunk, present[:, :2], method.rows(inputs, present))
    with torch.no_grad():
        x = layer.norm1(sequence.tokens)
        prompts = torch.stack([torch.full((16,), 0.3), torch.full((16,), -0.2)])[None]
        found = layer._attended(x, sequence.mask, prompts)
        q, k, v = layer.queries_keys_values(x)[0].chunk(3, dim=-1)
        for head in (slice(0, 8), slice(8, 16)):
            keys = torch.cat([prompts[0, :1, head], k[:, head]])
            values = torch.cat([prompts[0, 1:, head], v[:, head]])
            expected = (q[:, head] @ keys.T / 8**0.5).softmax(1) @ values
            assert torch.allclose(found[0, :, head], expected, atol=1e-5)


@pytest.mark.parametrize("level", ["input", "attention", "none"])
def test_the_frozen_transformer_gets_no_gradient_and_the_second_stage_leaves_it_alone(
    level: str, tmp_path: Path
) -> None:
    method = prepared(prompts=level)
    batch = studies("train", 6)
    method.network.train()
    method.losses(collate(batch, INFO), targets_of(batch))["loss"].backward()
    named = dict(method.network.named_parameters())
    transformer = {name for name in named if name.startswith("transformer.")}
    assert all(named[name].grad is None for name in transformer)
    assert all(named[name].grad is not None for name in named.keys() - transformer)
    assert not method.network.transformer.training

    method.network.freeze(False)
    method.network.zero_grad()
    method.losses(collate(batch, INFO), targets_of(batch))["loss"].backward()
    trained = {name for name in transformer if named[name].requires_grad}
    assert transformer - trained == {
        name for name in transformer if ".lite0." in name or name.endswith("words.table.weight")
    }
    assert all(named[name].grad is not None for name in trained)
    if level != "none":
        assert named["prompts"].grad is None

    fitted(tmp_path / "run", 16, prompts=level)
    from safetensors.torch import load_file

    first = load_file(tmp_path / "run" / "pretraining" / "kept.safetensors")
    last = load_file(tmp_path / "run" / "kept.safetensors")
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    assert changed
    assert not {name for name in changed if name.startswith("transformer.")}
    assert ("prompts" in changed) == (level != "none")


def test_other_cases_take_something_and_leave_something() -> None:
    torch.manual_seed(0)
    present = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]]).bool().repeat(4000, 1)
    drawn = other_cases(present, 0.7)
    assert not (drawn & ~present).any()
    assert torch.equal(drawn.any(1), present.any(1))
    whole = drawn[::4]
    assert (~whole).any(1).float().mean().item() == pytest.approx(0.7, abs=0.03)
    numbers = (whole.long() * torch.tensor([1, 2, 4])).sum(1)
    for case in range(1, 7):
        assert (numbers == case).float().mean().item() == pytest.approx(0.7 / 6, abs=0.03)
    assert torch.equal(other_cases(present, 0.0), present)
    one = torch.ones(5, 1, dtype=torch.bool)
    assert torch.equal(other_cases(one, 0.7), one)


@pytest.mark.parametrize("dropped", ["frontal", "lateral", "context", "frontal+lateral"])
@pytest.mark.parametrize("options", [{}, {"images": "patches", "words": "learned", "patch": 32}])
def test_content_of_an_absent_modality_has_no_influence(options: dict[str, Any], dropped: str) -> None:
    method = shared_method(**options)
    inputs = collate(studies("test", 3), INFO, dropped=dropped)
    before = np.stack([each.probabilities for each in method.predict(inputs)])
    for name in dropped.split("+"):
        if name == "context":
            inputs.context = ["a patient with fever"] * 3
        else:
            inputs.images[name] = torch.rand_like(inputs.images[name])
    after = np.stack([each.probabilities for each in method.predict(inputs)])
    assert np.array_equal(before, after)


def test_a_study_alone_is_as_in_a_batch_and_an_empty_one_has_the_frequencies() -> None:
    bare = Study("bare", "bare", "test", {}, labels=np.zeros(3, dtype=np.float32))
    odd = replace(studies("test", 1)[0], id="odd", context="")
    batch = [*studies("test", 7), odd, bare]
    for info in (INFO, replace(INFO, multilabel=True)):
        together = probabilities(shared_method(info), batch)
        for row, study in enumerate(batch):
            assert np.allclose(probabilities(shared_method(info), [study])[0], together[row], atol=1e-5)
        assert np.allclose(together[-1], [1 / 3] * 3, atol=1e-5)


def test_words_that_training_lacks_share_a_vector_and_long_contexts_are_cut() -> None:
    words = shared_method().network.transformer.words
    rows = words.encode(["a patient with zebra", None, "cough " * 40], 8)
    assert rows.shape == (3, 8)
    assert rows[0, 3] == 1
    assert rows[1].eq(0).all()
    assert rows[2].eq(rows[2, 0]).all()
    assert rows[2, 0] > 1
    assert word_pieces(["", "Fever"])[0] == []
    assert word_pieces(["Fever"]) == word_pieces(["fever"])


def test_the_words_of_minilm_are_its_own() -> None:
    from transformers import AutoModel, AutoTokenizer

    from harness.core.weights import minilm_folder

    table = AutoModel.from_pretrained(minilm_folder()).embeddings.word_embeddings.weight
    number = AutoTokenizer.from_pretrained(minilm_folder()).convert_tokens_to_ids("patient")
    words = shared_method().network.transformer.words
    assert torch.equal(words.table.weight[words.encode(["patient"], 1)[0, 0]], table[number])


def test_a_layer_is_vilts() -> None:
    from transformers import ViltConfig
    from transformers.models.vilt.modeling_vilt import ViltLayer

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "qkv_bias": True}
    peer = ViltLayer(ViltConfig(**sizes, layer_norm_eps=1e-5, attn_implementation="eager")).eval()
    layer = prepared(hidden=2).network.transformer.layers[0]
    theirs, names = dict(peer.named_parameters()), ("query", "key", "value")
    with torch.no_grad():
        for kind in ("weight", "bias"):
            parts = [theirs[f"attention.attention.{name}.{kind}"] for name in names]
            layer.queries_keys_values.get_parameter(kind).copy_(torch.cat(parts))
            layer.out.get_parameter(kind).copy_(theirs[f"attention.output.dense.{kind}"])
            layer.perceptron[0].get_parameter(kind).copy_(theirs[f"intermediate.dense.{kind}"])
            layer.perceptron[2].get_parameter(kind).copy_(theirs[f"output.dense.{kind}"])
            layer.norm1.get_parameter(kind).copy_(theirs[f"layernorm_before.{kind}"])
            layer.norm2.get_parameter(kind).copy_(theirs[f"layernorm_after.{kind}"])
        x = torch.randn(2, 5, 16)
        found = layer(Sequence(x, torch.ones(2, 5, dtype=torch.bool))).tokens
        assert torch.allclose(found, peer(x)[0], atol=1e-5)


def test_it_learns_and_a_resumed_training_ends_alike(tmp_path: Path) -> None:
    options = {"training.epochs": 8, "pretraining.epochs": 20, "dropout": 0.0}
    method = fitted(tmp_path / "run", 72, **options)
    test = studies("test", 30)
    truth = np.stack([study.labels for study in test]).argmax(1)
    for dropped in (None, "frontal", "lateral", "context"):
        assert (probabilities(method, test, dropped).argmax(1) == truth).mean() > 0.9
    again = fitted(tmp_path / "run", 72, **options)
    assert np.array_equal(probabilities(again, test), probabilities(method, test))
    method.save(tmp_path / "checkpoint")
    copy = MissingPrompts(method.config, INFO)
    copy.load(tmp_path / "checkpoint")
    assert np.array_equal(probabilities(copy, test), probabilities(method, test))
    with torch.no_grad():
        parts = {probe.part for probe in method.probes(collate(test, INFO), targets_of(test))}
    assert parts == {"missing-aware prompts"}


def test_a_dataset_without_context_has_no_words(tmp_path: Path) -> None:
    bare = replace(INFO, has_context=False)
    method = prepared(bare)
    assert method.network.transformer.words is None
    assert len(method.network.prompts) == 3
    assert np.isfinite(probabilities(method, studies("test", 3), "frontal")).all()


def test_studies_without_labels_are_an_error(tmp_path: Path) -> None:
    bare = [replace(study, labels=None) for study in studies("train", 4)]
    with pytest.raises(HarnessError, match="missing_prompts: no training study has labels"):
        MissingPrompts.create(INFO, overrides=SMALL).fit(bare, [], FitRun(tmp_path, "cpu", 0))


def test_the_paper_preset_has_the_shape_of_vilt_and_few_trained_parameters() -> None:
    facts = describe("missing_prompts", "paper")
    layer = 4 * 768**2 + 4 * 768 + 2 * 4 * 768**2 + 5 * 768 + 4 * 768
    assert facts["components"]["transformer"] > 12 * layer
    prompts = 3 * 6 * 16 * 768  # one view and the context
    pooler = 768**2 + 768
    classifier = 768 * 1536 + 1536 + 2 * 1536 + 1536 * 14 + 14
    assert facts["trainable_parameters"] == prompts + pooler + classifier
    assert prompts < 0.01 * facts["parameters"]
