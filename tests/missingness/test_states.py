"""States are sets of missing modalities; a run plans several drop policies over them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.errors import HarnessError, UnknownNameError
from harness.missingness.policy import DropPolicy, check_policy, policies_of
from harness.missingness.states import FULL, lost_by, missing_in, ordered, state_of, subsets

MODALITIES = ("frontal", "lateral", "context")
modalities = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5, unique=True)


@settings(deadline=None)
@given(modalities, st.data())
def test_a_state_is_named_in_the_order_of_the_dataset(names: list[str], data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.sampled_from(names)))
    assert missing_in(state_of(lost, names)) == lost
    assert state_of(missing_in(state_of(lost, names)), names) == state_of(lost, names)


@settings(deadline=None)
@given(modalities)
def test_every_subset_but_none_and_all_is_a_state(names: list[str]) -> None:
    states = subsets(names)
    assert len(set(states)) == len(states) == 2 ** len(names) - 2
    assert state_of(names, names) not in states
    assert ordered(states, names) == (FULL, *states)


@settings(deadline=None)
@given(st.sets(st.sampled_from(MODALITIES), min_size=1), st.sampled_from(subsets(MODALITIES)))
def test_no_study_is_emptied(present: set[str], state: str) -> None:
    lost = lost_by(frozenset(present), state, frozenset(MODALITIES))
    assert lost <= present
    assert present - lost
    left = present - missing_in(state)
    assert lost == (present & missing_in(state) if left else frozenset())


def test_too_many_modalities_have_too_many_states() -> None:
    with pytest.raises(HarnessError, match="6 modalities have 63 states"):
        subsets("abcdef")


RATES = (0.0, 0.2, 0.4)


def test_every_is_each_loss_by_all_studies_and_the_curves_that_the_dataset_has() -> None:
    assert policies_of("every", RATES, MODALITIES) == {
        "context": (0.0, 0.2, 0.4, 1.0),
        "alternate": RATES,
        "any": RATES,
        "lateral": (0.0, 1.0),
        "frontal": (0.0, 1.0),
    }
    assert policies_of("every", (0.0,), MODALITIES) == dict.fromkeys(reversed(MODALITIES), (0.0, 1.0))
    assert list(policies_of("every", RATES, MODALITIES[:2])) == ["alternate", "any", "lateral", "frontal"]
    assert list(policies_of("every", RATES, MODALITIES[1:])) == ["context", "any", "lateral"]
    assert policies_of("every", (0.0,), ("image",)) == {"any": (0.0,)}


def test_all_states_add_the_loss_of_several_modalities_at_once() -> None:
    planned = policies_of("every", (0.0,), MODALITIES, every_subset=True)
    assert set(planned) == set(subsets(MODALITIES))
    assert set(planned.values()) == {(0.0, 1.0)}
    assert policies_of("every", RATES, MODALITIES, every_subset=True)["subsets"] == RATES


def test_a_rate_per_modality_is_one_pattern_in_the_place_of_all_curves() -> None:
    rates = {"context": 0.6, "frontal": 0.2}
    assert policies_of("subsets", rates, MODALITIES) == {"frontal=0.2+context=0.6": (0.0, 1.0)}
    planned = policies_of("every", rates, MODALITIES)
    assert list(planned) == ["frontal=0.2+context=0.6", "context", "lateral", "frontal"]
    assert policies_of("frontal=0.2+context=0.6", RATES, MODALITIES) == {"frontal=0.2+context=0.6": RATES}
    assert DropPolicy.of("frontal=0.2+context=0", MODALITIES).states == ("full", "frontal")


@pytest.mark.parametrize(
    ("drop", "rates", "message"),
    [
        ("any", {"context": 0.6}, "--drop any with a missing rate per modality"),
        ("subsets", {"xray": 0.6}, "--missing xray=0.6: the dataset has frontal, lateral, context"),
        ("subsets", {"context": 1.5}, "--missing context=1.5: a missing rate lies between 0 and 1"),
        ("context=0.6+frontal=0.2", RATES, r"write frontal=0.2\+context=0.6"),
        ("context=much", RATES, "--drop context=much: no pattern"),
    ],
)
def test_patterns_that_make_no_sense_are_refused(drop: str, rates: Any, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        policies_of(drop, rates, MODALITIES)


def test_policies_are_joined_by_commas() -> None:
    assert policies_of("context, any", RATES, MODALITIES) == {"context": RATES, "any": RATES}
    assert policies_of("frontal+context", RATES, MODALITIES) == {"frontal+context": RATES}


@pytest.mark.parametrize(
    ("drop", "subsets_too", "message"),
    [
        ("context,anny", False, "--drop anny: no such policy"),
        ("context", True, "--states all with --drop context"),
        ("every,any", False, "--drop every,any: every has the other policies in it"),
        ("context+frontal", False, r"write frontal\+context"),
        ("frontal+xray", False, r"--drop frontal\+xray: no such policy"),
    ],
)
def test_policies_that_make_no_sense_are_refused(drop: str, subsets_too: bool, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        policies_of(drop, RATES, MODALITIES, every_subset=subsets_too)


def test_a_modality_with_the_name_of_a_state_is_refused() -> None:
    for name in ("full", "a+b"):
        with pytest.raises(HarnessError, match="rename it"):
            check_policy("any", ("image", name))
    with pytest.raises(UnknownNameError):
        check_policy("sonar", MODALITIES)
