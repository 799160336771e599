"""Masks: nested, seeded, independent of order, never emptying a study."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.errors import CorruptFileError, HarnessError, UnknownNameError
from harness.missingness.mechanisms import Observed, Population
from harness.missingness.plan import MaskPlan, Missingness, draw_plan
from harness.missingness.policy import DropPolicy, main_policy
from harness.missingness.states import FULL, missing_in, subsets

MODALITIES = ("frontal", "lateral", "context")
POLICIES = ("context", "frontal", "lateral", "alternate", "any", "frontal+lateral", "lateral+context")
RATES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
own = st.sets(st.sampled_from(MODALITIES), min_size=1).map(frozenset)
populations = st.lists(own, min_size=1, max_size=40)


def ids_of(studies: list[frozenset[str]]) -> list[str]:
    return [f"study-{index}" for index in range(len(studies))]


def population_of(studies: list[frozenset[str]]) -> Population:
    return Population.of(ids_of(studies), studies)


def made(studies: list[frozenset[str]], policy: str, seeds: tuple[int, ...] = (0, 1, 2)) -> MaskPlan:
    return draw_plan(population_of(studies), MODALITIES, Missingness(policy, "mcar", RATES, seeds))


def complete(count: int) -> list[frozenset[str]]:
    return [frozenset(MODALITIES)] * count


@given(populations, st.sampled_from(POLICIES))
@settings(deadline=None)
def test_no_study_is_emptied_and_none_loses_what_it_lacks(studies: list[frozenset[str]], policy: str) -> None:
    masks = made(studies, policy)
    assert masks.assignment.shape == (3, len(RATES), len(studies))
    assert masks.assignment.dtype == np.int8
    for seed in range(3):
        for rate in range(len(RATES)):
            for kept, state in zip(studies, masks.state_names(seed, rate), strict=True):
                lost = missing_in(state)
                assert state == FULL or (lost & kept and kept - lost)


@given(populations, st.sampled_from(POLICIES))
@settings(deadline=None)
def test_masks_are_nested_and_hit_the_rate_up_to_eligibility(
    studies: list[frozenset[str]], policy: str
) -> None:
    masks = made(studies, policy)
    for low, high in zip(range(len(RATES)), range(1, len(RATES)), strict=False):
        before, after = masks.assignment[:, low], masks.assignment[:, high]
        assert (after[before != 0] == before[before != 0]).all()
    targets = DropPolicy.of(policy, MODALITIES).targets
    losses = [missing_in(target) for target in targets]
    eligible = sum(any(kept & lost and kept - lost for lost in losses) for kept in studies)
    expected = [min(round(rate * len(studies)), eligible) for rate in RATES]
    assert ((masks.assignment != 0).sum(axis=2) == expected).all()
    assert masks.achieved() == pytest.approx(np.array(expected) / len(studies))


@given(populations, st.sampled_from(POLICIES), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_masks_do_not_depend_on_the_order_of_studies(studies, policy, random) -> None:  # type: ignore[no-untyped-def]
    straight = made(studies, policy)
    order = random.sample(range(len(studies)), len(studies))
    ids = ids_of(studies)
    population = Population.of([ids[i] for i in order], [studies[i] for i in order])
    shuffled = draw_plan(population, MODALITIES, Missingness(policy, "mcar", RATES, (0, 1, 2)))
    assert (shuffled.assignment == straight.assignment[:, :, order]).all()


def test_masks_depend_on_the_seed_and_on_nothing_else() -> None:
    studies = complete(100)
    first = made(studies, "any", seeds=(0, 1))
    again = made(studies, "any", seeds=(1, 7, 0))
    assert (first.assignment[0] == again.assignment[2]).all()
    assert (first.assignment[1] == again.assignment[0]).all()
    assert (first.assignment[0] != first.assignment[1]).any()
    one_rate = draw_plan(population_of(studies), MODALITIES, Missingness("any", "mcar", (0.4,), (0,)))
    assert (one_rate.assignment[:, 0] == first.assignment[:1, RATES.index(0.4)]).all()


def test_rate_zero_is_all_full_and_states_start_with_full() -> None:
    masks = made(complete(20), "any")
    assert masks.states == ("full", "frontal", "lateral", "context")
    assert not masks.assignment[:, 0].any()
    assert set(masks.used_states()) == set(masks.states)
    assert made(complete(20), "context").states == ("full", "context")
    assert made(complete(20), "alternate").states == ("full", "frontal", "lateral")


def test_without_a_rate_above_zero_a_dataset_need_not_support_the_policy() -> None:
    masks = draw_plan(
        population_of([frozenset({"frontal"})] * 3),
        ("frontal",),
        Missingness("context", "mcar", (0.0,), (0,)),
    )
    assert masks.states == ("full",)
    assert not masks.assignment.any()


def test_alternate_takes_turns_and_any_is_uniform() -> None:
    studies = complete(300)
    turns = made(studies, "alternate").assignment[:, RATES.index(0.8)]
    assert ((turns == 1).sum(axis=1) == 120).all()
    assert ((turns == 2).sum(axis=1) == 120).all()
    drawn = made(studies, "any", seeds=tuple(range(50))).assignment[:, -1]
    shares = [float(np.mean(drawn == state)) for state in (1, 2, 3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.02)


def test_alternate_gives_a_study_with_one_view_the_turn_it_can_take() -> None:
    masks = made([frozenset({"frontal", "context"})] * 10, "alternate")
    assert (masks.assignment[:, -1] == 1).all()


INDEPENDENT = ("subsets", "frontal=0.3+context=0.9", "lateral=0.5", "frontal=1+lateral=1")


def lost_instances(masks: MaskPlan, studies: list[frozenset[str]], column: int) -> np.ndarray:
    """(S, n, M): the study has the modality and loses it."""
    names = [[missing_in(state) for state in masks.state_names(seed, column)] for seed in range(3)]
    return np.array(
        [
            [[m in lost and m in own for m in MODALITIES] for lost, own in zip(row, studies, strict=True)]
            for row in names
        ]
    )


@given(populations, st.sampled_from(INDEPENDENT))
@settings(deadline=None)
def test_modalities_that_are_lost_for_themselves_are_nested_and_leave_something(
    studies: list[frozenset[str]], policy: str
) -> None:
    masks = made(studies, policy)
    before = lost_instances(masks, studies, 0)
    assert not before.any()
    for column in range(1, len(RATES)):
        after = lost_instances(masks, studies, column)
        assert (after >= before).all()
        left = np.array([[m in own for m in MODALITIES] for own in studies]) & ~after
        assert left.any(axis=2).all()
        for seed in range(3):  # what a study lacks is no part of its state
            for own, state in zip(studies, masks.state_names(seed, column), strict=True):
                assert missing_in(state) <= own
        before = after


@given(populations, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_losses_of_several_modalities_do_not_depend_on_the_order_of_studies(studies, random) -> None:  # type: ignore[no-untyped-def]
    straight = made(studies, "subsets")
    order = random.sample(range(len(studies)), len(studies))
    ids = ids_of(studies)
    population = Population.of([ids[i] for i in order], [studies[i] for i in order])
    shuffled = draw_plan(population, MODALITIES, Missingness("subsets", "mcar", RATES, (0, 1, 2)))
    assert (shuffled.assignment == straight.assignment[:, :, order]).all()


def test_each_modality_is_lost_at_its_own_rate_independently_of_the_others() -> None:
    studies = complete(1000)
    masks = made(studies, "frontal=0.2+context=0.6")
    lost = lost_instances(masks, studies, -1)
    assert (lost[..., 0].sum(axis=1) == 200).all()
    assert not lost[..., 1].any()
    assert (lost[..., 2].sum(axis=1) == 600).all()
    both = (lost[..., 0] & lost[..., 2]).sum(axis=1) / 1000
    assert both == pytest.approx([0.12] * 3, abs=0.03)
    half = lost_instances(masks, studies, RATES.index(0.4))
    assert (half[..., 2].sum(axis=1) == 240).all()


def test_subsets_reach_every_state_and_leave_one_modality_at_rate_one() -> None:
    masks = made(complete(300), "subsets")
    assert set(masks.used_states()) == set(masks.states) == {"full", *subsets(MODALITIES)}
    assert {len(missing_in(state)) for state in masks.state_names(0, -1)} == {2}
    shares = [
        np.mean(["context" in missing_in(state) for state in masks.state_names(seed, RATES.index(0.4))])
        for seed in range(3)
    ]
    assert shares == pytest.approx([0.4] * 3, abs=0.03)


def test_which_study_loses_first_is_uniform_over_seeds() -> None:
    masks = draw_plan(
        population_of(complete(10)), MODALITIES, Missingness("context", "mcar", (0.1,), range(3000))
    )
    counts = (masks.assignment[:, 0] != 0).sum(axis=0)
    assert counts.sum() == 3000
    assert counts.min() > 240
    assert counts.max() < 360


def test_a_plan_survives_json() -> None:
    masks = made(complete(30), "any")
    back = MaskPlan.from_json(json.loads(json.dumps(masks.to_json())))
    assert (back.assignment == masks.assignment).all()
    assert back.assignment.dtype == np.int8
    assert back.to_json() == masks.to_json()
    assert (back.states, back.ids, back.rates) == (masks.states, masks.ids, masks.rates)


@pytest.mark.parametrize(
    "change", [{"masks": [["01"]]}, {"states": ["full"]}, {"ids": None}, {"rates": ["x"]}]
)
def test_a_damaged_plan_is_refused(change: dict[str, object]) -> None:
    value = made(complete(8), "context").to_json() | change
    with pytest.raises(CorruptFileError, match="not a mask plan"):
        MaskPlan.from_json(value)


def test_errors_name_the_flag() -> None:
    def build(policy: str = "any", mechanism: str = "mcar", rate: float = 0.2, having=MODALITIES) -> MaskPlan:  # type: ignore[no-untyped-def]
        return draw_plan(population_of(complete(3)), having, Missingness(policy, mechanism, (rate,), (0,)))

    with pytest.raises(UnknownNameError, match=r"--drop contxt.*did you mean context"):
        build("contxt")
    with pytest.raises(HarnessError, match=r"--drop context: the dataset has no clinical context"):
        build("context", having=("frontal", "lateral"))
    with pytest.raises(UnknownNameError, match=r"--drop lateral: .*allows frontal, context, alternate, any"):
        build("lateral", having=("frontal", "context"))
    with pytest.raises(HarnessError, match="--drop alternate needs two image modalities"):
        build("alternate", having=("frontal", "context"))
    with pytest.raises(HarnessError, match=r"--drop any: the dataset has one modality"):
        build("any", having=("frontal",))
    with pytest.raises(UnknownNameError, match=r"--mechanism mcra.*available: mcar, mar:ATTRIBUTE"):
        build(mechanism="mcra")
    for rate in (-0.1, 1.1, float("nan"), float("inf")):
        with pytest.raises(HarnessError, match=r"--missing .*between 0 and 1"):
            build(rate=rate)
    with pytest.raises(HarnessError, match="'a' occurs more than once"):
        Population.of(["a", "a"], complete(2))


AGES = [20.0 + index for index in range(200)]
LABELS = np.array([[index % 3 == 0, index % 2, index % 5 == 0] for index in range(200)], dtype=np.float64)


CONTENT = {
    "frontal": np.arange(200.0),
    "lateral": np.ones(200),
    "context": np.random.default_rng(5).permutation(200).astype(float),
}


def observed(order: list[int] | None = None, multilabel: bool = True) -> Observed:
    order = list(range(200)) if order is None else order
    attributes = tuple(
        {
            "age": AGES[index] if index % 10 else None,
            "sex": "female" if index % 2 else "male",
            "view_position": "AP",
        }
        for index in order
    )
    names = ("No Finding", "Edema", "Fracture")
    return Observed(attributes, LABELS[order], names, multilabel, lambda name: CONTENT[name][order])


def drawn(mechanism: str, rates: tuple[float, ...] = (0.3,), seeds: int = 40, **rest: object) -> MaskPlan:
    facts = rest.pop("known", observed())
    ids = rest.pop("ids", ids_of(complete(200)))
    policy = str(rest.pop("policy", "frontal"))
    population = Population.of(ids, complete(200), facts)
    return draw_plan(population, MODALITIES, Missingness(policy, mechanism, rates, range(seeds)))


def share(masks: MaskPlan, group: np.ndarray) -> float:
    """Mean share of a group of studies that loses something at the first rate."""
    return float((masks.assignment[:, 0] != 0)[:, group].mean())


def test_mar_drops_more_where_the_attribute_is_high_and_the_rate_is_kept() -> None:
    old = np.array([age > 150 for age in AGES])
    young = np.array([age < 90 for age in AGES])
    masks = drawn("mar:age")
    assert share(masks, old) > 2 * share(masks, young)
    assert masks.achieved() == pytest.approx([0.3])
    reverse = drawn("mar:-age")
    assert share(reverse, young) > 2 * share(reverse, old)
    assert (masks.mechanism, reverse.mechanism) == ("mar:age", "mar:-age")
    assert share(drawn("mcar"), old) == pytest.approx(0.3, abs=0.03)


def test_mar_ranks_categories_by_name_and_leaves_the_unknown_in_the_middle() -> None:
    male = np.arange(200) % 2 == 0
    masks = drawn("mar:sex")
    assert share(masks, male) > 2.5 * share(masks, ~male)
    unknown = np.arange(200) % 10 == 0
    assert share(drawn("mar:age", seeds=200), unknown) == pytest.approx(0.3, abs=0.06)


def test_mnar_depends_on_number_presence_or_one_finding() -> None:
    load = LABELS[:, 1:].sum(1)
    by_number = drawn("mnar")
    assert share(by_number, load == 2) > share(by_number, load == 1) > share(by_number, load == 0)
    assert share(drawn("mnar:any"), load > 0) > 1.8 * share(drawn("mnar:any"), load == 0)
    edema = drawn("mnar:edema")
    assert edema.mechanism == "mnar:Edema"
    assert share(edema, LABELS[:, 1] > 0) > 2.5 * share(edema, LABELS[:, 1] == 0)


def test_self_masked_loss_depends_on_the_content_that_is_lost() -> None:
    bright, wordy = (CONTENT[name] > 150 for name in ("frontal", "context"))
    masks = drawn("self-masked")
    assert share(masks, bright) > 2 * share(masks, CONTENT["frontal"] < 50)
    assert share(masks, wordy) == pytest.approx(0.3, abs=0.06)
    dark = drawn("self-masked:-")
    assert (masks.mechanism, dark.mechanism) == ("self-masked", "self-masked:-")
    assert share(dark, bright) < 0.5 * share(dark, CONTENT["frontal"] < 50)
    context = drawn("self-masked", policy="context")
    assert share(context, wordy) > 2 * share(context, CONTENT["context"] < 50)
    several = drawn("self-masked", policy="subsets")
    for name in ("frontal", "context"):
        lost = np.array([[name in missing_in(s) for s in several.state_names(i, 0)] for i in range(40)])
        assert lost[:, CONTENT[name] > 150].mean() > 2 * lost[:, CONTENT[name] < 50].mean()


def test_contents_that_are_alike_or_unknown_are_refused() -> None:
    with pytest.raises(HarnessError, match="lateral are alike in all 200 studies"):
        drawn("self-masked", policy="lateral")
    with pytest.raises(HarnessError, match="contents of the studies are not known"):
        drawn("self-masked", known=Observed())
    with pytest.raises(UnknownNameError, match="self-masked:age: no such order"):
        drawn("self-masked:age")


@pytest.mark.parametrize("mechanism", ["mcar", "mar:age", "mar:sex", "mnar", "mnar:Fracture", "self-masked"])
def test_every_drawn_mechanism_is_nested_seeded_and_free_of_the_order(mechanism: str) -> None:
    masks = drawn(mechanism, (0.1, 0.4, 0.9), seeds=3, policy="any")
    for low, high in ((0, 1), (1, 2)):
        before, after = masks.assignment[:, low], masks.assignment[:, high]
        assert (after[before != 0] == before[before != 0]).all()
    assert (masks.assignment[0] != masks.assignment[1]).any()
    order = np.random.default_rng(0).permutation(200).tolist()
    ids = ids_of(complete(200))
    other = drawn(
        mechanism,
        (0.1, 0.4, 0.9),
        seeds=3,
        policy="any",
        ids=[ids[index] for index in order],
        known=observed(order),
    )
    assert (other.assignment == masks.assignment[:, :, order]).all()


def test_prefix_takes_the_first_of_each_batch_in_file_order() -> None:
    masks = drawn("prefix", (0.0, 0.25, 0.8, 1.0), seeds=2)
    losers = masks.assignment[0] != 0
    assert losers[1].nonzero()[0].tolist()[:10] == [0, 1, 2, 3, 4, 5, 6, 7, 32, 33]
    assert losers[1][192:].tolist() == [True, True] + [False] * 6  # the last batch has 8 studies
    assert losers[2][:32].sum() == int(0.8 * 32)
    assert losers[3].all()
    assert not losers[0].any()
    assert (masks.assignment[0] == masks.assignment[1]).all()
    assert drawn("prefix:10", (0.5,)).assignment[0, 0, :20].tolist() == ([1] * 5 + [0] * 5) * 2


def test_prefix_takes_the_first_modality_only() -> None:
    with pytest.raises(HarnessError, match=r"prefix with --drop context: .*use --drop frontal"):
        drawn("prefix", policy="context")


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        ("mar:agee", r"mar:agee: name one attribute.*did you mean age"),
        ("mar", r"name one attribute, e.g. mar:age.*attributes: age, sex, view_position"),
        ("mar:view", r"mar:view_position: it is the same for all 200 studies"),
        ("mnar:Oedema", r"no such label \(did you mean Edema"),
        ("mcar:age", "mcar depends on nothing"),
        ("prefix:0", "prefix:0: not a number of studies"),
        ("prefix:x", "prefix:x: not a number of studies"),
    ],
)
def test_what_a_mechanism_cannot_depend_on_is_an_error(mechanism: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        drawn(mechanism)


def test_exclusive_classes_have_no_number_of_findings() -> None:
    with pytest.raises(HarnessError, match=r"one class, name it, e\.g\. mnar:No Finding"):
        drawn("mnar", known=observed(multilabel=False))
    assert drawn("mnar:Edema", known=observed(multilabel=False)).mechanism == "mnar:Edema"
    with pytest.raises(HarnessError, match="no labels"):
        drawn("mnar", known=Observed())
    with pytest.raises(HarnessError, match="no attributes"):
        drawn("mar:age", known=Observed())


@pytest.mark.parametrize(
    ("modalities", "policy"),
    [
        (("frontal", "lateral", "context"), "context"),
        (("clinical", "dermoscopic"), "alternate"),
        (("frontal",), "any"),
    ],
)
def test_what_goes_missing_unless_the_run_says_otherwise(modalities: tuple[str, ...], policy: str) -> None:
    assert main_policy(modalities) == policy


def test_an_id_that_occurs_twice_is_named_at_once() -> None:
    ids = [str(index) for index in range(20_000)]
    started = time.process_time()
    with pytest.raises(HarnessError, match="study id '19999' occurs more than once"):
        Population.of([*ids, "19999"], [frozenset({"frontal"})] * 20_001)
    assert time.process_time() - started < 1.0
