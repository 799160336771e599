"""``harness run --quick``: few methods and studies, and what is said beside it wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.store.store import Store
from tests.cli.test_cli import invoke


def test_a_first_look_on_any_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("run", "--quick", "--dataset", "example", "--store", str(tmp_path / "runs"), "--no-figures")
    code, _, error = invoke(capsys, *arguments, "--missing", "0.5")
    assert code == 0, error
    rows = [row for stored in Store(tmp_path / "runs").stored() for row in stored.rows]
    assert {row.method for row in rows} == {
        "template",
        "retrieval",
        "late_fusion",
        "late_fusion+shuffled-image",
    }
    assert {0.0, 0.5} <= {row.rate for row in rows} <= {0.0, 0.5, 1.0}


def test_a_file_says_what_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text("methods: template\n")
    code, _, error = invoke(capsys, "run", "--quick", "-c", str(tmp_path / "run.yaml"))
    assert code == 2
    assert "--quick and --config" in error
