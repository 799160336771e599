"""Verdicts of audits: they belong to files of code and data as these were during the audit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.core.files import digest_of
from harness.leaderboard.leaderboard import Leaderboard
from harness.store.store import Store
from harness.store.verdicts import save, verdicts
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
