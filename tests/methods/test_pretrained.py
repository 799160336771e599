"""Pretrained weights: every kind of source, and one clear error for what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from harness.core.errors import HarnessError, UnavailableError
from methods.common.pretrained import Source, fill, in_order, read_weights


@pytest.fixture
def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(nn.Linear(3, 2).state_dict())


def source(path: Path) -> Source:
    return Source(str(path), "kedr.vision_weights", "a linear layer")


def load(path: Path) -> nn.Linear:
    layer = nn.Linear(3, 2)
    fill(layer, read_weights(source(path)), source(path))
    return layer


def test_files_and_folders_of_both_formats(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    for name in ("a.safetensors", "one/model.safetensors"):
        save_file(weights, tmp_path / name)
    for name in ("a.pth", "two/pytorch_model.bin"):
        torch.save(weights, tmp_path / name)
    for name in ("a.safetensors", "one", "a.pth", "two"):
        assert torch.equal(load(tmp_path / name).weight, weights["weight"]), name


def test_a_classifier_may_be_there_besides(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    torch.save(weights | {"fc.weight": torch.zeros(1)}, tmp_path / "a.pth")
    assert torch.equal(load(tmp_path / "a.pth").bias, weights["bias"])


def test_one_error_names_the_source_and_what_was_expected(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    (tmp_path / "broken.pth").write_bytes(b"no zip file")
    (tmp_path / "broken.safetensors").write_bytes(b"neither")
    (tmp_path / "empty").mkdir()
    torch.save({"weight": weights["weight"]}, tmp_path / "short.pth")
    torch.save(weights | {"other": torch.zeros(1)}, tmp_path / "long.pth")
    torch.save({"weight": torch.zeros(5, 5), "bias": weights["bias"]}, tmp_path / "large.pth")
    for name, reason in (
        ("absent.pth", "no such file"),
        ("broken.pth", ""),
        ("broken.safetensors", ""),
        ("empty", "neither model.safetensors nor"),
        ("short.pth", "1 of 2 tensors are not in it, first bias"),
        ("long.pth", "it has 1 that the network lacks, first other"),
        ("large.pth", "1 have another shape, first weight: (5, 5) instead of (2, 3)"),
    ):
        with pytest.raises(HarnessError) as caught:
            load(tmp_path / name)
        text = str(caught.value)
        assert f"kedr.vision_weights: {tmp_path / name}: not the weights of a linear layer" in text
        assert reason in text


def test_a_name_that_is_no_file_is_looked_up_as_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"kedr\.vision_weights"):
        load(tmp_path / "nowhere")


def test_pickles_are_not_run(tmp_path: Path) -> None:
    torch.save({"weight": Path("code")}, tmp_path / "a.pth")
    with pytest.raises(HarnessError, match="not the weights"):
        load(tmp_path / "a.pth")


def test_weights_under_other_names_are_taken_in_order(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    layer = nn.Linear(3, 2)
    renamed = {f"old.{name}": tensor for name, tensor in weights.items()}
    assert list(in_order(layer, renamed, source(tmp_path))) == ["weight", "bias"]
    with pytest.raises(HarnessError, match="1 tensors instead of 2"):
        in_order(layer, {"old.weight": weights["weight"]}, source(tmp_path))


def test_state_dicts_of_training_scripts_are_unwrapped(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in weights.items()}
    for number, content in enumerate(({"state_dict": wrapped, "epoch": 3}, {"model": weights}, wrapped)):
        torch.save(content, tmp_path / f"{number}.pth")
        assert torch.equal(load(tmp_path / f"{number}.pth").weight, weights["weight"])
    torch.save([weights["weight"]], tmp_path / "list.pth")
    with pytest.raises(HarnessError, match="the file is no state dict"):
        load(tmp_path / "list.pth")


def test_older_files_lack_the_counters_of_batch_normalisation(tmp_path: Path) -> None:
    norm = nn.BatchNorm2d(2)
    old = {name: tensor for name, tensor in norm.state_dict().items() if not name.endswith("tracked")}
    fill(norm, old, source(tmp_path))
    with pytest.raises(HarnessError, match="1 of 5 tensors are not in it, first running_var"):
        fill(norm, {name: tensor for name, tensor in old.items() if name != "running_var"}, source(tmp_path))


def test_an_archive_of_torchscript_is_refused(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(3, 2)).save(str(tmp_path / "a.pth"))
    with pytest.raises(HarnessError, match="not the weights of a linear layer"):
        load(tmp_path / "a.pth")
