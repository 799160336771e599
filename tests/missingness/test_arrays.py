"""Masks of a user's own arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.missingness import Missingness, draw_masks

MODALITIES = ("image", "text", "lab")
RATES = (0.2, 0.6, 1.0)


def missingness(policy: str = "any", mechanism: str = "mcar") -> Missingness:
    return Missingness(policy, mechanism, RATES, range(3))


@pytest.fixture
def present() -> np.ndarray:
    rng = np.random.default_rng(0)
    has = rng.random((50, 3)) < 0.8
    has[~has.any(axis=1), 0] = True
    return has


def test_masks_take_the_asked_share_and_leave_no_sample_empty(present: np.ndarray) -> None:
    masks = draw_masks(present, MODALITIES, missingness())
    several = present.sum(axis=1) > 1
    for rate in RATES:
        left = masks.left(rate, seed=1)
        assert not (left & ~present).any()
        assert left.any(axis=1).all()
        losing = (left != present).any(axis=1)
        assert losing.sum() == min(round(rate * len(present)), several.sum())


def test_masks_are_nested_and_follow_names_instead_of_positions(present: np.ndarray) -> None:
    ids = [f"p{index}" for index in range(len(present))]
    masks = draw_masks(present, MODALITIES, missingness(), ids=ids)
    assert not (masks.left(0.6) & ~masks.left(0.2)).any()
    order = np.random.default_rng(1).permutation(len(ids))
    moved = draw_masks(present[order], MODALITIES, missingness(), ids=[ids[index] for index in order])
    np.testing.assert_array_equal(moved.left(0.6), masks.left(0.6)[order])


def test_states_take_a_set_from_all_samples(present: np.ndarray) -> None:
    masks = draw_masks(present, MODALITIES, missingness())
    left = masks.in_state("text+lab")
    image = present[:, 0]
    np.testing.assert_array_equal(left[image], np.array([True, False, False]) & present[image])
    np.testing.assert_array_equal(left[~image], present[~image])  # they would be left with nothing
    with pytest.raises(HarnessError, match="no modality 'sound'"):
        masks.in_state("sound")


def test_mechanisms_look_at_attributes_and_labels(present: np.ndarray) -> None:
    age = np.arange(len(present), dtype=float)
    masks = draw_masks(present, MODALITIES, missingness("text", "mar:age"), attributes={"age": age})
    lost = present[:, 1] & ~masks.left(0.2)[:, 1]
    assert age[lost].mean() > age[present[:, 1]].mean()
    labels = np.stack([age > 40, age > 20], axis=1)
    masks = draw_masks(present, MODALITIES, missingness("text", "mnar"), labels=labels)
    assert masks.plan.mechanism.startswith("mnar")


@pytest.mark.parametrize(
    ("has", "says"),
    [
        (np.ones(4), "expected True or False"),
        (np.ones((4, 2)), "expected True or False"),
        (np.full((4, 3), 0.5), "expected True or False"),
        (np.array([[1, 1, 1], [0, 0, 0]]), "no modality, the first is number 1"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(has: np.ndarray, says: str) -> None:
    with pytest.raises(HarnessError) as caught:
        draw_masks(has, MODALITIES, missingness())
    assert says in f"{caught.value} {caught.value.hint}"


def test_an_unknown_rate_is_named(present: np.ndarray) -> None:
    masks = draw_masks(present, MODALITIES, missingness())
    with pytest.raises(HarnessError, match="no masks of rate"):
        masks.left(0.5)


def test_tables_whose_names_say_another_order_are_refused() -> None:
    ids = [f"s{index}" for index in range(6)]
    table = pd.DataFrame(np.ones((6, 2), dtype=bool), columns=["a", "b"], index=ids)
    ages = pd.Series(range(6), index=ids)
    assert draw_masks(table, ["a", "b"], missingness(), ids=ids, attributes={"age": ages})
    with pytest.raises(HarnessError, match="the columns of present are not the modalities"):
        draw_masks(table[["b", "a"]], ["a", "b"], missingness(), ids=ids)
    for wrong in ({"labels": table.iloc[::-1].astype(float)}, {"attributes": {"age": ages.iloc[::-1]}}):
        with pytest.raises(HarnessError, match="in another order than ids"):
            draw_masks(table, ["a", "b"], missingness(), ids=ids, **wrong)  # type: ignore[arg-type]
    with pytest.raises(HarnessError, match="attributes are a list"):
        draw_masks(table, ["a", "b"], missingness(), attributes=[{"age": 1}])  # type: ignore[arg-type]
    with pytest.raises(HarnessError, match="a name twice"):
        draw_masks(table, ["a", "a"], missingness())
