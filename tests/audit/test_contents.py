"""Reports are found in files of every kind, and what training showed is never counted."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.audits.contents import Contents
from harness.audits.verbatim import Hidden, Windows, hidden_reports, patterns
from tests.helpers.long_data import LongData

DATA = LongData()
HIDDEN = hidden_reports(DATA)
TEST = [study.report or "" for study in DATA.studies("test")]
TRAIN = [study.report or "" for study in DATA.studies("train")]


def found(path: Path, hidden: Hidden = HIDDEN) -> int:
    contents = Contents.of(path)
    return len(hidden.in_texts(contents.texts) | hidden.in_numbers(contents.numbers))


def as_bytes(reports: Sequence[str]) -> bytes:
    return "\n".join(reports).encode()


def token_ids(reports: Sequence[str]) -> np.ndarray:
    """Padded rows of numbers from a vocabulary in an order of its own."""
    words = sorted({word for report in (*TRAIN, *TEST) for word in report.split()})
    shuffled = np.random.default_rng(3).permutation(len(words)) + 4
    number = dict(zip(words, shuffled, strict=True))
    rows = np.zeros((len(reports), 64), dtype=np.int32)
    for row, report in zip(rows, reports, strict=True):
        ids = [1, *(number[word] for word in report.split()), 2]
        row[: len(ids)] = ids
    return rows


def sqlite(path: Path, reports: Sequence[str]) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table bank (report text)")
        connection.executemany("insert into bank values (?)", [(report,) for report in reports])
    connection.close()


def zipped(path: Path, reports: Sequence[str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.json.gz", gzip.compress(json.dumps(list(reports)).encode()))


def tensors(path: Path, **arrays: np.ndarray) -> None:
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    save_file({"weights": weights, **arrays}, path)


FORMS: dict[str, Callable[[Path, Sequence[str]], object]] = {
    "bank.json": lambda path, reports: path.write_text(json.dumps(list(reports))),
    "words.json": lambda path, reports: path.write_text(json.dumps([each.split() for each in reports])),
    "bank.csv": lambda path, reports: path.write_text("\n".join(f"{i},{r}" for i, r in enumerate(reports))),
    "shouted.txt": lambda path, reports: path.write_text("\n".join(reports).upper()),
    "wide.txt": lambda path, reports: path.write_bytes("\n".join(reports).encode("utf-16")),
    "bank.gz": lambda path, reports: path.write_bytes(gzip.compress(as_bytes(reports))),
    "bank.bz2": lambda path, reports: path.write_bytes(bz2.compress(as_bytes(reports))),
    "bank.xz": lambda path, reports: path.write_bytes(lzma.compress(as_bytes(reports))),
    "bank.bin": lambda path, reports: path.write_bytes(zlib.compress(as_bytes(reports))),
    "mixed.bin": lambda path, reports: path.write_bytes(bytes(range(256)) + as_bytes(reports)),
    "bank.zip": zipped,
    "bank.db": sqlite,
    "strings.npy": lambda path, reports: np.save(path, np.array(reports)),
    "strings.npz": lambda path, reports: np.savez_compressed(path, bank=np.array(reports)),
    "code.py": lambda path, reports: path.write_text(f"BANK = {list(reports)!r}\n"),
    "packed.py": lambda path, reports: path.write_text(f"BANK = {zlib.compress(as_bytes(reports))!r}\n"),
    "base64.py": lambda path, reports: path.write_text(
        f"BANK = {base64.b64encode(zlib.compress(as_bytes(reports))).decode()!r}\n"
    ),
    "bytes.safetensors": lambda path, reports: tensors(
        path, text=np.frombuffer(as_bytes(reports), dtype=np.uint8)
    ),
    "letters.safetensors": lambda path, reports: tensors(
        path, text=np.frombuffer(as_bytes(reports), dtype=np.uint8).astype(np.float32)
    ),
    "ids.safetensors": lambda path, reports: tensors(path, ids=token_ids(reports)),
    "float-ids.safetensors": lambda path, reports: tensors(path, ids=token_ids(reports).astype(np.float16)),
    "ids.json": lambda path, reports: path.write_text(json.dumps({"ids": token_ids(reports).tolist()})),
    "ids.npz": lambda path, reports: np.savez_compressed(path, ids=token_ids(reports).astype(np.uint8)),
}


@pytest.mark.parametrize("name", FORMS)
def test_reports_are_found_in_every_kind_of_file_and_those_of_training_are_not(
    name: str, tmp_path: Path
) -> None:
    FORMS[name](tmp_path / name, TEST)
    assert found(tmp_path / name) == len(TEST)
    FORMS[name](tmp_path / f"train-{name}", TRAIN)
    assert found(tmp_path / f"train-{name}") == 0


def test_a_report_that_training_shows_too_is_not_counted() -> None:
    class Repeating(LongData):
        def studies(self, split: str):  # type: ignore[no-untyped-def]
            return super().studies("train" if split == "test" else split)

    assert hidden_reports(Repeating()).reports == 0


def test_half_a_report_is_a_report_and_a_phrase_is_none() -> None:
    words = TEST[0].split()
    assert HIDDEN.in_texts([" ".join(words[: len(words) * 2 // 3])]) == {0}
    assert HIDDEN.in_texts([" ".join(words[:10])]) == set()


def test_numbers_that_return_in_the_same_places_have_one_pattern() -> None:
    rng = np.random.default_rng(0)
    text = rng.integers(0, 12, 200)
    renamed = rng.permutation(1000)[:12][text]
    assert np.array_equal(patterns(text), patterns(renamed))
    assert len(patterns(np.arange(500))) == 0  # nothing returns
    assert len(patterns(np.zeros(500, dtype=np.int64))) == 0  # nothing else does


def test_weights_of_a_network_hold_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"masks": rng.integers(0, 2, 5000), "steps": np.arange(900), "embedding": rng.normal(size=9000)}
    tensors(tmp_path / "model.safetensors", **arrays)
    assert found(tmp_path / "model.safetensors") == 0


def test_a_packed_file_that_unpacks_to_very_much_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = Contents(budget=100_000)
    stream = io.BytesIO(gzip.compress(b"the lungs are clear " * 1_000_000))
    contents.add(stream.getvalue())
    assert sum(map(len, contents.texts)) <= 100_000


def test_windows_need_enough_of_their_own() -> None:
    windows = Windows.of([["a", "b"], ["c", "d", "e"]], [["b"]])
    assert windows.held(["a", "c", "d"]) == {1}
