"""CoDi XR at ``tiny``, trained on the phantoms: what a report says changes the image, measurably."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.core import registry
from harness.core.types import Prediction, Reference, Study
from harness.datasets.iu_phantom import IUPhantom
from harness.evaluation import synthesis
from harness.method.batching import collate
from harness.method.contract import FitRun
from methods.codi_xr.method import CoDiXR
from tests.helpers.phantom_measures import costophrenic_depth, heart_width

pytestmark = pytest.mark.slow

COUNT = 96
NORMAL = (
    "The lungs are clear. The mediastinum is unremarkable. Heart is normal in size. "
    "There is no pleural effusion or pneumothorax."
)
LARGE_HEART = (
    "The lungs are clear. The heart is enlarged. There is cardiomegaly. "
    "There is no pleural effusion or pneumothorax."
)
FLUID = (
    "There is a moderate left pleural effusion with blunting of the left costophrenic angle. "
    "The heart is normal in size."
)


@pytest.fixture(scope="module")
def phantoms() -> IUPhantom:
    return IUPhantom.open()


@pytest.fixture(scope="module")
def trained(phantoms: IUPhantom, tmp_path_factory: pytest.TempPathFactory) -> CoDiXR:
    method = CoDiXR.create(phantoms.info, preset="tiny")
    run = FitRun(Path(tmp_path_factory.mktemp("codi")), "cpu", 0)
    method.fit(phantoms.studies("train"), phantoms.studies("val"), run)
    return method


def frontal(method: CoDiXR, studies: Sequence[Study], report: str) -> list[np.ndarray[Any, Any]]:
    """A frontal view per study from a report alone; its noise is the study's, whatever the report."""
    bare = [
        Study(s.id, s.patient_id, s.split, {"lateral": s.images["lateral"]}, s.context, s.report)
        for s in studies
    ]
    inputs = collate(bare, method.info, reads=method.card.reads, dropped="lateral")
    told = synthesis.conditioned(inputs, ["frontal"], {s.id: report for s in bare}, 0, "full")
    return [one.images["frontal"] for one in method.synthesize(told, ["frontal"]) if one.images]


def test_reports_move_the_heart_and_the_costophrenic_angle(trained: CoDiXR, phantoms: IUPhantom) -> None:
    """Pairs that differ in the report alone, so that nothing else can be the reason."""
    studies = phantoms.studies("test")[:COUNT]
    normal, large, fluid = (frontal(trained, studies, text) for text in (NORMAL, LARGE_HEART, FLUID))
    wider = np.array([heart_width(b) - heart_width(a) for a, b in zip(normal, large, strict=True)])
    assert wider.mean() > 0.04
    assert (wider > 0).mean() > 0.9
    left, right = (
        np.array(
            [costophrenic_depth(b, s) - costophrenic_depth(a, s) for a, b in zip(normal, fluid, strict=True)]
        )
        for s in ("left", "right")
    )
    assert left.mean() < -0.006
    assert left.mean() < right.mean()
    assert left.mean() / (left.std() / COUNT**0.5) < -4


def test_latents_keep_what_reports_say(trained: CoDiXR, phantoms: IUPhantom) -> None:
    """An autoencoder whose latents say nothing writes one report for everybody (posterior collapse)."""
    reports = [study.report for study in phantoms.studies("test")[:COUNT]]
    words = trained.vocabularies.read.batch(reports, trained.config.report_words, framed=True)
    with torch.no_grad():
        latents = trained.network.report_autoencoder.encode(words)
        written, others = trained._write(latents), trained._write(latents.roll(1, 0))
    assert len(set(written)) > COUNT / 5
    scores = []
    for texts in (written, others):
        metric = registry.make_metric("cider")
        references = [Reference(str(i), str(i), report) for i, report in enumerate(reports)]
        rows = metric.statistics([Prediction(report=text) for text in texts], references)
        scores.append(float(metric.reduce(rows.sum(0))["cider"]))
    assert scores[0] > 2 * scores[1]
