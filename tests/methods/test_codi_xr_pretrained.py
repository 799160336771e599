"""Pretrained parts of CoDi XR, from tiny random checkpoints of the real layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    GPT2Config,
    GPT2LMHeadModel,
)

from harness.core.errors import HarnessError
from methods.codi_xr.method import CoDiXR
from methods.codi_xr.pretrained import load_pretrained
from methods.codi_xr.subwords import OPTIMUS_MARKS, Subwords
from methods.common.text import BOS, EOS, UNK
from tests.methods.test_codi_xr import INFO, REPORTS, SMALL, method, studies

WIDTH = 16
WORDPIECES = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "heart",
    "is",
    "normal",
    "enlarge",
    "##d",
    ".",
    "lungs",
)
CLIP_SIZES: dict[str, Any] = {
    "encoders": "clip",
    "clip_size": 28,
    "clip_patch": 14,
    "clip_width": WIDTH,
    "clip_layers": 1,
    "clip_heads": 2,
    "text_width": WIDTH,
    "text_layers": 1,
    "text_heads": 2,
    "text_words": 12,
    "embedding": WIDTH,
    "text_vocabulary": 0,
    "bert_vocabulary": 0,
    "gpt2_vocabulary": 0,
}
OPTIMUS_SIZES: dict[str, Any] = CLIP_SIZES | {
    "bert_layers": 1,
    "bert_heads": 2,
    "bert_width": WIDTH,
    "gpt2_layers": 2,
    "gpt2_heads": 2,
    "gpt2_width": WIDTH,
    "report_latent": 8,
    "report_pooling": "first",
    "report_added": True,
}


def byte_pairs(folder: Path, marks: list[str]) -> int:
    """Files of a byte-pair tokenizer, vocab.json and merges.txt; its number of tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(REPORTS, vocab_size=300, min_frequency=1)
    tokenizer.save_model(str(folder))
    vocabulary = json.loads((folder / "vocab.json").read_text())
    for mark in marks:
        vocabulary[mark] = len(vocabulary)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    return len(vocabulary)


def bert_folder(folder: Path) -> BertModel:
    torch.manual_seed(1)
    model = BertModel(
        BertConfig(
            vocab_size=len(WORDPIECES),
            hidden_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=4 * WIDTH,
        )
    )
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDPIECES))
    return model


def gpt2_folder(folder: Path, added: int = 0) -> GPT2LMHeadModel:
    torch.manual_seed(2)
    size = byte_pairs(folder, ["<|endoftext|>"]) + added
    model = GPT2LMHeadModel(GPT2Config(vocab_size=size, n_embd=WIDTH, n_layer=2, n_head=2))
    model.save_pretrained(folder)
    return model


def clip_folder(folder: Path) -> CLIPModel:
    torch.manual_seed(3)
    letters = [*"abcdefghijklmnopqrstuvwxyz."]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    size = len(tokens)
    text = CLIPTextConfig(
        vocab_size=size,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
        projection_dim=WIDTH,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        projection_dim=WIDTH,
    )
    model = CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=WIDTH)
    )
    model.save_pretrained(folder)
    return model.eval()


def loaded(**sources: Any) -> CoDiXR:
    made = CoDiXR.create(INFO, overrides=SMALL | OPTIMUS_SIZES | sources)
    made.prepare(made.artifacts(studies()))
    load_pretrained(made.network, made.config, made.vocabularies)
    made.network.eval()
    return made


def equal(first: Tensor, second: Tensor) -> None:
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("joint", [True, False])
def test_image_parts_load_from_a_folder_of_stable_diffusion(tmp_path: Path, joint: bool) -> None:
    sizes = {"patch": 1, "image_channels": 1, "latent_scale": 0.5}
    given = method(**sizes, joint=False).network
    given.image_autoencoder.vae.save_pretrained(tmp_path / "vae")
    given.frontal.unet.save_pretrained(tmp_path / "unet")
    sources = {"image_vae": str(tmp_path), "unet": str(tmp_path), "joint": joint}
    made = CoDiXR.create(INFO, overrides=SMALL | sizes | sources)
    made.prepare(made.artifacts(studies()))
    load_pretrained(made.network, made.config, made.vocabularies)
    for name, tensor in given.image_autoencoder.vae.state_dict().items():
        assert torch.equal(made.network.image_autoencoder.vae.state_dict()[name], tensor), name
    noisy, time, context = torch.randn(2, 4, 4, 4), torch.tensor([3, 700]), torch.randn(2, 16)
    with torch.inference_mode():
        for view in ("frontal", "lateral"):
            found = made.network.denoiser(view).eval()(noisy, time, context, None)
            equal(found, given.frontal.eval()(noisy, time, context, None))


def test_bert_reads_as_its_checkpoint_does(tmp_path: Path) -> None:
    given = bert_folder(tmp_path).eval()
    made = loaded(bert=str(tmp_path))
    words = made.vocabularies.read.batch(["The heart is enlarged."], 8, framed=True)
    assert words[0].tolist() == [
        BOS,
        *(WORDPIECES.index(x) + 4 for x in ["the", "heart", "is", "enlarge", "##d", "."]),
        EOS,
    ]
    marked = ["[CLS]", "the", "heart", "is", "enlarge", "##d", ".", "[SEP]"]
    theirs = torch.tensor([[WORDPIECES.index(x) for x in marked]])
    with torch.inference_mode():
        pooled = given(theirs).pooler_output
        found = made.network.report_autoencoder.encoder(words).pooler_output
    equal(found, pooled)


def test_gpt2_writes_as_its_checkpoint_does(tmp_path: Path) -> None:
    given = gpt2_folder(tmp_path).eval()
    made = loaded(gpt2=str(tmp_path))
    vocabulary = made.vocabularies.written
    text = "the heart is enlarged ."
    words = vocabulary.batch([text], 8, framed=True)
    assert vocabulary.decode(words[0].tolist()) == text
    assert isinstance(vocabulary, Subwords)
    theirs = torch.tensor([[vocabulary.rows[word] for word in words[0].tolist()]])
    with torch.inference_mode():
        found = made.network.report_autoencoder.decoder(words).logits
        equal(found[..., 4:], given(theirs).logits[..., : found.shape[-1] - 4])


def test_optimus_loads_from_its_folder(tmp_path: Path) -> None:
    """The layout that Optimus' training saves: two folders, state dicts with the maps of z among them."""
    encoder, decoder = tmp_path / "checkpoint-encoder-31250", tmp_path / "checkpoint-decoder-31250"
    bert, gpt2 = bert_folder(encoder), gpt2_folder(decoder, added=len(OPTIMUS_MARKS))
    moments, past, added = torch.randn(2 * 8, WIDTH), torch.randn(2 * WIDTH, 8), torch.randn(WIDTH, 8)
    maps = {"transformer.linear.weight": past, "transformer.linear_emb.weight": added}
    masks = {"transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8)}
    for folder, weights in (
        (encoder, bert.state_dict() | {"linear.weight": moments}),
        (decoder, gpt2.state_dict() | maps | masks),
    ):
        (folder / "model.safetensors").unlink()
        (folder / "config.json").unlink()
        torch.save(weights, folder / "pytorch_model.bin")
    made = loaded(optimus=str(tmp_path))
    report, vocabularies = made.network.report_autoencoder, made.vocabularies
    for layer, weight in ((report.moments, moments), (report.past, past), (report.added, added)):
        assert torch.equal(layer.weight, weight)
    assert isinstance(vocabularies.written, Subwords)
    size = gpt2.config.vocab_size
    assert vocabularies.written.rows[: EOS + 1] == [size - 3, size - 2, size - 1]
    assert vocabularies.written.rows[UNK] == size - 4
    equal(report.decoder.transformer.wte.weight, gpt2.transformer.wte.weight[vocabularies.written.rows])
    equal(report.decoder.lm_head.weight, report.decoder.transformer.wte.weight)
    words = vocabularies.read.batch(["The heart is normal."], 8, framed=True)
    assert report.encode(words).shape == (1, 8)
    (tmp_path / "checkpoint-encoder-2").mkdir()
    with pytest.raises(HarnessError, match="2 folders checkpoint-encoder"):
        loaded(optimus=str(tmp_path))


def test_clip_embeds_reports_as_its_checkpoint_does(tmp_path: Path) -> None:
    given = clip_folder(tmp_path)
    made = loaded(clip=str(tmp_path))
    vocabulary = made.vocabularies.context
    assert isinstance(vocabulary, Subwords)
    words = vocabulary.batch(["The heart", "No edema."], 10, framed=True)
    theirs = torch.tensor([[vocabulary.rows[word] for word in row] for row in words.tolist()])
    images = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        encoders = made.network.contrastive.encoders
        found = encoders.report(words)
        pooled = given.text_model(theirs).pooler_output
        equal(found, given.text_projection(pooled))
        assert encoders.image(images, torch.zeros(()), 0).shape == (2, WIDTH)


def test_a_saved_method_needs_no_folder(tmp_path: Path) -> None:
    """The tokenizers are artifacts: what is stored with the weights is enough to read and write."""
    gpt2_folder(tmp_path / "gpt2")
    made = loaded(gpt2=str(tmp_path / "gpt2"))
    made.save(tmp_path / "checkpoint")
    for path in (tmp_path / "gpt2").iterdir():
        path.unlink()
    copy = CoDiXR.create(INFO, overrides=SMALL | OPTIMUS_SIZES | {"gpt2": str(tmp_path / "gpt2")})
    copy.load(tmp_path / "checkpoint")
    assert copy.vocabularies.written.encode("the lungs.", 9) == made.vocabularies.written.encode(
        "the lungs.", 9
    )


def test_a_folder_without_the_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no tokenizer of bert"):
        loaded(bert=str(tmp_path))
