"""Atomic writes, seals, and stored predictions."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.core import files
from harness.core.errors import CorruptFileError, DiskError, HarnessError
from harness.core.slugs import slug
from harness.core.types import Prediction
from harness.store.arrays import load_array, save_array
from harness.store.predictions import decode, encode


def test_a_file_that_the_user_may_not_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    files.write_json(path, {})

    def refused(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refused)  # root may read everything
    with pytest.raises(HarnessError, match=r"result\.json: permission denied"):
        files.read_json(path)


def test_failed_write_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    files.write_json(path, {"version": 1})

    def fail(stream: object) -> None:
        stream.write(b"{")  # type: ignore[attr-defined]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        files.write_atomic(path, fail)
    assert files.read_json(path) == {"version": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_seal_notices_one_flipped_bit(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    save_array(path, np.arange(6.0).reshape(2, 3))
    assert np.array_equal(load_array(path), [[0, 1, 2], [3, 4, 5]])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"rows\.npy: checksum"):
        load_array(path)


def test_a_folder_in_the_place_of_a_seal_is_set_aside(tmp_path: Path) -> None:
    path, seal = tmp_path / "rows.npy", tmp_path / "rows.npy.sha256.json"
    for write in (lambda: save_array(path, np.zeros(3)), lambda: files.unseal(path)):
        seal.unlink(missing_ok=True)
        seal.mkdir()
        write()
        assert not seal.is_dir()
    assert load_array(path) is None
    save_array(path, np.ones(3))
    assert np.array_equal(load_array(path), np.ones(3))


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tables").write_text("mine")
    for write in (
        lambda: files.write_json(tmp_path / "tables" / "a.json", {}),
        lambda: files.write_json(tmp_path / "tables" / "below" / "a.json", {}),
        lambda: files.private_folder(tmp_path / "tables"),
    ):
        with pytest.raises(HarnessError, match=r"cannot be made: (a file is in its|not a dir)"):
            write()
    with pytest.raises(HarnessError, match="a file is in the place of a folder above"):
        files.open_own(tmp_path / "tables" / "a.json")
    assert (tmp_path / "tables").read_text() == "mine"


def test_unsealed_array_counts_as_unfinished(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.zeros(3))
    assert load_array(path) is None


def test_predictions_survive_the_round_trip_exactly() -> None:
    rng = np.random.default_rng(0)
    prediction = Prediction(
        report="café\nno “effusion”.",
        probabilities=rng.random(14),
        images={"frontal": rng.integers(0, 256, (8, 8, 1), dtype=np.uint8)},
    )
    study_id, copy = decode(encode("CXR1", prediction))
    assert study_id == "CXR1"
    assert copy.report == prediction.report
    assert np.array_equal(copy.probabilities, prediction.probabilities)
    assert np.array_equal(copy.images["frontal"], prediction.images["frontal"])


def test_file_names_are_safe() -> None:
    assert slug("dia:no-alignment[lr=0.1]") == "dia@no-alignment_lr=0.1_"
    assert "/" not in slug("../../etc/passwd")


def test_a_weights_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """Safetensors hides the system's error in a text of its own, another one in each version."""
    path, limit = tmp_path / "weights.safetensors", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with (
            pytest.raises(DiskError, match=r"cannot write .*weights\.safetensors: file too large"),
            files.clear_disk_errors(path),
        ):
            save_file({"weights": np.zeros(1000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
