"""What leaves the site, and what the checker refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import registry
from harness.core.errors import HarnessError
from harness.core.files import read_checked_json, write_checked_json
from harness.leaderboard import bundle as share
from harness.leaderboard.bundle_checksums import with_checksums
from harness.leaderboard.leaderboard import Leaderboard
from harness.store.store import Store
from tests.cli.test_cli import invoke, toy_run
from tests.helpers.leaderboards import add, small_store

ROOT = Path(__file__).parents[2]
SENTENCE = "The heart is enlarged."


@pytest.fixture
def bundle(tmp_path: Path) -> dict[str, Any]:
    return json.loads(share.make(Leaderboard.of(small_store(tmp_path))))


def test_bundle_holds_the_numbers_and_passes_its_own_check(tmp_path: Path) -> None:
    leaderboard = Leaderboard.of(small_store(tmp_path))
    bundle = share.check(share.make(leaderboard), "bundle.json")
    assert [row.value for row in bundle.rows] == [row.value for row in leaderboard.rows]
    assert {row.n for row in bundle.rows} == {590}
    assert len(bundle.runs) == 5
    run = next(iter(bundle.runs.values()))
    assert run.packages == {"numpy": "2.0.0"}
    assert run.audit in ("passed", "failed", "not audited", "not audited: other code")


def test_a_signature_of_an_older_version_is_named_with_the_remedy(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    key = add(store, "older", {"cider": 0.2})
    path = store.root / "results" / f"{key}.json"
    content = read_checked_json(path)
    for row in content["rows"]:
        row["signature"] = "cider|fit:real test pairs|v:1"
    write_checked_json(path, content)
    with pytest.raises(HarnessError) as caught:
        share.make(Leaderboard.of(store), store)
    for words in (f"{key}: cider: ", f"harness store rm {key}", "harness run --methods older"):
        assert words in str(caught.value)
    store.remove_results([key])
    share.make(Leaderboard.of(store), store)


def test_no_string_of_a_bundle_has_white_space_but_names_of_groups(bundle: dict[str, Any]) -> None:
    allowed = {"report text", "diagnosis", "not audited", "not audited: other code"}
    assert {text for text in share._strings(bundle) if " " in text} <= allowed


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of every string, and of every number, in a bundle's first row and run."""
    if isinstance(value, dict):
        return [place for key in list(value)[:40] for place in places(value[key], (*path, key))]
    if isinstance(value, list):
        return [
            place for index in range(min(1, len(value))) for place in places(value[index], (*path, index))
        ]
    return [path]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    copy = json.loads(json.dumps(value))
    at = copy
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = new
    return copy


@pytest.mark.parametrize(
    "planted", [SENTENCE, [SENTENCE], {"report": SENTENCE}, "iVBORw0KGgo=" * 40, [0.1] * 590]
)
def test_text_images_and_per_study_rows_fit_into_no_field(bundle: dict[str, Any], planted: Any) -> None:
    for path in places(bundle):
        with pytest.raises(HarnessError, match="refused") as caught:
            share.check(json.dumps(replaced(bundle, path, planted)), "bundle.json")
        assert "enlarged" not in str(caught.value), "the message repeats what may not leave"


@given(st.text(min_size=1).filter(lambda text: any(c.isspace() for c in text)))
def test_no_name_takes_white_space(text: str) -> None:
    row = {"method": text}
    content = {"bundle": 1, "schema": 1, "rows": [row], "runs": {}, "checksums": {}, "sha256": ""}
    with pytest.raises(HarnessError):
        share.check(json.dumps(content), "bundle.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b | {"reports": [SENTENCE]}, "a field that no bundle has"),
        (lambda b: replaced(b, ("rows", 0, "report"), SENTENCE), "a field that no bundle has"),
        (lambda b: replaced(b, ("rows", 0, "n"), 1), "greater than or equal to 10"),
        (lambda b: b | {"rows": [b["rows"][0]] * 590}, "stands there twice"),
        (lambda b: b | {"runs": {}}, "a run that is not described"),
        (lambda b: [b], "bundle"),
        (lambda b: {}, "field required"),
    ],
)
def test_what_is_no_aggregate_is_refused(
    bundle: dict[str, Any], change: Callable[[dict[str, Any]], Any], says: str
) -> None:
    with pytest.raises(HarnessError, match="refused") as caught:
        share.check(json.dumps(change(bundle)), "bundle.json")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, '{"a":' * 100_000, '{"rows": ["The heart"], "rows": []}', '{"rows": NaN}'],
)
def test_files_that_readers_would_see_differently_are_refused(text: str) -> None:
    with pytest.raises(HarnessError, match="refused"):
        share.check(text, "bundle.json")


INVISIBLE = ("\u2800", "\u3164", "\u200b", "\u200d", "\u2060", "\u00ad", "\u202e", "\ufeff", "\u115f")


@pytest.mark.parametrize(
    "letters",
    [*INVISIBLE, "\u80ba\u90e8\u6e05\u6670", "\u041d\u0435\u0442", "/data/a", "C:\\a", "\x1b[31m"],
)
def test_every_name_is_printable_ascii_and_no_path(bundle: dict[str, Any], letters: str) -> None:
    for path in places(bundle):
        value = bundle
        for step in path:
            value = value[step]
        if isinstance(value, str):
            for planted in (letters, value + letters, "|".join([value, f"a:{letters}"])):
                with pytest.raises(HarnessError, match="refused"):
                    share.check(json.dumps(replaced(bundle, path, planted)), "bundle.json")
    run = next(iter(bundle["runs"]))
    for packages in (
        {letters: "1.0"},
        {"numpy": letters},
        {"the-heart-is-enlarged": "1.0"},
        {"numpy": "enlarged"},
    ):
        with pytest.raises(HarnessError, match="refused"):
            share.check(json.dumps(replaced(bundle, ("runs", run, "packages"), packages)), "bundle.json")


@pytest.mark.parametrize(
    "value", ["weights:a/b/c", "weights:/a", "weights:../a", "weights:C:/a", "weights:~/a"]
)
def test_a_path_in_a_signature_is_refused(bundle: dict[str, Any], value: str) -> None:
    planted = replaced(bundle, ("rows", 0, "signature"), f"cider|{value}|v:1")
    with pytest.raises(HarnessError, match="a path, of which a digest may leave"):
        share.check(json.dumps(planted), "bundle.json")


def test_a_bundle_holds_so_many_names_and_no_more(
    bundle: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "MOST_NAMES", 3)
    with pytest.raises(HarnessError, match="different names and signatures; a bundle has at most 3"):
        share.check(json.dumps(bundle), "bundle.json")
    monkeypatch.undo()
    monkeypatch.setattr(share, "MOST_ROWS", 1)
    with pytest.raises(HarnessError, match="numbers; a bundle has at most 1"):
        share.check(json.dumps(bundle), "bundle.json")


SUMS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a seed of many digits": (lambda b: replaced(b, ("rows", 0, "seed"), 10**400), "rows.0.seed: "),
    "a negative count": (
        lambda b: replaced(b, ("runs", first_run(b), "mask_seeds"), -3),
        r"runs\.\?\.mask_seeds: ",
    ),
    "a word as a key": (
        lambda b: replaced(b, ("rows", 0, "EFFUSION"), 1),
        r"rows\.0\.\?: a field that no bundle has",
    ),
    "a word as a package": (
        lambda b: replaced(b, ("runs", first_run(b), "packages", "EFFUSION"), "1.0"),
        r"runs\.\?\.packages\.",
    ),
    "a switch": (lambda b: b | {"schema": True}, "a switch where a number belongs"),
}


@pytest.mark.parametrize("change", SUMS)
def test_remade_checksums_carry_nothing_more(bundle: dict[str, Any], change: str) -> None:
    alter, message = SUMS[change]
    with pytest.raises(HarnessError, match=message) as refused:
        share.check(json.dumps(with_checksums(alter(bundle))), "bundle.json")
    assert "EFFUSION" not in str(refused.value)


def test_digits_beyond_those_of_a_number_are_refused(bundle: dict[str, Any]) -> None:
    text = json.dumps(bundle)
    share.check(json.dumps(bundle, separators=(",", ":")), "bundle.json")
    value = repr(bundle["rows"][0]["value"])
    with pytest.raises(HarnessError, match="it holds more than its values"):
        share.check(text.replace(value, value + "0" * 20 + "1234567", 1), "bundle.json")


def first_run(bundle: dict[str, Any]) -> str:
    return next(iter(bundle["runs"]))


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a digit": (
        lambda b: replaced(b, ("rows", 0, "value"), b["rows"][0]["value"] + 0.001),
        r"the result \w+ \(\S+ on toy\) or one of its numbers is not what was written",
    ),
    "an interval": (lambda b: replaced(b, ("rows", 0, "ci95"), [0.1, 0.9]), "one of its numbers is not"),
    "a method": (lambda b: replaced(b, ("rows", 0, "method"), "ours"), "one of its numbers is not"),
    "a fact": (lambda b: replaced(b, ("runs", first_run(b), "protocol"), 7), "one of its numbers is not"),
    "a verdict": (
        lambda b: replaced(b, ("runs", first_run(b), "audit"), "not audited: other checkpoint"),
        "one of its numbers is not what was written",
    ),
    "an absent number": (lambda b: b | {"rows": b["rows"][1:]}, "one of its numbers is not"),
    "all numbers of a result": (
        lambda b: b | {"rows": [row for row in b["rows"] if row["run"] != first_run(b)]},
        "of which no number is there, or one of its numbers is not what was written",
    ),
    "an absent result": (
        lambda b: (
            b
            | {"rows": [row for row in b["rows"] if row["run"] != first_run(b)]}
            | {"runs": {run: facts for run, facts in b["runs"].items() if run != first_run(b)}}
        ),
        r"the result \w+ was taken out after",
    ),
    "a further result": (
        lambda b: (
            b
            | {"rows": [*b["rows"], b["rows"][0] | {"run": "abc"}]}
            | {"runs": b["runs"] | {"abc": b["runs"][first_run(b)]}}
        ),
        r"the result abc \(\S+ on toy\) was added after",
    ),
    "a checksum": (
        lambda b: replaced(b, ("checksums", first_run(b)), "0" * 64),
        "one of its numbers is not what was written",
    ),
    "the checksum of all": (lambda b: b | {"sha256": "0" * 64}, "its list of checksums is not what was"),
    "no checksums": (lambda b: {k: v for k, v in b.items() if k != "checksums"}, "checksums: field required"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_bundle_that_is_not_what_was_written_is_refused_by_name(
    tmp_path: Path, bundle: dict[str, Any], capsys: pytest.CaptureFixture[str], change: str
) -> None:
    file = tmp_path / "bundle.json"
    file.write_text(json.dumps(bundle))
    assert invoke(capsys, "bundle", "check", str(file))[0] == 0
    alter, message = CHANGES[change]
    file.write_text(json.dumps(alter(bundle)))
    code, out, err = invoke(capsys, "bundle", "check", str(file))
    assert (code, out) == (2, "")
    assert re.search(message, " ".join(err.split())), err
    assert len(err.strip().splitlines()) <= 3


def test_a_bundle_keeps_the_checksums_of_the_results(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    bundle = json.loads(share.make(Leaderboard.of(store)))
    written = {path.read_bytes().rpartition(b'"sha256": "')[2][:64].decode() for path in results(store)}
    assert {run["result"] for run in bundle["runs"].values()} == written
    path = results(store)[0]
    path.write_bytes(path.read_bytes().replace(b"0.4", b"0.5", 1))
    with pytest.raises(HarnessError, match="checksum"):
        share.make(Leaderboard.of(store))


def results(store: Store) -> list[Path]:
    return sorted((store.root / "results").rglob("*.json"))


def test_numbers_over_few_studies_do_not_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.helpers.leaderboards.N", 9)
    with pytest.raises(HarnessError, match="greater than or equal to 10"):
        share.make(Leaderboard.of(small_store(tmp_path)))


@pytest.mark.parametrize("drop", ["frontal:blur:3", "context:words=0.4", "frontal=0.2+context=0.6"])
def test_every_drop_policy_can_be_shared(tmp_path: Path, drop: str) -> None:
    leaderboard = Leaderboard.of(small_store(tmp_path))
    rows = tuple(replace(row, drop=drop) for row in leaderboard.rows)
    bundle = share.check(share.make(replace(leaderboard, rows=rows)), "bundle.json")
    assert {row.drop for row in bundle.rows} == {drop}


def test_local_paths_in_overrides_leave_as_a_digest(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add(store, "vdgen[llm=/data/hospital/llama]", {"cider": 0.5}, detail=SENTENCE)
    add(store, "dia[training.epochs=3]", {"cider": 0.5})
    text = share.make(Leaderboard.of(store))
    assert "hospital" not in text
    assert "heart" not in text
    labels = {row.method for row in share.check(text, "bundle.json").rows}
    assert "dia[training.epochs=3]" in labels
    assert any(label.startswith("vdgen[sha256:") for label in labels)


@pytest.mark.parametrize("command", [("leaderboard", "--share"), ("bundle", "write")])
def test_the_committed_results_are_shared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, str]
) -> None:
    file, results = str(tmp_path / "bundle.json"), str(ROOT / "leaderboards" / "iu-phantom.json")
    code, _, err = invoke(capsys, *command, file, "--results", results)
    assert code == 0, err
    assert invoke(capsys, "bundle", "check", file)[0] == 0


def test_the_numbers_of_every_registered_metric_can_be_shared(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for name in registry.names("metrics"):
        metric = registry.make_metric(name)
        key = add(store, f"of-{name}", {output.name: 0.5 for output in metric.outputs})
        path = store.root / "results" / f"{key}.json"
        content = read_checked_json(path)
        for row in content["rows"]:
            row["signature"] = metric.signature
        write_checked_json(path, content)
    assert len(share.check(share.make(Leaderboard.of(store)), "bundle.json").runs) == len(
        registry.names("metrics")
    )


def test_numbers_without_their_results_are_refused(tmp_path: Path) -> None:
    leaderboard = replace(Leaderboard.of(small_store(tmp_path)), results={})
    with pytest.raises(HarnessError, match="a number of a run that is not described"):
        share.make(leaderboard)


def test_an_empty_store_shares_nothing(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no results"):
        share.make(Leaderboard.of(Store(tmp_path / "store")))


@pytest.mark.process
def test_share_and_check_from_the_command_line(toy_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy_run(capsys, toy_world, "--missing", "0.5", "--mask-seeds", "2")
    store, file = str(toy_world / "store"), toy_world / "bundle.json"
    code, out, _ = invoke(capsys, "leaderboard", "--store", store, "--share", str(file))
    assert code == 0
    assert "no row of a study" in out
    text = file.read_text()
    assert not any(word in text for word in ("effusion", "indication", "test20", str(toy_world)))
    assert invoke(capsys, "share", str(file))[0] == 0
    file.write_text(text.replace('"echo"', f'"{SENTENCE}"', 1))
    code, _, err = invoke(capsys, "share", str(file))
    assert code == 2
    assert "refused" in err
    assert "heart" not in err


@pytest.mark.process
def test_study_ids_of_the_store_never_leave(toy_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy_run(capsys, toy_world)
    store = Store(toy_world / "store")
    assert {"test0", "test39"} <= set(share.study_ids(store))
    add(store, "test20", {"cider": 0.5})  # a method that is called like a study
    with pytest.raises(HarnessError, match="study ids would leave"):
        share.make(Leaderboard.of(store), store)
