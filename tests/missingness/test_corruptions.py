"""Corruptions lose more at each level, of the same; they depend on the study and on nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from harness.core.errors import HarnessError, UnknownNameError
from harness.core.types import Study
from harness.missingness import CORRUPTIONS, corrupt
from harness.missingness.corrupted import CorruptedState, corrupted_plan, states_of
from harness.missingness.plan import Missingness
from harness.missingness.states import is_corrupted, missing_in
from tests.helpers.toys import ToyData

MODALITIES = ("frontal", "lateral", "context")
LEVELS = range(6)
TEXT = "age 59. indication: chest pain, dyspnea and a cough for three days, worse at night"


def image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(64, 192, shape, dtype=np.uint8)


def levels(name: str, content: object, **where: str) -> list:
    return [corrupt(content, name, level, **where) for level in LEVELS]


@pytest.mark.parametrize("name", ["blur", "noise", "crop"])
@pytest.mark.parametrize("shape", [(128, 128, 1), (131, 150, 3), (224, 224)])
def test_level_0_is_the_image_and_each_level_is_further_from_it(name: str, shape: tuple[int, ...]) -> None:
    whole = image(*shape)
    before = whole.copy()
    corrupted = levels(name, whole, study_id="a")
    assert (corrupted[0] == whole).all()
    assert all(each.shape == shape and each.dtype == np.uint8 for each in corrupted)
    distances = [np.square(each.astype(float) - whole).mean() for each in corrupted]
    assert all(less < more for less, more in itertools.pairwise(distances))
    assert (whole == before).all()


def test_windows_lie_within_each_other_and_keep_the_named_share() -> None:
    whole = image(60, 80, 3)
    for study in map(str, range(20)):
        kept = [each != 0 for each in levels("crop", whole, study_id=study)]
        for more, less in itertools.pairwise(kept):
            assert not (less & ~more).any()
            assert less.sum() < more.sum()
        shares = [1.0 - amount for amount in (0.0, *CORRUPTIONS["crop"].amounts)]
        assert [each.mean() for each in kept] == pytest.approx(shares, abs=0.02)
    places = {(corrupt(whole, "crop", 3, study_id=str(n)) != 0).any(axis=(1, 2)).argmax() for n in range(20)}
    assert len(places) > 5


def test_noise_is_one_draw_that_is_scaled() -> None:
    whole = np.full((64, 64, 1), 128, dtype=np.uint8)
    mild, strong = (corrupt(whole, "noise", amount=a, study_id="a").astype(float) - 128 for a in (0.05, 0.1))
    assert np.abs(strong - 2 * mild).max() <= 1.5  # both are rounded
    assert mild.std() == pytest.approx(0.05 * 255, rel=0.05)


def test_blur_is_scipys_gaussian_in_pixels_of_an_image_224_wide() -> None:
    whole = image(112, 96, 2)
    expected = np.stack(
        [gaussian_filter(whole[..., c].astype(float), 3 * 96 / 224, truncate=4.0) for c in range(2)], axis=-1
    )
    assert np.abs(corrupt(whole, "blur", 3).astype(float) - expected).max() <= 0.5 + 1e-9


def test_words_that_are_lost_stay_lost() -> None:
    for study in map(str, range(20)):
        texts = [each.split() for each in levels("words", TEXT, study_id=study)]
        for more, less in itertools.pairwise(texts):
            rest = iter(more)
            assert all(word in rest for word in less)  # in order
            assert len(less) < len(more)
        assert texts[0] == TEXT.split()
        assert [len(each) for each in texts] == [15, 13, 10, 7, 4, 1]


@pytest.mark.parametrize("text", ["", "word", "two words"])
def test_a_text_of_some_words_keeps_one(text: str) -> None:
    for amount in (0.1, 0.5, 1.0):
        assert bool(corrupt(text, "words", amount=amount)) == bool(text)


@pytest.mark.parametrize("name", ["noise", "crop", "words"])
def test_draws_depend_on_study_and_modality_alone(name: str) -> None:
    content = TEXT if name == "words" else image(30, 30, 1)
    first = corrupt(content, name, 3, study_id="a", modality="frontal")
    for other in ("b", "c"):
        corrupt(content, name, 5, study_id=other)
    again = corrupt(content, name, 3, study_id="a", modality="frontal")
    assert np.array_equal(first, again)
    for elsewhere in ({"study_id": "b", "modality": "frontal"}, {"study_id": "a", "modality": "lateral"}):
        assert not np.array_equal(first, corrupt(content, name, 3, **elsewhere))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((image(4, 4), "fog", 1), "no corruption fog"),
        ((image(4, 4), "blur"), "level or an amount"),
        ((image(4, 4), "blur", 6), "no level 6"),
        ((image(4, 4), "words", 1), "takes a text"),
        ((TEXT, "blur", 1), "not for a text"),
        ((image(4, 4) / 255.0, "blur", 1), "uint8"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        corrupt(*arguments)
    with pytest.raises(HarnessError, match="out of range"):
        corrupt(TEXT, "words", amount=1.5)


def test_names_of_states() -> None:
    asked = ("frontal:blur", "context:words=0.5", "context:words=0.42", "lateral:noise:2", "frontal:blur:3")
    names = [state.name for state in states_of(asked, MODALITIES)]
    assert names == [
        *("frontal:blur:1", "frontal:blur:3", "frontal:blur:5", "lateral:noise:2"),
        *("context:words=0.42", "context:words:3"),
    ]
    for name in names:
        assert CorruptedState.of(name).name == name
        assert is_corrupted(name)
        assert missing_in(name) == frozenset()
    assert CorruptedState.of("context:words=0.42").severity == pytest.approx(2.6)
    assert CorruptedState.of("context:words=1").severity == pytest.approx(5.5)


@pytest.mark.parametrize(
    ("item", "kind", "message"),
    [
        ("frontal", HarnessError, "--corrupt frontal: not of the form"),
        ("fontal:blur", UnknownNameError, "did you mean frontal"),
        ("frontal:bluer", UnknownNameError, "did you mean blur"),
        ("frontal:words", HarnessError, "words is not for frontal"),
        ("context:blur", HarnessError, "blur is not for context"),
        ("frontal:blur:6", HarnessError, "no level 6"),
        ("frontal:blur:0", HarnessError, "out of range"),
        ("frontal:blur:much", HarnessError, "neither a level nor an amount"),
        ("context:words=1.2", HarnessError, "out of range"),
        ("context:words=nan", HarnessError, "out of range"),
    ],
)
def test_an_item_that_makes_no_sense_is_named(item: str, kind: type[HarnessError], message: str) -> None:
    with pytest.raises(kind) as caught:
        states_of((item,), MODALITIES)
    assert message in f"{caught.value} {caught.value.hint}"


def test_a_study_in_a_corrupted_state_keeps_the_rest() -> None:
    study = Study(
        "s", "p", "test", {"frontal": image(20, 20, 1), "lateral": image(20, 20, 1, seed=1)}, TEXT, "report"
    )
    blurred = CorruptedState.of("lateral:blur:5").applied(study)
    assert blurred.images["frontal"] is study.images["frontal"]
    assert (blurred.images["lateral"] == corrupt(study.images["lateral"], "blur", 5)).all()
    assert (blurred.context, blurred.report, blurred.modalities) == (TEXT, "report", study.modalities)
    shorter = CorruptedState.of("context:words:3").applied(study)
    assert shorter.context == corrupt(TEXT, "words", 3, study_id="s", modality="context")
    assert shorter.images is study.images


def test_a_plan_puts_every_study_with_the_modality_into_the_state() -> None:
    from harness.missingness.masks import plan_of

    data = ToyData()
    studies = data.studies("test")
    like = plan_of(studies, data.info, Missingness("any", "mcar", (0.0,), range(3)))
    plan = corrupted_plan(CorruptedState.of("lateral:crop:1"), studies, like)
    assert plan.rates == (0.0, 1.0)
    for seed in range(3):
        assert set(plan.state_names(seed, 0)) == {"full"}
        assert [state != "full" for state in plan.state_names(seed, 1)] == [
            "lateral" in study.images for study in studies
        ]
    assert not plan.is_mixture(1)
