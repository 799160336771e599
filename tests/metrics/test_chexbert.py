"""Our CheXbert against the class of the package f1chexbert, on a tiny checkpoint in its format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import CorruptFileError, UnavailableError
from harness.metrics.clinical import chexbert
from harness.metrics.clinical.chexbert import ChexbertF1, find_files
from harness.metrics.clinical.labels import LABELS, SUBSETS
from harness.metrics.pretrained import old_tokenizer_methods
from tests.helpers.checkpoints import write_chexbert
from tests.helpers.reports import findings, pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chexbert")
    write_chexbert(root)
    return root


@pytest.fixture
def metric(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChexbertF1:
    monkeypatch.setenv("HARNESS_CHEXBERT", str(folder))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    return ChexbertF1()


@pytest.fixture
def package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from f1chexbert import f1chexbert

    monkeypatch.chdir(folder)
    monkeypatch.setattr(f1chexbert, "CACHE_DIR", str(folder))
    with old_tokenizer_methods():
        yield f1chexbert.F1CheXbert(device="cpu")


def test_labels_equal_the_package_s(metric: ChexbertF1, package: Any) -> None:
    texts = [*findings(200), "", " \n ", "Effusion.", "heart lungs clear " * 200, "a\n\nb  c."]
    ours = metric.classes(texts)
    codes = np.array([package.get_label(text, mode="classification") for text in texts], dtype=object)
    theirs = np.select([codes == 1, codes == 0, codes == -1], [1, 2, 3], 0)
    assert np.array_equal(ours, theirs)
    assert len(np.unique(ours[:, :-1])) == 4, "the checkpoint should use every class"


def test_values_are_those_of_the_labels(metric: ChexbertF1, package: Any) -> None:
    from sklearn.metrics import f1_score

    said, true = list(findings(30)[:15]), list(findings(30)[15:])
    values = metric.reduce(metric.statistics(*pairs(said, true)).sum(axis=0))
    a, b = (np.array([package.get_label(text) for text in side]) for side in (said, true))
    for size, chosen in SUBSETS.items():
        expected = f1_score(b[:, chosen], a[:, chosen], average="macro", zero_division=0)
        assert values[f"chexbert_f1_macro_{size}"] == pytest.approx(expected, abs=1e-12)


def test_a_second_run_does_no_model_work(metric: ChexbertF1, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = list(findings(8))
    first = metric.statistics(*pairs(texts, texts[::-1]))
    monkeypatch.setattr(chexbert, "Labeler", lambda files: pytest.fail("model loaded"))
    assert np.array_equal(ChexbertF1().statistics(*pairs(texts, texts[::-1])), first)
    assert metric.statistics([], []).shape == (0, 59)


def test_signature_names_weights_and_policy(metric: ChexbertF1) -> None:
    assert re.fullmatch(
        r"chexbert_f1\|uncertain:positive\|common:positives>=10\|norm:nfkc\|weights:[0-9a-f]{8}\|impl:f1chexbert\|v:2",
        metric.signature,
    )
    assert "uncertain:ignored" in ChexbertF1("ignored").signature
    assert len(metric.outputs) == 10
    assert len(LABELS) == 14


def test_absent_weights_are_one_line_of_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_ALLOW_DOWNLOADS", raising=False)
    monkeypatch.setenv("HARNESS_CHEXBERT", str(tmp_path))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    assert find_files() is None
    reason = ChexbertF1().unavailable()
    assert reason is not None
    assert "HARNESS_CHEXBERT" in reason
    assert "\n" not in reason
    with pytest.raises(UnavailableError, match="HARNESS_CHEXBERT"):
        ChexbertF1().statistics(*pairs(["a"], ["b"]))


@pytest.mark.parametrize("damage", ["bytes", "tensors"])
def test_a_wrong_checkpoint_is_named(
    damage: str, metric: ChexbertF1, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("config.json", "vocab.txt"):
        (broken / name).write_bytes((folder / "bert-base-uncased" / name).read_bytes())
    if damage == "bytes":
        (broken / "chexbert.pth").write_bytes(b"no checkpoint")
    else:
        torch.save({"model_state_dict": {}}, broken / "chexbert.pth")
    monkeypatch.setenv("HARNESS_CHEXBERT", str(broken))
    with pytest.raises(CorruptFileError, match=r"chexbert\.pth"):
        ChexbertF1().statistics(*pairs(["a"], ["b"]))
