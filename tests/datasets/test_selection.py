"""``--limit N``: a selection of all findings, nested, the same everywhere."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from harness.core.types import Study
from harness.datasets.iu_phantom import IUPhantom
from harness.datasets.selection import select
from tests.cli.test_cli import invoke

SIZES = (2, 10, 32, 64, 128, 589)


def study(number: int, labels: list[float] | None) -> Study:
    row = None if labels is None else np.array(labels, np.float32)
    return Study(f"s{number}", f"p{number}", "test", {}, labels=row)


@pytest.fixture(scope="module")
def phantoms() -> list[Study]:
    return list(IUPhantom.open().studies("test"))


def test_a_selection_is_part_of_every_larger_one_and_keeps_the_order(phantoms: list[Study]) -> None:
    ids = [each.id for each in phantoms]
    chosen = {size: [each.id for each in select(phantoms, size)] for size in SIZES}
    for size, selected in chosen.items():
        assert len(selected) == size
        assert selected == [each for each in ids if each in set(selected)]
    for small, large in pairwise(SIZES):
        assert set(chosen[small]) < set(chosen[large])
    assert [each.id for each in select(phantoms, None)] == ids
    assert [each.id for each in select(phantoms, 10_000)] == ids


def test_a_selection_does_not_depend_on_the_order_of_files(phantoms: list[Study]) -> None:
    backwards = {each.id for each in select(phantoms[::-1], 64)}
    assert backwards == {each.id for each in select(phantoms, 64)}


def test_64_studies_have_every_common_finding_at_about_its_prevalence(phantoms: list[Study]) -> None:
    whole = np.mean([each.labels for each in phantoms], axis=0)
    counts = np.sum([each.labels for each in select(phantoms, 64)], axis=0)
    assert (counts[whole > 0.03] >= 2).all()
    assert (counts >= 1).all(), "every finding has a positive study, so AUROC is defined"
    assert np.abs(counts / 64 - whole).max() < 0.1


def test_classes_and_studies_without_labels() -> None:
    rare = [study(number, [0, 1] if number % 10 == 0 else [1, 0]) for number in range(100)]
    chosen = select(rare, 20)
    assert sum(bool(each.labels[1]) for each in chosen) in (2, 3)
    assert len(select([study(number, None) for number in range(50)], 7)) == 7
    mixed = [study(number, None if number % 2 else [0, 0]) for number in range(50)]
    assert len({each.labels is None for each in select(mixed, 2)}) == 2


def test_a_quick_try_has_findings_to_tell_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--methods", "retrieval,template", "--limit", "64", "--metrics", "chexpert_rules_f1,auroc"]
    rest = ["--missing", "0.5", "--mask-seeds", "1", "--no-figures", "--store", str(tmp_path)]
    code, _, err = invoke(capsys, "run", *arguments, *rest)
    assert code == 0, err
    rows = json.loads((tmp_path / "tables/leaderboard.json").read_text())["rows"]
    values = {(row["method"], row["metric"]): row["value"] for row in rows if row["rate"] == 0.0}
    assert all(value < 0.95 for (_, metric), value in values.items() if "f1" in metric and value is not None)
    aurocs = [
        value for (_, metric), value in values.items() if metric.startswith("auroc") and value is not None
    ]
    assert aurocs
    assert all(0.0 < value <= 1.0 for value in aurocs)
