"""Agreement of modalities that were generated together, against one by one."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.core.types import JointPrediction, Prediction, Reference
from harness.metrics.images.agreement import JointAgreement, ReportAgreement, ViewAgreement

N, SIDE = 60, 16
FINDINGS = ("cardiomegaly", "effusion", "nodule", "edema", "fracture", "normal")


def patterns() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(2, len(FINDINGS), SIDE, SIDE))


def study(finding: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Both views of a finding, each with a pattern of its own, and noise."""
    return {
        view: np.clip(128 + 40 * pattern[finding] + rng.normal(0, 5, (SIDE, SIDE)), 0, 255).astype(np.uint8)
        for view, pattern in zip(("frontal", "lateral"), patterns(), strict=True)
    }


def cases(partner: str) -> tuple[list[JointPrediction], list[Reference]]:
    """What is generated together is of one finding; one by one, the ``partner`` is of another one."""
    rng = np.random.default_rng(0)
    predictions, references = [], []
    for row in range(N):
        finding, other = rng.choice(len(FINDINGS), 2, replace=False)
        text = f"there is {FINDINGS[finding]} . no change of {FINDINGS[finding]} ."
        references.append(Reference(f"s{row}", f"p{row}", text, images=study(finding, rng)))
        drawn, elsewhere = study(finding, rng), study(other, rng)
        apart = {
            "lateral": Prediction(text, images=drawn | {"lateral": elsewhere["lateral"]}),
            "report": Prediction(
                f"there is {FINDINGS[other]} . no change of {FINDINGS[other]} .", images=drawn
            ),
            "": Prediction(text, images=drawn),
        }[partner]
        predictions.append(JointPrediction(text, images=drawn, apart=apart))
    return predictions, references


def values(metric: JointAgreement, partner: str) -> dict[str, float]:
    statistics = metric.statistics(*cases(partner))
    assert statistics.shape == (N, 4)
    return {
        name.rpartition("_")[2]: float(value[0])
        for name, value in metric.values(statistics, np.ones((1, N))).items()
    }


@pytest.mark.parametrize(
    ("metric", "partner"),
    [(ViewAgreement(), "lateral"), (ReportAgreement(), "report")],
    ids=["views", "report"],
)
def test_what_was_generated_together_agrees_and_what_was_not_does_not(
    metric: JointAgreement, partner: str
) -> None:
    found = values(metric, partner)
    assert found["joint"] == pytest.approx(found["real"], abs=0.1)
    assert found["joint"] > 0.3
    assert found["apart"] < 0.1
    assert found["gain"] == pytest.approx(found["joint"] - found["apart"])


@pytest.mark.parametrize("metric", [ViewAgreement(), ReportAgreement()], ids=["views", "report"])
def test_branches_that_exchange_nothing_gain_nothing(metric: JointAgreement) -> None:
    statistics = metric.statistics(*cases(""))
    weights = np.random.default_rng(0).multinomial(N, [1 / N] * N, size=20).astype(float)
    assert not metric.values(statistics, weights)[f"{metric.name}_gain"].any()


def test_studies_without_a_real_pair_are_left_out() -> None:
    predictions, references = cases("lateral")
    alone = Reference("x", "x", "text", images={"frontal": references[0].images["frontal"]})  # type: ignore[index]
    statistics = ViewAgreement().statistics([*predictions, predictions[0]], [*references, alone])
    assert not statistics[-1].any()
    assert np.array_equal(statistics[:-1], ViewAgreement().statistics(predictions, references))


def test_a_prediction_that_was_generated_once_is_refused() -> None:
    predictions, references = cases("lateral")
    plain = [Prediction(each.report, images=each.images) for each in predictions]
    with pytest.raises(HarnessError, match=r"study 's0' has no frontal and lateral"):
        ViewAgreement().statistics(plain, references)
