"""``harness data check``: every malformed variant is named with its place; nothing is written to the data."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core import files, registry
from harness.core.errors import HarnessError
from harness.datasets.readers.report_dataset import ReportDataset
from tests.helpers import caption_trees, trees

Change = Callable[[Path], object]
TREES = {name: tree for name, tree in (trees.TREES | caption_trees.TREES).items() if name != "fairvision"}
"""Datasets whose images are files of their own."""


def check(dataset: str, root: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of the command."""
    arguments = ["data", "check", dataset, "--root", str(root), "--format", "json", *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)


def problems(report: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [problem for problem in report["problems"] if problem["kind"] == kind]


def folder_of(root: Path) -> Path:
    return root if root.is_dir() else root.parent


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file and link below a folder."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def some_image(root: Path) -> Path:
    suffixes = {".jpg", ".jpeg", ".png"}
    return next(path for path in sorted(folder_of(root).rglob("*")) if path.suffix.lower() in suffixes)


def claimed(width: int, height: int) -> bytes:
    """A small PNG whose header claims another size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def saved(path: Path, image: Image.Image, kind: str) -> None:
    image.save(path, format=kind)


def truncate(path: Path) -> None:
    Image.effect_noise((200, 200), 80).convert("RGB").save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:2000])


PICTURES: dict[str, tuple[Change, str]] = {
    "truncated JPEG": (truncate, "unreadable-image"),
    "file of text": (lambda path: path.write_bytes(b"nothing"), "unreadable-image"),
    "empty file": (lambda path: path.write_bytes(b""), "unreadable-image"),
    "1 pixel": (lambda path: saved(path, Image.new("L", (1, 1)), "PNG"), "unreadable-image"),
    "huge": (lambda path: path.write_bytes(claimed(100_000, 90_000)), "unreadable-image"),
    "small": (lambda path: saved(path, Image.new("L", (20, 20)), "PNG"), "small-image"),
    "16-bit PNG": (
        lambda path: saved(path, Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)), "PNG"),
        "",
    ),
    "CMYK": (lambda path: saved(path, Image.new("CMYK", (64, 64), (9, 90, 30, 4)), "JPEG"), ""),
}
"""Variant -> what is done to an image, and the problem that it makes (none where it is handled)."""


CASES = [(name, variant) for name in TREES for variant in PICTURES if name == "csv" or "file" not in variant]
"""Layouts and variants; files without any image in one layout only."""


@pytest.mark.parametrize(("dataset", "variant"), CASES)
def test_images_of_every_layout(dataset: str, variant: str, tmp_path: Path) -> None:
    root = TREES[dataset](tmp_path / "data")
    change, kind = PICTURES[variant]
    path = some_image(root)
    change(path)
    before = contents(folder_of(root))
    code, report = check(dataset, root)
    assert contents(folder_of(root)) == before
    fatal = [problem for problem in report["problems"] if problem["fatal"]]
    named = problems(report, kind)
    if kind == "unreadable-image":
        assert code == 1
        assert [problem["kind"] for problem in fatal] == [kind]
        assert path.name in fatal[0]["message"]
        assert fatal[0]["hint"]
    else:
        assert (code, fatal) == (0, [])
        assert len(named) == (kind == "small-image")
    opened = registry.load("datasets", dataset).open(root, image_size=32)
    studies = [study for split in ("train", "val", "test") for study in opened.studies(split)]
    if code:
        with pytest.raises(HarnessError, match="not a readable image"):
            [dict(study.images) for study in studies]
    else:
        assert all(len(dict(study.images)) for study in studies)
    assert not list(files.cache_root().rglob("*.tmp"))


LISTED = [name for name in TREES if issubclass(registry.load("datasets", name), ReportDataset)]
"""Datasets whose problems are all named, not the first alone."""


def some_table(root: Path) -> Path:
    if root.is_file():
        return root
    names = ("annotation.json", "*.csv", "*captions.json", "captions.txt", "*.xml", "cfp.txt")
    return next(path for name in names for path in sorted(root.rglob(name)))


@pytest.mark.parametrize("dataset", TREES)
def test_text_that_is_not_utf_8_in_every_layout(dataset: str, tmp_path: Path) -> None:
    root = TREES[dataset](tmp_path / "data")
    path = some_table(root)
    text = path.read_bytes()
    path.write_bytes(text[:-1] + b"\xff\xfe" + text[-1:])
    code, report = check(dataset, root)
    fatal = [problem for problem in report["problems"] if problem["fatal"]]
    assert code == 1
    assert path.name in f"{fatal[0]['where']} {fatal[0]['message']}"


@pytest.mark.parametrize("dataset", TREES)
def test_a_link_that_leads_out_in_every_layout(dataset: str, tmp_path: Path) -> None:
    root = TREES[dataset](tmp_path / "data")
    path = some_image(root)
    path.rename(tmp_path / "secret.jpg")
    path.symlink_to(tmp_path / "secret.jpg")
    code, report = check(dataset, root)
    assert code == 1
    assert "is a link that leads out" in report["problems"][0]["message"]


@pytest.mark.parametrize("dataset", LISTED)
def test_an_absent_image_in_every_layout(dataset: str, tmp_path: Path) -> None:
    root = TREES[dataset](tmp_path / "data")
    path = some_image(root)
    path.unlink()
    code, report = check(dataset, root)
    (named,) = problems(report, "absent-image")
    assert path.stem in named["message"]
    assert code == named["fatal"]
    assert "left out" in named["message"] or named["fatal"]


@pytest.mark.parametrize("dataset", ["iu-xray", "peir-gross"])
def test_bad_json(dataset: str, tmp_path: Path) -> None:
    root = TREES[dataset](tmp_path / "data")
    path = some_table(root)
    path.write_text(path.read_text()[:-20])
    code, report = check(dataset, root)
    assert code == 1
    assert path.name in report["problems"][0]["message"]


def rewritten(change: Callable[[list[dict[str, str]]], object]) -> Change:
    return lambda root: caption_trees.rewrite(root, change)


def cell(row: int, column: str, value: str) -> Change:
    return rewritten(lambda rows: rows[row].__setitem__(column, value))


def without(column: str) -> Change:
    return rewritten(lambda rows: [row.pop(column) for row in rows])


def link_out(root: Path) -> None:
    secret = root.parent.parent / "secret.png"
    trees.image(secret, 99)
    (root.parent / "images" / "link.png").symlink_to(secret)
    caption_trees.rewrite(root, lambda rows: rows[1].update(frontal="images/link.png"))


def link_loop(root: Path) -> None:
    (root.parent / "images" / "loop.png").symlink_to("loop.png")
    caption_trees.rewrite(root, lambda rows: rows[1].update(frontal="images/loop.png"))


def in_latin_1(root: Path) -> None:
    root.write_bytes(root.read_bytes().replace(b"cough", "Fi\u00e8vre".encode("latin-1"), 1))


def one_cell_more(root: Path) -> None:
    root.write_text(root.read_text().replace("s2,", "s2,extra,", 1))


TABLES: dict[str, tuple[Change, str, str]] = {
    "missing column": (without("report"), "unreadable", "line 1: no column report"),
    "no images": (
        rewritten(lambda rows: [(row.pop("frontal"), row.pop("lateral")) for row in rows]),
        "no-image-column",
        "line 1",
    ),
    "wrong split": (cell(2, "split", "tset"), "wrong-split", "line 4"),
    "absent image": (cell(3, "lateral", "images/gone.png"), "absent-image", "line 5"),
    "path with ..": (cell(3, "lateral", "../secret.png"), "path-outside-root", "line 5"),
    "absolute path": (cell(3, "lateral", "/etc/passwd"), "path-outside-root", "line 5"),
    "link loop": (link_loop, "absent-image", "line 3"),
    "link out": (link_out, "link-outside-root", "line 3"),
    "not UTF-8": (in_latin_1, "unreadable", "not UTF-8"),
    "duplicate id": (cell(4, "id", "s0"), "duplicate-id", "line 6"),
    "id with a slash": (cell(4, "id", "../s4"), "bad-id", "line 6"),
    "no id": (cell(4, "id", ""), "no-id", "line 6"),
    "patient in two splits": (cell(11, "patient", "p0"), "patient-in-two-splits", "line 13"),
    "one cell more": (one_cell_more, "bad-row", "line 4"),
    "open quote": (lambda root: root.write_text(root.read_text() + '"s99,p'), "unreadable", "not CSV"),
    "empty file": (lambda root: root.write_bytes(b""), "unreadable", "line 1: no header"),
    "no header": (
        lambda root: root.write_text(root.read_text().partition("\n")[2]),
        "unreadable",
        "line 1: no column id",
    ),
    "no rows": (rewritten(lambda rows: rows.__delitem__(slice(1, None))), "empty-split", "test"),
}
"""Variant -> what is done to the table, the fatal problem, and what it says of the place."""


@pytest.mark.parametrize("variant", TABLES)
def test_tables(variant: str, tmp_path: Path) -> None:
    root = caption_trees.own(tmp_path / "data")
    change, kind, message = TABLES[variant]
    change(root)
    before = contents(root.parent)
    code, report = check("csv", root)
    assert code == 1
    assert contents(root.parent) == before
    named = problems(report, kind)
    assert named
    assert all(problem["fatal"] for problem in named)
    assert any(message in f"{problem['where']} {problem['message']}" for problem in named)
    text = json.dumps(report)
    assert not any(words in text for words in caption_trees.SENTENCES)
    with pytest.raises(HarnessError):
        registry.load("datasets", "csv").open(root)


def test_every_problem_is_named_and_not_the_first_alone(tmp_path: Path) -> None:
    root = caption_trees.own(tmp_path)
    for change in (
        cell(0, "split", "tset"),
        cell(1, "frontal", "gone.png"),
        cell(2, "id", "s4"),
        cell(3, "report", ""),
        cell(11, "patient", "p2"),
    ):
        change(root)
    (tmp_path / "images" / "6-frontal.png").write_bytes(b"nothing")
    code, report = check("csv", root)
    kinds = [problem["kind"] for problem in report["problems"]]
    assert code == 1
    assert sorted(kinds[:5]) == [
        "absent-image",
        "duplicate-id",
        "patient-in-two-splits",
        "unreadable-image",
        "wrong-split",
    ]
    assert set(kinds[5:]) == {"empty-report", "rare-label"}


def test_leaks_are_allowed_where_they_are_asked_for(tmp_path: Path) -> None:
    root = caption_trees.own(tmp_path)
    cell(11, "patient", "p0")(root)
    assert check("csv", root)[0] == 1
    code, report = check("csv", root, "--set", "csv.allow_leaks=true")
    assert code == 0
    assert [problem["fatal"] for problem in problems(report, "patient-in-two-splits")] == [False]


def test_a_sample_of_the_images_is_decoded(tmp_path: Path) -> None:
    root = caption_trees.own(tmp_path)
    assert check("csv", root)[1]["counts"]["files decoded"] == 21
    assert check("csv", root, "--sample", "7")[1]["counts"]["files decoded"] == 7
    assert check("csv", root, "--sample", "500")[1]["counts"]["files decoded"] == 21


def test_every_dataset_of_reports_and_its_profiles_are_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "real-data.md").read_text(encoding="utf-8")
    for name in LISTED:
        if name == "csv":
            continue
        assert f"\n| `{name}` |" in page
        for profile in registry.load("datasets", name).profiles:
            assert f"\n| `{profile}` |" in page


def test_the_same_image_in_two_splits_is_noted_once(tmp_path: Path) -> None:
    root = caption_trees.own(tmp_path)
    images = tmp_path / "images"
    for copy in ("8-frontal.png", "9-frontal.png"):
        (images / copy).write_bytes((images / "0-frontal.png").read_bytes())
    code, report = check("csv", root)
    (named,) = problems(report, "image-in-two-splits")
    assert code == 0
    assert "s8 (test)" in named["message"]
    assert "s0 (train)" in named["message"]


def test_counts_stand_beside_the_published_ones(tmp_path: Path) -> None:
    root = caption_trees.cov_ctr(tmp_path)
    code, report = check("cov-ctr", root)
    assert code == 0
    assert set(report) == {"dataset", "root", "counts", "published", "problems"}
    assert report["counts"]["studies"] == 24
    assert report["published"]["studies"] == 728
    assert report["counts"]["files stored as RGB"] == 24
    assert {problem["where"] for problem in problems(report, "count-differs")} == {
        "studies",
        "label COVID-19",
        "label no COVID-19",
    }
    assert check("csv", caption_trees.own(tmp_path / "own"))[1]["counts"]["test without context"] == 0.25


def test_the_table_shows_counts_problems_and_a_verdict(tmp_path: Path) -> None:
    root = caption_trees.own(tmp_path)
    caption_trees.rewrite(root, lambda rows: [row.update(split="tset") for row in rows])
    cell(0, "split", "[bold]")(root)
    result = CliRunner().invoke(app, ["data", "check", "csv", "--root", str(root)])
    assert result.exit_code == 1
    assert "[bold]" in result.stdout
    assert "16 fatal" in result.stdout.splitlines()[-1]
    caption_trees.rewrite(root, lambda rows: rows.extend({**rows[0], "id": f"t{n}"} for n in range(20)))
    assert "12 more" in CliRunner().invoke(app, ["data", "check", "csv", "--root", str(root)]).stdout


@pytest.mark.parametrize("dataset", ["example", "fairvision"])
def test_datasets_that_are_no_listings(dataset: str, tmp_path: Path) -> None:
    root = trees.TREES[dataset](tmp_path) if dataset in trees.TREES else tmp_path
    code, report = check(dataset, root)
    assert (code, report["problems"]) == (0, [])
    assert report["counts"]["studies"] == {"example": 72, "fairvision": 12}[dataset]


def test_a_folder_that_cannot_be_opened_is_one_fatal_problem(tmp_path: Path) -> None:
    root = trees.derm7pt(tmp_path)
    (root / "meta" / "meta.csv").write_text("case_num\n1\n")
    code, report = check("derm7pt", root)
    assert code == 1
    assert [problem["kind"] for problem in report["problems"]] == ["unreadable"]
    assert "no column" in report["problems"][0]["message"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-set"], "unknown dataset 'no-such-set'"),
        (["csv"], "csv reads a table"),
        (["csv", "--root", "nowhere.csv"], "no such file"),
        (["roco", "--root", "nowhere"], "no such folder"),
        (["csv", "--root", "{}", "--set", "roco.profile=x"], "the dataset is csv"),
        (["csv", "--root", "{}", "--set", "csv.imagesize=3"], "did you mean image_size"),
        (["csv", "--root", "{}", "--set", "csv.profile=r2gen"], "unknown profile 'r2gen'"),
    ],
)
def test_what_cannot_be_examined_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    root = caption_trees.own(tmp_path)
    result = CliRunner().invoke(app, ["data", "check", *(each.format(root) for each in arguments)])
    assert isinstance(result.exception, HarnessError)
    assert message in str(result.exception)
