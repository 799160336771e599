"""Verdicts of audits: they belong to files of code and data as these were during the audit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import CorruptFileError
from harness.core.files import digest_of, read_checked_json, write_json
from harness.leaderboard.leaderboard import Leaderboard
from harness.store.store import Store
from harness.store.verdicts import Verdict, save, verdict_path, verdicts
from tests.helpers.leaderboards import small_store


def audit_of_first(store: Store) -> str:
    return next(
        row.audit for table in Leaderboard.of(store).tables for row in table.rows if row.method == "first"
    )


def test_a_row_whose_method_uses_other_files_than_were_audited_is_not_audited(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    code, table = tmp_path / "plugin.py", tmp_path / "table.bin"
    for path in (code, table):
        path.write_text("as it was audited")
    verdict = next(each for each in verdicts(store.root) if each.method == "first")
    files = {path.name: digest_of(path)[:16] for path in (code, table)}
    places = {path.name: str(path) for path in (code, table)}
    save(store.root, replace(verdict, files=files | {"METADATA": "0" * 16}, places=places), {})
    assert audit_of_first(store) == "passed"
    for path in (code, table):
        path.write_text("as it was changed since")
        assert audit_of_first(store) == "not audited: other files"
        path.write_text("as it was audited")
    code.unlink()
    assert audit_of_first(store) == "not audited: other files"
    table.unlink()
    assert audit_of_first(store) == "passed", "the store is read where none of the files is"


def turned(path: Path) -> None:
    path.write_text(path.read_text().replace('"passed": true', '"passed": false'))


def of_another(path: Path) -> None:
    other = next(each for each in path.parent.iterdir() if each != path)
    path.write_bytes(other.read_bytes())


def unchecked(path: Path) -> None:
    write_json(path, read_checked_json(path))


@pytest.mark.parametrize("harm", [turned, of_another, unchecked])
def test_a_verdict_that_was_not_written_so_is_not_shown(
    tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    store = small_store(tmp_path)
    verdict = next(each for each in verdicts(store.root) if each.method == "first")
    save(store.root, replace(verdict, method="second"), {})
    path = verdict_path(store.root, verdict.dataset, "first")
    harm(path)
    with pytest.raises(CorruptFileError, match=r"first.json: (checksum mis|it was written|its check)"):
        Leaderboard.of(store)
    store.set_aside_damaged()
    assert "first.json: damaged, set aside as first.json.damaged" in caplog.text
    assert audit_of_first(store) == "not audited"


def test_a_folder_in_the_place_of_a_verdict_is_set_aside(tmp_path: Path) -> None:
    path = verdict_path(tmp_path, "toy", "echo")
    path.mkdir(parents=True)
    verdict = Verdict(method="echo", dataset="toy", preset="tiny", studies=1, code="", checks=())
    assert save(tmp_path, verdict, {}) == path
    assert path.is_file()
    assert path.with_name(f"{path.name}.damaged").is_dir()
