"""The rule labeller: mentions, negation, uncertainty, and its agreement with the human codes."""

from __future__ import annotations

import time

import numpy as np
import pytest

from harness.bench.labeler import agreement
from harness.metrics.clinical.chexpert_rules import ChexpertRulesF1, expand, labeler, plain
from harness.metrics.clinical.labels import BLANK, LABELS, NEGATIVE, POSITIVE, UNCERTAIN
from tests.helpers.reports import findings, pairs


def labels(text: str) -> dict[str, int]:
    row = labeler().classes([text])[0]
    return {name: int(found) for name, found in zip(LABELS, row, strict=True) if found != BLANK}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"No Finding": POSITIVE}),
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
        ("Pericardial effusion.", {"No Finding": POSITIVE}),
        ("Dual lumen catheter in place.", {"Support Devices": POSITIVE, "No Finding": POSITIVE}),
        ("Sternotomy XXXX are intact.", {"Support Devices": POSITIVE, "No Finding": POSITIVE}),
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


def test_plain_text_keeps_numbers_that_mean_something() -> None:
    assert plain("1. A 5 mm nodule.\n2. XXX, 3 ribs") == ". A 5 mm nodule. . xxxx, 3 ribs"


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


def test_agreement_with_the_human_codes() -> None:
    rows = {row["label"]: row for row in agreement()}
    assert rows["micro"]["reports"] == 3955
    assert float(rows["micro"]["f1"]) > 0.92
    assert float(rows["macro"]["f1"]) > 0.84
    assert set(LABELS) < set(rows)


def test_a_thousand_reports_a_second() -> None:
    texts = findings(500)
    labeler().classes(texts[:5])
    started = time.process_time()
    labeler().classes(texts)
    assert time.process_time() - started < 1.0  # .25 s on an idle core; the margin is for a shared one
