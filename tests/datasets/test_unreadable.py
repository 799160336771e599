"""``unreadable=drop``: an image that cannot be read costs its view or its study, and is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core import registry
from harness.core.errors import HarnessError
from harness.core.types import Study
from harness.datasets.base import SPLITS
from harness.datasets.images import pixels
from harness.datasets.images.filling import fill
from harness.datasets.images.pixels import ImageFile, LazyImages
from harness.datasets.images.store import ImageStore
from harness.datasets.opening import open_dataset
from tests.helpers import caption_trees, trees
from tests.helpers.images import jpeg, source_of, truncated

TREES = trees.TREES | caption_trees.TREES
DROP = {"unreadable": "drop", "image_size": 32}


def all_studies(dataset: Any) -> list[Study]:
    return [study for split in SPLITS for study in dataset.studies(split)]


def source(study: Study, view: str) -> ImageFile:
    assert isinstance(study.images, LazyImages)
    return study.images.sources[view]


def damage(path: Path) -> None:
    """A file that no decoder reads, and that its reader still lists."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            content = dict(arrays)
        np.savez(path, **content | {"slo_fundus": np.full_like(content["slo_fundus"], np.nan, dtype=float)})
    else:
        path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize("name", TREES)
def test_every_dataset_leaves_out_what_cannot_be_read(name: str, tmp_path: Path) -> None:
    root = TREES[name](tmp_path / "data")
    whole = open_dataset(name, root, {"image_size": 32})
    assert open_dataset(name, root, DROP).info == whole.info
    first = all_studies(whole)[0]
    view = next(iter(first.images))
    damage(source(first, view).path)
    refused = open_dataset(name, root, {"image_size": 32})
    with pytest.raises(HarnessError, match=rf"not a readable image: .*{name}|unreadable=drop"):
        [study.images[view] for study in all_studies(refused) if view in study.images]
    dropped = open_dataset(name, root, DROP)
    for study in all_studies(dropped):
        assert study.images
        assert all(image.shape[:2] == (32, 32) for image in study.images.values())
    assert dropped.info.fingerprint not in (whole.info.fingerprint, refused.info.fingerprint)
    left_out = dropped.left_out  # type: ignore[attr-defined]
    rest = {study.id: set(study.images) for study in all_studies(dropped)}
    if len(first.images) == 1:
        assert left_out.studies[first.split] == [first.id]
        assert first.id not in rest
    else:
        assert left_out.views[first.split][first.id] == [view]
        assert rest[first.id] == set(first.images) - {view}


def test_a_study_of_pairs_is_left_out_whole(tmp_path: Path) -> None:
    root = trees.mmc_amd(tmp_path)
    pairs = {"profile": "pairs"}
    first = open_dataset("mmc-amd", root, DROP | pairs).studies("test")[0]
    damage(source(first, "oct").path)
    dropped = open_dataset("mmc-amd", root, DROP | pairs)
    assert dropped.left_out.studies == {"test": [first.id]}  # type: ignore[attr-defined]
    assert all(len(study.images) == 2 for study in all_studies(dropped))


@pytest.mark.parametrize("name", TREES)
def test_another_value_of_the_option_is_refused(name: str, tmp_path: Path) -> None:
    root = TREES[name](tmp_path / "data")
    with pytest.raises(HarnessError, match=rf"{name}.unreadable: 'skip' is neither refuse nor drop"):
        open_dataset(name, root, {"unreadable": "skip"})


def broken_files(folder: Path, count: int = 130) -> list[ImageFile]:
    """Files of which every tenth is cut short."""
    paths = [jpeg(folder / f"{number}.jpg", number) for number in range(count)]
    for path in paths[::10]:
        truncated(path)
    return [source_of(path) for path in paths]


@pytest.mark.process
@pytest.mark.parametrize("workers", [1, 2])
def test_filling_goes_on_without_them(tmp_path: Path, workers: int) -> None:
    sources = broken_files(tmp_path / "images")
    store = ImageStore(tmp_path / "store", 32, 3)
    unreadable: dict[str, HarnessError] = {}
    assert sum(fill(store, sources, workers, unreadable)) == 117
    assert (
        set(unreadable)
        == {source.digest for source in sources[::10]}
        == store.absent(source.digest for source in sources)
    )
    with pytest.raises(HarnessError, match="not a readable image"):
        list(fill(store, sources, workers))


@pytest.mark.parametrize(
    "error", [MemoryError(), PermissionError(13, "Permission denied"), OSError(5, "EIO")]
)
def test_what_the_machine_cannot_do_is_never_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    root = caption_trees.own(tmp_path)
    monkeypatch.setattr(pixels.decode, "read_bytes", fail)
    with pytest.raises(HarnessError, match="not a readable image") as raised:
        open_dataset("csv", root, DROP | {"image_size": 47})  # of no other test, so that nothing is cached
    assert "drop" not in str(raised.value)


def test_an_absent_file_is_refused_and_a_split_that_ends_empty_too(tmp_path: Path) -> None:
    root = caption_trees.own(tmp_path)
    for path in (tmp_path / "images").glob("*"):
        damage(path)
    with pytest.raises(HarnessError, match="the train split has no studies"):
        open_dataset("csv", root, DROP)
    (tmp_path / "images" / "3-frontal.png").unlink()
    with pytest.raises(HarnessError, match=r"line 5: no file .*3-frontal"):
        open_dataset("csv", root, DROP)


def check(name: str, root: Path, *options: str) -> tuple[int, dict[str, Any]]:
    arguments = ["data", "check", name, "--root", str(root), "--format", "json", *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize(("name", "build"), [("csv", caption_trees.own), ("derm7pt", trees.derm7pt)])
def test_data_check_counts_and_names_them(name: str, build: Callable[[Path], Path], tmp_path: Path) -> None:
    root = build(tmp_path)
    studies = all_studies(registry.load("datasets", name).open(root))
    two, one = (next(s for s in studies if len(s.images) == views) for views in (2, 1))
    damage(source(two, next(iter(two.images))).path)
    damage(source(one, next(iter(one.images))).path)
    code, report = check(name, root)
    assert code == 1
    assert all("unreadable=drop" in each["hint"] for each in report["problems"] if each["fatal"])
    code, report = check(name, root, "--set", f"{name}.unreadable=drop")
    assert code == 0
    named = [each for each in report["problems"] if each["kind"] == "unreadable-image"]
    assert {each["message"].partition("; ")[2] for each in named} == {
        f"{next(iter(two.images))} of {two.id} is left out",
        f"{one.id}, which has no other image, is left out",
    }
    assert report["counts"]["left out, unreadable: views"] == 1
    assert report["counts"]["left out, unreadable: studies"] == 1


@pytest.mark.process
def test_a_row_says_what_was_left_out_and_stands_apart(tmp_path: Path) -> None:
    root = caption_trees.own(tmp_path / "data")

    def row(*options: str) -> str:
        arguments = ["run", "--methods", "template", "--dataset", "csv", "--root", str(root)]
        arguments += ["--set", "csv.image_size=32", "--metrics", "bleu", "--store", str(tmp_path / "store")]
        result = CliRunner().invoke(app, [*arguments, *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert "Left out" not in row("--set", "csv.unreadable=drop")
    test_study = next(s for s in open_dataset("csv", root, {}).studies("test") if len(s.images) == 2)
    damage(source(test_study, "frontal").path)
    note = "Left out, because the images cannot be read (unreadable=drop): views 1 (test 1)."
    assert note in " ".join(row("--set", "csv.unreadable=drop").split())
    manifests = [json.loads(path.read_text()) for path in (tmp_path / "store" / "results").rglob("*.json")]
    facts = [each["manifest"]["unreadable"] for each in manifests if "unreadable" in each["manifest"]]
    assert facts[0] == {"views": {"test": {test_study.id: ["frontal"]}}, "studies": {}}
    assert all(each == facts[0] for each in facts)
    out = CliRunner().invoke(app, ["leaderboard", "--store", str(tmp_path / "store"), "--format", "markdown"])
    assert out.output.count("Left out, because") >= 1
    assert len({line for line in out.output.splitlines() if line.startswith("### ") and "data " in line}) >= 2
