"""Single studies with every method's stored answers: what is collected, and what the page does with it."""

from __future__ import annotations

import base64
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.types import Inputs
from harness.evaluation.cases import CaseOptions, collect, marked
from harness.evaluation.run import run_serially
from harness.leaderboard.render.cases import render
from harness.leaderboard.selection import current
from harness.method.attention import WordAttention
from harness.missingness.states import lost_by
from harness.store.store import Store
from tests.cli.test_cli import invoke
from tests.helpers.toys import Learner, Quiet, ToyData
from tests.leaderboard.test_html import Visit, browser  # noqa: F401


@pytest.fixture
def store(toy_world: Path) -> Store:
    settings = RunSettings.of(
        methods=("echo", "learner"),
        dataset="toy",
        missing=(0.5,),
        mask_seeds=2,
        metrics=("bleu",),
        store=toy_world / "store",
    )
    run_serially(settings, Quiet())
    return Store(settings.config.store)


def cases(store: Store, **options: Any) -> dict[str, Any]:
    return collect(store, current(store.stored()), CaseOptions(**options))


def test_words_that_the_reference_has_in_the_same_order_are_marked() -> None:
    assert marked("No effusion seen .", ["no", "large", "effusion", "."]) == [
        ("No effusion", True),
        ("seen", False),
        (".", True),
    ]
    assert marked("", ["no"]) == []


def test_every_row_and_state_of_the_chosen_studies(store: Store) -> None:
    content = cases(store, limit=5)
    assert [method["name"] for method in content["methods"]] == ["echo", "learner"]
    assert content["states"][0] == "full"
    assert len(content["cases"]) == 5
    truth = {study.id: study for study in ToyData().studies("test")}
    offered = frozenset(ToyData().info.modalities)
    for case in content["cases"]:
        study = truth[case["id"]]
        assert case["report"] == study.report
        assert set(case["images"]) == set(study.images)
        for state, lost in case["lost"].items():
            assert lost == sorted(lost_by(study.modalities, state, offered))
        for answers in case["answers"].values():
            assert all("report" in answer and "rouge_l" not in answer for answer in answers.values())
    scores = [case["answers"]["echo"]["full"]["scores"]["report"] for case in content["cases"]]
    assert scores == pytest.approx(sorted(scores))


def test_the_largest_loss_comes_first_and_studies_that_lose_nothing_are_left_out(store: Store) -> None:
    content = cases(store, without="context", limit=100)
    assert content["without"] == "context"
    losses = [
        case["answers"]["echo"]["context"]["scores"]["report"]
        - case["answers"]["echo"]["full"]["scores"]["report"]
        for case in content["cases"]
    ]
    assert losses == pytest.approx(sorted(losses), abs=2e-4)  # scores have four digits
    assert all(case["lost"]["context"] for case in content["cases"])


def test_studies_by_name_and_what_is_not_there(store: Store) -> None:
    ids = [study.id for study in ToyData().studies("test")][3:1:-1]
    assert [case["id"] for case in cases(store, ids=tuple(ids))["cases"]] == ids
    with pytest.raises(HarnessError, match="no test study nowhere"):
        cases(store, ids=("nowhere",))
    with pytest.raises(HarnessError, match="no stored predictions of ecko"):
        cases(store, methods=("ecko",))
    with pytest.raises(HarnessError, match="no predictions without liver"):
        cases(store, without="liver")
    with pytest.raises(HarnessError, match="no row dia to sort by"):
        cases(store, sort_by="dia")


def test_reports_of_patients_are_written_on_request_alone_and_for_the_user_alone(
    store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "cases.html"
    code, _, error = invoke(capsys, "cases", str(file), "--store", str(store.root))
    assert code == 2
    assert "--with-cases" in error
    assert not file.exists()
    code, output, _ = invoke(capsys, "cases", str(file), "--store", str(store.root), "--with-cases")
    assert code == 0
    assert "readable by you alone" in output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_each_study_shows_what_the_method_was_asked_with(store: Store) -> None:
    """In the state without both, a reader of the image alone was asked as in the state without the image."""
    settings = RunSettings.of(
        methods=("echo", "learner"),
        dataset="toy",
        missing=(0.5,),
        drop="subsets",
        mask_seeds=2,
        metrics=("bleu",),
        store=store.root,
    )
    run_serially(settings, Quiet())
    content = cases(store, limit=100)
    assert "frontal+context" in content["states"]
    learner = [case["answers"]["learner"] for case in content["cases"]]
    for case, answers in zip(content["cases"], learner, strict=True):
        same = "frontal" if "frontal" in case["lost"]["frontal+context"] else "full"
        assert answers["frontal+context"] == answers[same]
    assert all("context" not in each for each in learner), "it does not read the context"
    assert [method["unasked"] for method in content["methods"]] == [[], []]


@pytest.mark.parametrize("lost", ["checksum", "file"])
def test_a_row_without_its_predictions_is_named(
    store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path, lost: str
) -> None:
    cell = next(each.manifest.cell for each in store.stored() if each.rows[0].method == "echo")
    full = store.root / cell / "predictions" / "full.jsonl"
    (full if lost == "file" else full.with_name("full.jsonl.sha256.json")).unlink()
    file = tmp_path / "cases.html"
    code, _, error = invoke(capsys, "cases", str(file), "--store", str(store.root), "--with-cases")
    assert code == 1
    assert "left out: echo: its predictions are gone or not complete" in error
    assert '"learner"' in file.read_text()
    with pytest.raises(HarnessError, match="no stored predictions of echo"):
        cases(store, methods=("echo",))


def test_a_state_whose_predictions_are_gone_is_not_taken_for_one_that_the_method_does_not_read(
    store: Store,
) -> None:
    cell = next(each.manifest.cell for each in store.stored() if each.rows[0].method == "learner")
    (store.root / cell / "predictions" / "frontal.jsonl").unlink()
    content = cases(store, limit=3)
    assert [method["unasked"] for method in content["methods"]] == [[], ["frontal"]]
    assert "never asked without it" in render(content)
    with pytest.raises(HarnessError, match="learner was never asked without frontal"):
        cases(store, without="frontal", sort_by="learner")


def test_text_of_a_report_is_no_markup(store: Store) -> None:
    content = cases(store, limit=1)
    content["cases"][0]["report"] = "</script><script>document.title=1</script>"
    page = render(content)
    assert page.count("</script>") == 2
    assert "\\u003c/script" in page


def attention_maps(self: Learner, inputs: Inputs, reports: Sequence[str]) -> list[WordAttention]:
    """Each word looks at the next of four places of the frontal view."""
    answers = []
    for there, report in zip(inputs.present["frontal"].tolist(), reports, strict=True):
        words = tuple(report.split())
        weights = np.zeros((len(words), 1, 2, 2), np.float32)
        for number in range(len(words)):
            weights[number].flat[number % 4] = there
        answers.append(WordAttention(words, weights))
    return answers


def test_where_words_look_stands_beside_the_report_and_is_drawn(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    browser: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    assert "attention" not in cases(store, limit=1)["cases"][0]["answers"]["learner"]["full"]
    monkeypatch.setattr(Learner, "has_attention", True)
    monkeypatch.setattr(Learner, "attention_maps", attention_maps)
    content = cases(store, limit=2, attention=True)
    for case in content["cases"]:
        assert "attention" not in case["answers"]["echo"]["full"]
        answer = case["answers"]["learner"]["full"]
        drawn = answer["attention"]
        assert drawn["words"] == answer["text"].split()
        assert drawn["shape"] == [1, 2, 2]
        levels = np.frombuffer(base64.b64decode(drawn["weights"]), np.uint8).reshape(-1, 4)
        assert [int(row.argmax()) for row in levels] == [n % 4 for n in range(len(levels))]
        assert set(levels.max(1).tolist()) == {255}
        assert drawn["peaks"] == [1.0] * len(levels)
    file = tmp_path / "cases.html"
    file.write_text(render(content), encoding="utf-8")
    visit = Visit(browser, file, 1280)
    page = visit.page
    pixels = "node => [...node.getContext('2d').getImageData(0, 0, 2, 2).data].filter((_, i) => i % 4 == 3)"
    canvas = page.locator(".attention canvas").first
    page.locator(".attention button").first.hover()
    assert canvas.evaluate(pixels) == [190, 0, 0, 0]
    assert "100 % of the word's attention" in page.locator(".attention figcaption").first.inner_text()
    page.locator("h1").hover()
    assert "all words' attention" in page.locator(".attention figcaption").first.inner_text()
    assert visit.errors == []
    page.close()


def test_the_reader_switches_states_orders_and_methods(
    store: Store,
    browser: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    file = tmp_path / "cases.html"
    file.write_text(render(cases(store, limit=6)), encoding="utf-8")
    for width in (1280, 390):
        visit = Visit(browser, file, width)
        page = visit.page
        assert page.locator("article").count() == 6
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_label("Missing").select_option("context")
        assert page.locator(".lost-text").count() > 0
        page.get_by_label("Order").select_option(label="lowest score of echo")
        lines = page.locator(".answer:has(h3:text-is('echo')) .score").all_inner_texts()
        scores = [float(re.findall(r"rouge_l ([\d.]+)", line)[0]) for line in lines]
        assert scores == sorted(scores)
        page.get_by_label("learner", exact=True).uncheck()
        assert page.locator("h3:text-is('learner')").count() == 0
        first = page.locator("article h2").first.inner_text()
        page.get_by_label("Find studies").fill(first)
        assert first in page.locator("article h2").all_inner_texts()
        assert visit.errors == []
        assert visit.requests == [file.as_uri()]
        page.close()
