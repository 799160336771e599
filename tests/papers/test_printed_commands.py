"""The printed commands run on small folders in each dataset's layout; their numbers reach the paper."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.cli import tables
from harness.papers import coverage, library
from harness.papers.compare import Flag, Results, compare
from tests.cli.test_cli import invoke
from tests.helpers import caption_trees, trees

MICAR = {
    "image_size": 32,
    "vision_width": 16,
    "grid": 1,
    "width": 32,
    "latent": 48,
    "rope_width": 6,
    "feed_forward": 24,
    "experts": 2,
    "num_beams": 1,
}
DIA = {
    "image_size": 32,
    "backbone_stages": 3,
    "width": 32,
    "latent": 8,
    "vgg_width": 4,
    "vgg_size": 32,
    "vgg_hidden": 16,
    "language_hidden": 32,
    "abstractor_hidden": 32,
    "posterior_hidden": 32,
    "expert_hidden": 16,
    "context_decoder_hidden": 32,
    "feed_forward": 32,
}
KEDR = {"image_size": 32, "width": 16, "text_encoder": "minilm", "train_text": False}
VDGEN = {
    "image_size": 64,
    "swin": '""',
    "swin_width": 8,
    "swin_depths": "[1,1,1,1]",
    "swin_heads": "[1,2,2,2]",
    "swin_window": 2,
    "vse_width": 16,
    "llm": '""',
    "llm_width": 32,
    "llm_layers": 2,
    "llm_heads": 2,
    "llm_kv_heads": 2,
    "llm_hidden": 64,
    "llm_vocabulary": 200,
    "llm_dtype": "float32",
    "min_new_tokens": 0,
    "num_beams": 1,
}
CODI = {
    **{
        f"{stage}.epochs": 1
        for stage in ("image_autoencoder", "report_autoencoder", "contrastive", "alignment")
    },
    **dict.fromkeys(("clip", "bert", "gpt2", "image_vae", "unet"), '""'),
    "image_size": 32,
    "patch": 8,
    "patch_values": 4,
    "vae_channels": "[16]",
    "vae_blocks": 1,
    "latent_scale": 0,
    "encoders": "latent",
    "text_width": 16,
    "text_layers": 1,
    "text_heads": 4,
    "text_words": 12,
    "embedding": 16,
    "unet_channels": "[16]",
    "unet_attention": "[true]",
    "unet_blocks": 1,
    "unet_heads": 4,
    "report_latent": 8,
    "bert_width": 16,
    "bert_layers": 1,
    "bert_heads": 4,
    "gpt2_width": 16,
    "gpt2_layers": 1,
    "gpt2_heads": 4,
    "report_channels": 32,
    "report_multipliers": "[1]",
    "report_attention": "[true]",
    "report_blocks": 1,
    "report_words": 8,
    "environment": 16,
    "min_count": 1,
    "steps": 2,
}


@dataclass(frozen=True)
class Case:
    """A paper's command for one dataset.

    Attributes:
        build: makes the folder.
        sizes: settings that make the networks small.
        random: settings that name pretrained weights, of which a test has none.
    """

    paper: str
    dataset: str
    build: Callable[[Path], Path]
    sizes: Mapping[str, Any]
    random: tuple[str, ...] = field(default=())

    @property
    def id(self) -> str:
        return f"{self.paper}-{self.dataset}"


QUICK = Case("micar_vlmoe", "peir-gross", caption_trees.peir_gross, MICAR, ("backbone_weights",))
SLOW = (
    Case("micar_vlmoe", "cov-ctr", caption_trees.cov_ctr, MICAR, ("backbone_weights",)),
    Case("micar_vlmoe", "mm-retinal", caption_trees.mm_retinal, MICAR, ("backbone_weights",)),
    Case("micar_vlmoe", "roco", caption_trees.roco, MICAR, ("backbone_weights",)),
    Case("dia", "iu-xray", trees.iu_xray, DIA, ("backbone_weights", "vgg_weights")),
    Case("dia", "mimic-cxr", trees.mimic_cxr, DIA, ("backbone_weights", "vgg_weights")),
    Case("vdgen", "iu-xray", trees.iu_xray, VDGEN),
    Case("vdgen", "mimic-cxr", trees.mimic_cxr, VDGEN),
    Case("codi_xr", "mimic-cxr", trees.mimic_cxr, CODI),
    Case("kedr", "derm7pt", trees.derm7pt, KEDR, ("vision_weights",)),
    Case("kedr", "mmc-amd", trees.mmc_amd, KEDR, ("vision_weights",)),
    Case("kedr", "fairvision", trees.fairvision, KEDR, ("vision_weights",)),
)


def printed(case: Case) -> list[str]:
    """The words of the first command that the paper's report prints for the dataset."""
    report = compare(library.load(case.paper), Results())
    commands = coverage.examine(report, lambda line: None).commands
    start = f"harness run --dataset {case.dataset} --root DIR --methods {case.paper}"
    return shlex.split(next(line for line in commands if line.startswith(start)))


def small(case: Case, words: list[str], root: Path, store: Path) -> list[str]:
    """The command with a real folder, one method, one epoch, small networks and random weights."""
    own = [str(root) if word == "DIR" else word for word in words[1:]]
    own[own.index("--methods") + 1] = case.paper
    own = [re.sub(r"=timm/.*", "=random", word) for word in own]
    sizes = {"training.epochs": 1, **case.sizes}
    for key, value in sizes.items():
        own += ["--set", f"{case.paper}.{key}={str(value).lower() if isinstance(value, bool) else value}"]
    own += ["--set", f"{case.dataset}.image_size=32", "--limit", "4", "--device", "cpu", "--no-shuffled"]
    return [*own, "--no-figures", "--store", str(store)]


def flags(case: Case, store: Path) -> Iterator[tuple[bool, tuple[Flag, ...]]]:
    """(Whether it has a value, its flags) of every measured cell that has no settings of its own."""
    leaderboard = tables.read_leaderboard(store)
    report = compare(library.load(case.paper), Results.of(leaderboard.rows, leaderboard.results))
    for table in report.tables:
        for row in table.rows:
            for cell in row.cells:
                for measured in cell.measured.values() if not cell.ours.set else ():
                    yield measured.value is not None, measured.flags


def check(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, store = case.build(tmp_path / "data"), tmp_path / "store"
    code, out, err = invoke(capsys, *small(case, printed(case), root, store))
    assert code == 0, out + err
    cells = list(flags(case, store))
    assert any(has_value for has_value, _ in cells)
    for _, cell_flags in cells:
        assert not [flag for flag in cell_flags if flag.kind == "D"]
        texts = {flag.text for flag in cell_flags if flag.kind == "P"}
        names = {text.partition(" is ")[0] for text in texts if " is " in text}
        random = {text for text in texts if text.startswith("trained from random weights")}
        assert texts == random | {text for text in texts if " is " in text}
        assert names <= {"training.epochs", *case.sizes}
        assert "training.epochs" in names
        # A weight that a small network cannot take is not asked for.
        assert {each for each in case.random[:1] if not any(each in text for text in random)} == set()


def test_a_printed_command_fills_its_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(QUICK, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW, ids=lambda case: case.id)
def test_every_printed_command_fills_its_cells(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(case, tmp_path, capsys)
