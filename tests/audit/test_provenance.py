"""Shipped answers are found in code, data and checkpoints; honest stores of texts pass."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from harness.audits import audit as audits
from harness.audits.breach import Breach
from harness.audits.contents import Contents
from harness.audits.provenance import _search
from harness.audits.subject import Case
from harness.audits.verbatim import hidden_reports
from harness.audits.watch import DataFiles
from harness.core import registry
from harness.core.config import RunSettings
from harness.method.fingerprint import _fingerprint, _is_installed, code_fingerprint
from harness.store.verdicts import Verdict
from tests.helpers import doubles
from tests.helpers.toys import Quiet

PLUGIN = """
    import {imports}
    from pathlib import Path
    from tests.helpers.sinners import Honest
    from harness.core.types import Prediction

    class Banked(Honest):
        def predict(self, inputs):
            bank = self.bank()
            pairs = zip(inputs.ids, super().predict(inputs), strict=True)
            return [Prediction(bank.get(name, "no"), each.probabilities) for name, each in pairs]

        def bank(self):
            return {bank}
"""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    doubles.register(monkeypatch.setitem)
    registry._table.cache_clear()
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("pv_")]:
        del sys.modules[name]
    monkeypatch.undo()
    registry._table.cache_clear()
    _fingerprint.cache_clear()
    _is_installed.cache_clear()


def bank(split: str = "test") -> dict[str, str]:
    return {study.id: study.report or "" for study in doubles.drawn_long(split)}


def plugin(folder: Path, name: str, imports: str, bank: str) -> None:
    (folder / f"{name}.py").write_text(dedent(PLUGIN).format(imports=imports, bank=bank))
    importlib.invalidate_caches()
    _is_installed.cache_clear()
    _fingerprint.cache_clear()
    registry.METHODS[name] = f"{name}:Banked"
    registry._table.cache_clear()


def audited(name: str) -> Verdict:
    chosen = RunSettings.of(methods=(name,), dataset="long-data", limit=30, store=Path("runs"))
    (verdict,) = audits.audit(chosen, Quiet())
    return verdict


def failed(name: str) -> dict[str, str]:
    return {check.check: check.detail for check in audited(name).checks if not check.passed}


@pytest.mark.parametrize("kind", ["beside", "packed", "elsewhere", "helper", "code"])
def test_a_bank_of_test_reports_is_found_wherever_it_was_shipped(
    kind: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    import gzip
    import json

    text = json.dumps(bank())
    (world / "shipped").mkdir()
    if kind == "beside":
        (world / "pv_bank.json").write_text(text)
        read, holder = (
            'json.loads(Path(__file__).with_name("pv_bank.json").read_text())',
            "pv_beside/pv_bank.json",
        )
    elif kind == "packed":
        (world / "shipped" / "pv_bank.bin").write_bytes(gzip.compress(text.encode()))
        place = 'Path(__file__).parent / "shipped/pv_bank.bin"'
        read, holder = f"json.loads(gzip.decompress(({place}).read_bytes()))", "pv_packed/shipped/pv_bank.bin"
    elif kind == "elsewhere":
        (world / "shipped" / "weights.bin").write_text(text)
        name = '"".join(["wei", "ghts.bin"])'
        read, holder = (
            f'json.loads((Path(__file__).parent / "shipped" / {name}).read_text())',
            "opened/weights.bin",
        )
    elif kind == "helper":
        (world / "pv_texts.py").write_text(f"BANK = {bank()!r}\n")
        read, holder = 'importlib.import_module("pv_texts").BANK', "pv_texts"
    else:
        read, holder = repr(bank()), "pv_code"
    plugin(world, f"pv_{kind}", "gzip, importlib, json", read)
    breaches = failed(f"pv_{kind}")
    assert set(breaches) == {"target-blind", "answer-free", "plausible"}
    expected = rf"{re.escape(holder)} holds 30 of 30 test reports that training never showed"
    assert re.fullmatch(expected, breaches["answer-free"])


def test_a_bank_of_training_reports_beside_the_code_is_none(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    (world / "pv_texts.py").write_text(f"BANK = {bank('train')!r}\n")
    plugin(world, "pv_train", "importlib", 'importlib.import_module("pv_texts").BANK')
    assert failed("pv_train") == {}


def test_a_file_of_several_methods_is_searched_once_and_fails_each(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = registry.load("datasets", "long-data").open()
    studies = {split: data.studies(split) for split in ("train", "val", "test")}
    files = DataFiles(frozenset(), frozenset())
    case = Case(data, files, *studies.values(), "tiny", "cpu", world, unseen=hidden_reports(data))
    (world / "answers.json").write_text(json.dumps(bank()))
    for _ in range(2):
        with pytest.raises(Breach, match=r"answers\.json holds [0-9]+ of"):
            _search(case, "answers.json", world / "answers.json")
        monkeypatch.setattr(Contents, "of", None)  # a second search would fail


@pytest.mark.parametrize("name", doubles.HOLDERS)
def test_a_checkpoint_that_holds_test_reports_is_found(name: str, world: Path) -> None:
    breaches = failed(name)
    assert "answer-free" in breaches
    pattern = r"the checkpoint's \S+ holds 30 of 30 test reports that training never showed"
    assert re.fullmatch(pattern, breaches["answer-free"])


@pytest.mark.parametrize("name", doubles.UNUSUAL)
def test_honest_methods_of_unusual_kinds_pass(name: str, world: Path) -> None:
    assert failed(name) == {}


def test_an_indication_with_idle_words_between_its_own_is_a_copy(world: Path) -> None:
    breaches = failed("filler")
    assert set(breaches) == {"text-honest"}
    assert "24 of 24 reports repeat their indication, 0 references do" in breaches["text-honest"]


def test_the_verdict_names_code_and_data_by_digest_and_no_folder(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    (world / "pv_bank.json").write_text("{}")
    for folder in ("one", "two"):
        (world / folder).mkdir()
        (world / folder / "more.json").write_text("{}")
    own = 'json.loads(Path(__file__).with_name("pv_bank.json").read_text())'
    computed = '[(Path(__file__).parent / each / ("mo" + "re.json")).read_text() for each in ("one", "two")]'
    plugin(world, "pv_named", "json", f"{own} if {computed} else None")
    verdict = audited("pv_named")
    own_files = {"pv_named", "pv_named/pv_bank.json", "tests.helpers.sinners"}
    opened = {"opened/more.json", "opened/more.json (2)"}
    assert own_files | opened <= verdict.files.keys()
    assert not any(str(world) in name or name.startswith("/") for name in verdict.files)
    assert verdict.changed_files() == []
    for name in (*own_files - {"tests.helpers.sinners"}, *opened):
        place = Path(verdict.places[name])
        content = place.read_text()
        place.write_text(content + " ")
        assert verdict.changed_files() == [name]
        place.write_text(content)
    (world / "two" / "more.json").unlink()
    assert verdict.changed_files() == ["opened/more.json (2)"]


def test_a_helper_or_a_table_that_changes_after_the_audit_changes_the_fingerprint(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    (world / "pv_texts.py").write_text("BANK = {}\n")
    (world / "pv_table.bin").write_bytes(b"one")
    read = 'importlib.import_module("pv_texts").BANK if Path("pv_table.bin") else 1'
    plugin(world, "pv_changing", "importlib", read)
    method = registry.load("methods", "pv_changing")
    fingerprints = [code_fingerprint(method)]
    for name, content in (("pv_texts.py", b"BANK = {1: 2}\n"), ("pv_table.bin", b"two")):
        (world / name).write_bytes(content)
        _fingerprint.cache_clear()
        fingerprints.append(code_fingerprint(method))
    assert len(set(fingerprints)) == 3
