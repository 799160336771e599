"""The rule labellers: mentions, negation, layout, and how they agree with CheXbert and the coders."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from harness.bench.labeler import agreement, beside_chexbert, failed_pairs, read_pairs
from harness.metrics.clinical import rule_labeler
from harness.metrics.clinical.chexpert_rules import ChexpertRulesF1, MeshRulesF1, labeler
from harness.metrics.clinical.labels import BLANK, LABELS, NEGATIVE, POSITIVE, UNCERTAIN
from harness.metrics.clinical.report_layout import plain
from harness.metrics.clinical.rule_labeler import expand, rules_digest
from tests.helpers.reports import findings, pairs


def labels(text: str) -> dict[str, int]:
    row = labeler().classes([text])[0]
    return {name: int(found) for name, found in zip(LABELS, row, strict=True) if found != BLANK}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (" \n", {}),
        ("The knee is normal.", {}),
        ("No acute findings.", {"No Finding": POSITIVE}),
        ("Normal.", {"No Finding": POSITIVE}),
        ("Small left pleural effusion.", {"Pleural Effusion": POSITIVE}),
        ("The heart is mildly enlarged.", {"Cardiomegaly": POSITIVE}),
        ("The heart size is normal.", {"Cardiomegaly": NEGATIVE, "No Finding": POSITIVE}),
        (
            "No pneumothorax or large pleural effusion.",
            {"Pneumothorax": NEGATIVE, "Pleural Effusion": NEGATIVE, "No Finding": POSITIVE},
        ),
        (
            "No pneumothorax. Small effusion.",
            {"Pneumothorax": NEGATIVE, "Pleural Effusion": POSITIVE},
        ),
        (
            "No pneumothorax but there is a small effusion.",
            {"Pneumothorax": NEGATIVE, "Pleural Effusion": POSITIVE},
        ),
        ("XXXX opacity may represent atelectasis.", {"Lung Opacity": POSITIVE, "Atelectasis": UNCERTAIN}),
        ("Pneumonia cannot be excluded.", {"Pneumonia": UNCERTAIN}),
        ("No change in the right pleural effusion.", {"Pleural Effusion": POSITIVE}),
        ("Pneumothorax is not seen.", {"Pneumothorax": NEGATIVE, "No Finding": POSITIVE}),
        ("History of pneumonia.", {"No Finding": POSITIVE}),
        ("Large hydropneumothorax.", {"Pneumothorax": POSITIVE, "Pleural Effusion": POSITIVE}),
        ("Pericardial effusion.", {}),
        ("No pericardial effusion.", {"No Finding": POSITIVE}),
        ("Clear lungs, calcified granuloma.", {"Lung Opacity": NEGATIVE}),
        ("Dual lumen catheter in place.", {"Support Devices": POSITIVE, "No Finding": POSITIVE}),
        ("Sternal wires. Clear lungs.", {"Lung Opacity": NEGATIVE, "No Finding": POSITIVE}),
        ("Vascular congestion.", {"Edema": POSITIVE}),
        ("Vascular congestion without edema.", {"Edema": NEGATIVE}),
        (
            "1. No edema 2. Left rib fracture",
            {"Edema": NEGATIVE, "Fracture": POSITIVE},
        ),
        ("Effusion.\n\nNo effusion.", {"Pleural Effusion": POSITIVE}),
        ("CARDIOMEGALY", {"Cardiomegaly": POSITIVE}),
    ],
)
def test_labels_of_a_sentence(text: str, expected: dict[str, int]) -> None:
    assert labels(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Cannot exclude pneumonia.",
        "Unable to exclude pneumonia.",
        "Can't exclude pneumonia.",
        "Cannot r/o pneumonia.",
        "Cannot rule out pneumonia.",
        "Pneumonia could not be excluded.",
        "Pneumonia cannot be entirely excluded.",
        "Pneumonia is not excluded.",
        "Pneumonia would be difficult to exclude.",
        "Pneumonia is unlikely but not excluded.",
        "Pneumonia can neither be confirmed nor excluded.",
        "Pneumonia: cannot be excluded",
    ],
)
def test_what_cannot_be_excluded_is_uncertain(text: str) -> None:
    assert labels(text) == {"Pneumonia": UNCERTAIN}


@pytest.mark.parametrize(
    "text",
    [
        "No effusion\nCardiomegaly",
        "- No pleural effusion\n- Mild cardiomegaly",
        "1.No effusion.2.Cardiomegaly.",
        "a) No effusion b) Cardiomegaly",
        "No effusion - cardiomegaly",
        "No effusion: cardiomegaly",
        "No effusion; cardiomegaly",
        "No effusion, the heart is enlarged",
        "No effusion and the heart is enlarged",
        "No effusion, cardiomegaly present",
        "no effusion.cardiomegaly present.",
        "No effusion<br>Cardiomegaly",
        "Effusion: No Cardiomegaly: Yes",
        "Effusion (-), cardiomegaly (+)",
        "Effusion=no\nCardiomegaly=yes",
        "| Finding | |\n|---|---|\n| Effusion | absent |\n| Cardiomegaly | present |",
        '{"Effusion": "No", "Cardiomegaly": "Yes"}',
        "[x] Cardiomegaly [ ] Effusion",
        "**Pleura:** w/o effusion.\n**Heart:** Enlarged.",
        "There is cardiomegaly and effusion is not seen.",
        "I don't see any effusion. The heart appears enlarged.",
    ],
)
def test_a_denial_ends_where_the_layout_ends_it(text: str) -> None:
    assert labels(text) == {"Cardiomegaly": POSITIVE, "Pleural Effusion": NEGATIVE}


@pytest.mark.parametrize(
    "text",
    [
        "No consolidation, effusion, or pneumothorax is seen.",
        "No consolidation, small effusion or pneumothorax.",
        "No consolidation or\neffusion or\npneumothorax.",
        "Consolidation: no. Effusion: none seen. Pneumothorax: (-)",
        "No consolidation, no effusion and no pneumothorax.",
    ],
)
def test_a_list_is_denied_as_a_whole(text: str) -> None:
    assert {LABELS[i] for i in np.flatnonzero(labeler().classes([text])[0] == NEGATIVE)} == {
        *("Consolidation", "Pleural Effusion", "Pneumothorax")
    }


def test_a_comma_between_adjectives_ends_no_denial() -> None:
    assert labels("No acute, displaced rib fractures are seen.") == {
        "Fracture": NEGATIVE,
        "No Finding": POSITIVE,
    }


def test_an_indication_states_nothing() -> None:
    text = "INDICATION: Pneumonia, effusion.\nFINDINGS: Cardiomegaly."
    assert labels(text) == {"Cardiomegaly": POSITIVE}
    assert labels("Pneumothorax: The lungs are expanded.") == {"No Finding": POSITIVE}


@pytest.mark.parametrize(
    "text",
    [
        *(
            f"no effusion{mark}mild edema"
            for mark in (";", "--", "<br>", "\\n", ".\\n", "\n", " -", " / ", " => ")
        ),
        "**No effusion** **Mild edema**",
        "a. No effusion b. Mild edema",
        "o No effusion\no Mild edema",
        "1.No effusion2.Mild edema",
        "\U0001f539 no effusion \U0001f539 mild edema",
        "\u0120No\u0120effusion.\u010aMild\u0120edema",
        "Effusion: \u2717\nEdema: \u2713",
        "Effusion [ ]\nEdema [x]",
        "Effusion: [ ] Yes [x] No\nEdema: [x] Yes [ ] No",
        "| Finding | Present | Absent |\n|---|---|---|\n| Effusion | | X |\n| Edema | X | |",
        "Effusion\tNo\nEdema\tYes",
        "Effusion,Edema\n0.0,1.0",
        "Effusion: 0.02, Edema: 0.97",
        "Effusion ..... No\nEdema ..... Yes",
        "No evidence of:\n- Effusion\n\nMild edema.",
        "**Absent**\n- Effusion\n\n**Present**\n- Edema",
        "FINDINGS: No effusion IMPRESSION: Mild edema",
        "There is no effusion but not without edema.",
        "No\u200beffusion. Ede\u200bma.",
    ],
)
def test_forms_and_marks_answer_for_one_finding_each(text: str) -> None:
    assert labels(text) == {"Pleural Effusion": NEGATIVE, "Edema": POSITIVE}


@pytest.mark.parametrize(
    "text", ["XXXX", "Two views.", "PA and lateral.", "Effusion: N/A", "Effusion: not assessed"]
)
def test_what_states_nothing_has_no_finding(text: str) -> None:
    assert not {name for name, found in labels(text).items() if name != "No Finding"}
    assert "Effusion" in text or labels(text) == {}


@pytest.mark.parametrize(
    "text",
    [
        "No definite exclusion of pneumonia is possible.",
        "Pneumonia cannot be discounted.",
        "Pneumonia remains a consideration.",
        "Pneumonia should be excluded clinically.",
        "?pneumonia",
        "Query pneumonia.",
        "Pneumonia?",
    ],
)
def test_doubts_are_uncertain(text: str) -> None:
    assert labels(text) == {"Pneumonia": UNCERTAIN}


def test_the_digest_covers_the_code_that_reads_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = rules_digest.__wrapped__
    before = digest(ChexpertRulesF1.table)
    monkeypatch.setattr(rule_labeler, "LAYOUT", rule_labeler.LAYOUT[:-1])
    assert digest(ChexpertRulesF1.table) != before


@pytest.mark.parametrize(
    ("odd", "usual"),
    [
        ("Pleural e\ufb00usion.", "Pleural effusion."),
        ("Pleural effu\u00adsion.", "Pleural effusion."),
        ("Pneumo\u200bthorax.", "Pneumothorax."),
        ("No\u00a0\uff25ffusion", "No Effusion"),
        ("Mass\u2011like density", "Mass-like density"),
        ("Pulmonary oedema.", "Pulmonary edema."),
        ("Pneumothorax is not visualised.", "Pneumothorax is not visualized."),
    ],
)
def test_spelling_changes_no_label(odd: str, usual: str) -> None:
    assert labels(odd) == labels(usual) != {}


def test_plain_text_keeps_numbers_that_mean_something() -> None:
    assert plain("1. A 5 mm nodule.\n2. XXX, 3 ribs") == "A 5 mm nodule. . xxxx, 3 ribs"
    assert plain("Measures 1.5 cm at T8. Stable.") == "Measures 1.5 cm at T8. Stable."


def test_plain_text_of_hostile_length_takes_no_time() -> None:
    started = time.process_time()
    for part in ("No effusion and ", "a ", "- ", "x:", "no effusion, ", "Effusion ", "the heart is, "):
        plain(part * 2000)
    assert time.process_time() - started < 10.0  # 1 s on an idle core


def test_expand_takes_every_wording() -> None:
    assert sorted(expand("$a b", {"a": ["", "x", "y z"]})) == ["b", "x b", "y z b"]
    with pytest.raises(KeyError):
        list(expand("$nothing", {}))


def test_mentions_say_why() -> None:
    assert labeler().mentions("No effusion. Cardiomegaly.") == [
        ("effusion", "Pleural Effusion", NEGATIVE),
        ("Cardiomegaly", "Cardiomegaly", POSITIVE),
    ]


def test_no_text_depends_on_its_neighbours() -> None:
    texts = list(findings(60))
    together = labeler().classes(texts)
    assert np.array_equal(labeler().classes(texts[::-1])[::-1], together)


def test_metric_scores_and_signs() -> None:
    metric = ChexpertRulesF1()
    assert metric.unavailable() is None
    texts = ["Cardiomegaly.", "Small effusion.", "No effusion."]
    totals = metric.statistics(*pairs(texts, texts)).sum(axis=0)
    assert metric.reduce(totals)["chexpert_rules_f1_micro_14"] == 1.0
    assert [output.name for output in metric.outputs] == list(metric.reduce(totals))
    assert ChexpertRulesF1("negative").signature != metric.signature


def test_mesh_rules_take_granulomas_and_clips_for_what_the_coders_do() -> None:
    metric = MeshRulesF1()
    classes = metric.classes(["Calcified granuloma. Surgical clips. Scoliosis.", ""])
    assert {LABELS[i] for i in np.flatnonzero(classes[0] == POSITIVE)} == {"Lung Lesion", "Support Devices"}
    assert not classes[1].any()
    assert metric.signature.startswith("mesh_rules_f1|")
    assert ChexpertRulesF1().signature.endswith("|v:2")


def test_an_empty_report_agrees_with_nothing() -> None:
    metric = ChexpertRulesF1()
    totals = metric.statistics(*pairs([""] * 10, ["Clear lungs."] * 8 + ["Effusion."] * 2)).sum(axis=0)
    assert metric.reduce(totals)["chexpert_rules_f1_micro_14"] == 0.0


def test_minimal_pairs_stay_right() -> None:
    pairs_of_ours = read_pairs()
    assert len(pairs_of_ours) >= 300
    assert len(set(pairs_of_ours)) == len(pairs_of_ours)
    wrong = failed_pairs()
    assert len(wrong) <= 0.02 * len(pairs_of_ours), wrong


def test_pairs_catch_a_labeler_that_ignores_denial() -> None:
    blind = failed_pairs(lambda texts: np.full((len(texts), len(LABELS)), POSITIVE, dtype=np.int8))
    assert len(blind) == len(read_pairs())


def test_as_many_positives_as_the_real_chexbert() -> None:
    for label, counts in beside_chexbert().items():
        assert counts.chexbert < 10 or abs(counts.rules - counts.chexbert) <= 0.2 * counts.chexbert, label


def test_agreement_with_the_human_codes_and_the_page_that_shows_it() -> None:
    rows = {str(row["label"]): row for row in agreement()}
    assert rows["micro"]["reports"] == 3955
    assert float(rows["micro"]["f1"]) > 0.93
    assert float(rows["macro"]["f1"]) > 0.84
    assert set(LABELS) < set(rows)
    ours = {str(row["label"]): row for row in agreement(table=ChexpertRulesF1.table)}
    counts = beside_chexbert()
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    for name, row in rows.items():
        cells = [str(number) for number in counts[name]] if name in counts else [""] * 4
        cells.append(f"{row['positives']:.0f}")
        for each in (ours[name], row):
            cells += ["" if name == "macro" else f"{each['found']:.0f}", f"{each['f1']:.3f}".lstrip("0")]
        assert [each[1:] for each in table if each[0] == name and len(each) == 10] == [cells], name


def test_a_thousand_reports_a_second() -> None:
    texts = findings(500)
    labeler().classes(texts[:5])
    started = time.process_time()
    labeler().classes(texts)
    assert time.process_time() - started < 1.0  # .25 s on an idle core; the margin is for a shared one
