"""Files of users, changed at random: every reader gives a value or one line, and stays below a gibibyte."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.core.config import RunSettings, parse_overrides
from harness.core.errors import HarnessError
from harness.datasets.check import examine
from harness.evaluation.probability_files.tables import LabelReading, joined, label_table
from harness.evaluation.report_files.reader import read_reports
from harness.leaderboard import bundle as bundles
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import formats
from harness.missingness import masks
from harness.missingness.plan import Missingness
from tests.helpers import caption_trees
from tests.helpers.leaderboards import small_store
from tests.helpers.toys import ToyData

SLOW_CASES, QUICK_CASES = 2_000, 80
MOST_KIB = 1 << 20

TOKENS = [
    *(b"null", b"NaN", b"1e999", b"-1", b"9" * 400, b"0.5", b"true", b'""', b"{}", b"[]", b'"\\ud800"'),
    *(b"[" * 3000, b'{"a":' * 3000, b"&a [*a]", b"*a", b"!!python/object:os.system x", b"<<: *a"),
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[31m", b"\xe2\x80\xae", b"\r", b"\n\n"),
    *(
        b",",
        b";",
        b"\t",
        b'"',
        b"'",
        b"|",
        b"=1+1",
        b"id",
        b"report",
        b"study_id",
        b"patient",
        b"label:Edema",
    ),
    *(b"../../etc/passwd", b"/dev/zero", b"[/]", b"{{ 7*7 }}", b"<img src=x>", b"a" * 5000),
]
"""What is put into files, or in place of a part of them."""

SPANS = st.tuples(st.integers(0, 10_000), st.integers(0, 60))
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(("put", "replace", "remove", "repeat", "cut")),
        SPANS,
        st.one_of(st.sampled_from(TOKENS), st.binary(max_size=6)),
    ),
    max_size=4,
)


def changed(content: bytes, changes: list[tuple[str, tuple[int, int], bytes]]) -> bytes:
    """The content after a few changes, each at a share of its length."""
    for kind, (place, length), token in changes:
        start = place * len(content) // 10_000
        part = content[start : start + length]
        content = {
            "put": content[:start] + token + content[start:],
            "replace": content[:start] + token + content[start + length :],
            "remove": content[:start] + content[start + length :],
            "repeat": content[:start] + part * 3 + content[start + length :],
            "cut": content[:start],
        }[kind]
    return content


REPORTS: dict[str, bytes] = {
    "a.json": json.dumps({"s1": "Heart is large.", "s2": "Clear lungs."}).encode(),
    "b.json": json.dumps([{"id": "s1", "report": "Heart is large."}, {"id": "s2", "report": ""}]).encode(),
    "c.json": json.dumps({"columns": ["id", "report"], "index": [0], "data": [["s1", "Clear."]]}).encode(),
    "d.json": json.dumps({"references": ["Heart is large."], "hypotheses": ["Clear."]}).encode(),
    "e.jsonl": b'{"id": "s1", "report": "Heart is large."}\n{"id": "s2", "report": "Clear."}\n',
    "f.jsonl": b'{"custom_id": "s1", "response": {"body": {"choices": [{"message": {"content": "a"}}]}}}\n',
    "g.csv": b"id,report\ns1,Heart is large.\ns2,Clear.\n",
    "h.tsv": b"study_id\treport\ns1\tHeart is large.\ns2\tClear.\n",
    "i.txt": b"Heart is large.\nClear lungs.\n",
}
CELLS = b"id,patient_id,label:Edema,label:Fracture\ns1,p1,0.1,0.9\ns2,p2,0.5,0.25\ns3,p3,0,1\n"
TRUTH = b"id,patient_id,label:Edema,label:Fracture\ns1,p1,0,1\ns2,p2,1,0\ns3,p3,0,1\n"
SETTINGS = (
    b"dataset: toy\nmethods: [echo]\nmissing: [0.2, 0.6]\nset: {echo: {x: 1, y: [1, 2]}}\nseeds: [0, 1]\n"
)


@dataclass(frozen=True)
class Reader:
    """A public reader: files as they should be, and what reads one of them after a change."""

    files: dict[str, bytes]
    read: Callable[[Path], object]


def reports(path: Path) -> None:
    for text in read_reports(path).texts.values():
        assert "\0" not in text
        text.encode()


def probabilities(path: Path) -> None:
    truth = path.with_name("truth.csv")
    truth.write_bytes(TRUTH)
    label_table(path, "predictions")
    assert np.isfinite(joined(truth, path, LabelReading()).probabilities).all()


def board(path: Path) -> None:
    read = Leaderboard.from_json(path)
    for kind in ("markdown", "csv"):
        text = formats.render(read, kind)
        shown = text.decode() if isinstance(text, bytes) else text
        assert "\x1b" not in shown
        assert "\u202e" not in shown


def overrides(path: Path) -> None:
    for line in path.read_bytes().decode("utf-8", "replace").split("\n"):
        parse_overrides([line])


def table(path: Path) -> None:
    examination = examine("csv", path)
    assert all("\n" not in problem.message for problem in examination.problems)


def readers(folder: Path) -> dict[str, Reader]:
    leaderboard = Leaderboard.of(small_store(folder / "store"))
    data = ToyData()
    studies = data.studies("test")
    plan = masks.plan_of(studies, data.info, Missingness("any", "mcar", (0.2, 0.6), (0, 1)))
    own = caption_trees.own(folder / "data")
    return {
        "reports": Reader(REPORTS, reports),
        "probabilities": Reader({"p.csv": CELLS}, probabilities),
        "results": Reader({"r.json": leaderboard.to_json().encode()}, board),
        "bundles": Reader({"b.json": bundles.make(leaderboard).encode()}, bundles.read),
        "settings": Reader({"s.yaml": SETTINGS}, lambda path: RunSettings.build({}, path)),
        "overrides": Reader({"o.txt": b"kedr.a=[1, 2]\nkedr.b={x: 1}\nmy-data.c=/a/b"}, overrides),
        "masks": Reader(
            {"m.json": json.dumps(plan.to_json()).encode()},
            lambda path: masks.read_plan(path, studies, data.info),
        ),
        "tables": Reader({own.name: own.read_bytes()}, table),
    }


NAMES = ("reports", "probabilities", "results", "bundles", "settings", "overrides", "masks", "tables")


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Reader]]:
    folder = tmp_path_factory.mktemp("fuzz")
    return folder, readers(folder)


def tried(name: str, every: tuple[Path, dict[str, Reader]], cases: int) -> None:
    """Give a reader that many changed files."""
    folder, known = every
    reader = known[name]
    for file, content in reader.files.items():
        reader.read(written(folder, file, content))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(sorted(reader.files)), CHANGES)
    def one(file: str, changes: list[Any]) -> None:
        path = written(folder, file, changed(reader.files[file], changes))
        message = ""
        try:
            reader.read(path)
        except HarnessError as error:
            message = str(error)
        assert "\n" not in message
        assert len(message) < 2_000

    one()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KIB


def written(folder: Path, file: str, content: bytes) -> Path:
    """The file beside the images of the tables, which must stay where they are."""
    path = folder / "data" / file
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_changed_files_give_a_value_or_one_line(name: str, every: tuple[Path, dict[str, Reader]]) -> None:
    tried(name, every, QUICK_CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_thousand_changed_files(name: str, every: tuple[Path, dict[str, Reader]]) -> None:
    tried(name, every, SLOW_CASES)
