"""PEIR Gross: JSON and TSV say the same; the paper's split and text; what is said about damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.datasets.peir_gross import PEIRGross, last_part
from harness.datasets.readers.splits import drawn
from tests.helpers import caption_trees


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return caption_trees.peir_gross(tmp_path / "peir_gross")


def test_split_and_text(root: Path) -> None:
    dataset = PEIRGross.open(root, profile="micar-vlmoe")
    splits = {s.id: s.split for split in ("train", "val", "test") for s in dataset.studies(split)}
    assert [splits[f"{number:08}.jpg"] for number in range(12)] == drawn(12, 1234, 0.3, 0.66)
    study = next(study for study in dataset.studies("train") if study.id == "00000001.jpg")
    # The last word is found nowhere else.
    assert study.report == "small opacity in the left lower lobe no nodule . number <unk> ."
    assert dataset.info.report_words == 28
    default = PEIRGross.open(root).studies("train")
    assert all(study.report.startswith("LUNG: Gross: ") for study in default)


def test_the_text_after_the_last_colon() -> None:
    assert last_part("LUNG: Gross: A  mass.") == "A mass."
    assert last_part("No colon.") == "No colon."


@pytest.mark.parametrize("captions", ["captions.json", "peir_gross.tsv"])
def test_layouts(root: Path, captions: str) -> None:
    before = PEIRGross.open(root).info.fingerprint
    entries = json.loads((root / "peir_gross_captions.json").read_text())
    (root / "peir_gross_captions.json").unlink()
    if captions.endswith("json"):
        (root / captions).write_text(json.dumps(entries))
    else:
        (root / captions).write_text("".join(f"{n}\t{text}\n" for n, text in entries.items() if text))
    (root / "peir_gross_images").rename(root / "images")
    assert PEIRGross.open(root).info.fingerprint == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a.jpg": "x"', "peir_gross_captions.json: not JSON"),
        ('["a.jpg"]', "expected one object of file name -> caption"),
        ('{"a.jpg": 3}', "expected one object of file name -> caption"),
        ('{"00000000.jpg": "x", "00000000.jpg": "y"}', "entry 2: 00000000.jpg is a second time"),
        ('{"gone.jpg": "x"}', "entry 1: no file .*gone.jpg"),
        ('{"../x.jpg": "x"}', "entry 1: .* is not a path inside the root"),
        ("{}", "the train split has no studies"),
    ],
)
def test_what_is_wrong_is_named(root: Path, content: str, message: str) -> None:
    (root / "peir_gross_captions.json").write_text(content)
    with pytest.raises(HarnessError, match=message):
        PEIRGross.open(root)


def test_a_line_without_a_tab_is_named(root: Path) -> None:
    (root / "peir_gross_captions.json").unlink()
    (root / "peir_gross.tsv").write_text("00000000.jpg\tx\n00000001.jpg y\n")
    with pytest.raises(HarnessError, match=r"peir_gross\.tsv, line 2: no tab"):
        PEIRGross.open(root)
    (root / "peir_gross.tsv").unlink()
    with pytest.raises(HarnessError, match=r"no peir_gross_captions\.json"):
        PEIRGross.open(root)
