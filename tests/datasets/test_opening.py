"""Opening a dataset by its name: options are checked, a class without ``open`` is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from harness.core import registry
from harness.core.errors import HarnessError, PluginError, UnknownNameError
from harness.core.types import Study
from harness.datasets.check import examine
from harness.datasets.opening import open_dataset, studies_of, studies_of_splits
from harness.method.batching import collate
from harness.testing import check_dataset
from tests.helpers.toys import ToyData


class NoData:
    """A dataset class without its methods."""


class Licensed(ToyData):
    """The toys, with all that a dataset declares."""

    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, licence="none")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(registry.DATASETS, "nodata", "tests.datasets.test_opening:NoData")
    monkeypatch.setitem(registry.DATASETS, "toy", "tests.helpers.toys:ToyData")
    registry._table.cache_clear()
    yield
    monkeypatch.undo()
    registry._table.cache_clear()


def test_an_option_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"--set example.image_sise: .* no such option .*image_size"):
        open_dataset("example", None, {"image_sise": 64})


def test_a_class_without_open_is_named() -> None:
    with pytest.raises(PluginError, match=r"nodata cannot be loaded: tests\..*:NoData is no Dataset"):
        open_dataset("nodata")


FAULTS: dict[str, tuple[Callable[[Study], Study], str]] = {
    "same ids": (lambda study: replace(study, id="x"), "study x: another study has this id"),
    "shared patient": (
        lambda study: replace(study, patient_id="p"),
        "study val0: its patient is in train and in val",
    ),
    "wrong split": (
        lambda study: replace(study, split="train"),
        "study val0: among those of val, and not of this split itself",
    ),
    "no id": (lambda study: replace(study, id=""), "train 0: its id cannot name a file"),
    "no patient": (lambda study: replace(study, patient_id=""), "study train0: its patient has no id"),
    "unknown view": (
        lambda study: replace(study, images={"zork": np.zeros((8, 8, 1), np.uint8)}),
        "study train0: info has no modality 'zork'",
    ),
    "nothing": (
        lambda study: replace(study, images={}, context=None),
        "study train0: it has neither an image nor a context",
    ),
    "labels": (
        lambda study: replace(study, labels=np.array([1.0, np.nan])),
        "study train0: its labels are not 0 numbers, each 0 or 1",
    ),
    "context": (lambda study: replace(study, context=5), "study train0: its context is a int"),  # type: ignore[arg-type]
    "half a character": (
        lambda study: replace(study, context="a \ud800 b"),
        "study train0: its context has a NUL or half a character",
    ),
    "images": (lambda study: replace(study, images=None), "study train0: its images or attributes are no m"),  # type: ignore[arg-type]
    "attribute": (
        lambda study: replace(study, attributes={"sex": float("nan")}),
        "study train0: an attribute is neither text nor a finite number",
    ),
    "no reference": (
        lambda study: replace(study, report=None if study.split == "test" else study.report),
        "study test0: it has no report to compare with",
    ),
    "blank": (lambda study: replace(study, report=" "), "study train0: its report is blank"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_studies_that_would_give_wrong_numbers_are_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, message = FAULTS[name]
    studies = ToyData.studies
    monkeypatch.setattr(ToyData, "studies", lambda self, split: list(map(change, studies(self, split))))
    with pytest.raises(HarnessError, match=f"dataset toy, {message}"):
        studies_of_splits(ToyData(), None)
    with pytest.raises(PluginError, match=f"dataset toy, {message}"):
        check_dataset(Licensed())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda study, number: replace(study, report=f"report {number}"),
            "study train0 is another one when it is",
        ),
        (
            lambda study, number: replace(
                study, images={"frontal": np.full((8, 8, 1), number % 251, np.uint8)}
            ),
            "study train0 is another one when it is",
        ),
        (lambda study, number: study if number < 150 else None, r"40 studies, then \d+"),
    ],
)
def test_studies_that_change_are_refused(
    change: Callable[[Study, int], Study | None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, numbers = ToyData.studies, count()

    def changing(data: ToyData, split: str) -> list[Study]:
        return [each for study in studies(data, split) if (each := change(study, next(numbers))) is not None]

    monkeypatch.setattr(ToyData, "studies", changing)
    with pytest.raises(HarnessError, match=f"dataset toy: {message}"):
        studies_of_splits(ToyData(), None)
    with pytest.raises(PluginError, match="dataset toy, train: "):
        check_dataset(Licensed())


def test_data_check_reads_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    studies, numbers = ToyData.studies, count()

    def changing(data: ToyData, split: str) -> list[Study]:
        return [replace(study, report=f"report {next(numbers)}") for study in studies(data, split)]

    monkeypatch.setattr(ToyData, "studies", changing)
    assert {problem.kind for problem in examine("toy", None).problems} >= {"changes"}


def broken(kind: str, whole: list[Study]) -> Any:
    """What ``studies`` gives, which fails or is something else."""

    class Fails(list[Study]):
        def __getitem__(self, index: Any) -> Any:
            if index == 2:
                raise ValueError("SECRET report")
            return super().__getitem__(index)

    numbered = [replace(study, id=index) for index, study in enumerate(whole)]  # type: ignore[arg-type]
    return {"fails": Fails(whole), "none": None, "generator": iter(whole), "numbers": numbered}[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("fails", r"studies of test: ValueError at tests\.datasets\.test_opening:\d+"),
        ("none", "studies of test are a NoneType, no sequence"),
        ("generator", "studies of test are a list_iterator, no sequence"),
        ("numbers", "studies of test: number 0 is no Study with a text as id"),
    ],
)
def test_what_is_wrong_with_studies_of_a_plugin_is_one_line(
    kind: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ToyData().studies("test")
    monkeypatch.setattr(ToyData, "studies", lambda self, split: broken(kind, whole))
    with pytest.raises(PluginError, match=f"dataset toy: {message}") as raised:
        list(studies_of(ToyData(), "test"))
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("field", ["report", "context", "attributes", "images"])
def test_a_fingerprint_that_stays_while_the_studies_change_is_not_believed(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint = open_dataset("toy").info.fingerprint
    assert open_dataset("toy").info.fingerprint == fingerprint
    studies = ToyData.studies
    values = {
        "report": "another one",
        "context": "another one",
        "attributes": {"sex": "F"},
        "images": {"frontal": np.full((32, 32, 1), 9, np.uint8)},
    }

    def changed(self: ToyData, split: str) -> list[Study]:
        first, *others = studies(self, split)
        return [replace(first, **{field: values[field]}), *others]  # type: ignore[arg-type]

    monkeypatch.setattr(ToyData, "studies", changed)
    assert open_dataset("toy").info.fingerprint != fingerprint


def test_facts_that_cannot_be_set_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    info = replace(ToyData().info, fingerprint="own")
    own = property(lambda self: info)
    monkeypatch.setattr(ToyData, "info", own, raising=False)
    monkeypatch.setattr(ToyData, "__init__", lambda self: None)
    opened = open_dataset("toy")
    assert opened.info.fingerprint.startswith("own+")
    assert isinstance(opened, ToyData)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": frozenset()}, "it has no tasks"),
        ({"image_size": "32"}, "its image_size is no number"),
        ({"image_modalities": ("frontal", "lateral", "lateral")}, "its image_modalities have a name twice"),
        ({"fingerprint": None}, "its fingerprint is no text"),
    ],
)
def test_facts_that_no_dataset_has_are_refused(
    change: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ToyData()
    data.info = replace(data.info, **change)
    monkeypatch.setattr(ToyData, "open", classmethod(lambda cls, root=None, image_size=None: data))
    with pytest.raises(HarnessError, match=f"dataset toy, info: {message}"):
        studies_of_splits(open_dataset("toy"), None)


class Late(dict[str, Any]):
    """Images that fail when they are read."""

    def __getitem__(self, view: str) -> Any:
        raise OSError("SECRET")


def test_an_image_that_cannot_be_read_names_its_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    studies = ToyData.studies
    monkeypatch.setattr(
        ToyData,
        "studies",
        lambda self, split: [replace(study, images=Late(study.images)) for study in studies(self, split)],
    )
    with pytest.raises(PluginError, match="dataset toy: studies of train: OSError at tests") as refused:
        studies_of_splits(open_dataset("toy"), None)
    assert "SECRET" not in str(refused.value)


def test_pixels_of_another_kind_are_refused() -> None:
    data = ToyData()
    study = replace(data.studies("test")[0], images={"frontal": np.full((8, 8, 1), np.nan)})
    with pytest.raises(HarnessError, match="study test0: its frontal view is float64"):
        collate([study], data.info, reads=frozenset({"frontal"}), run_seed=0)


def test_data_check_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    change, _ = FAULTS["shared patient"]
    studies = ToyData.studies
    monkeypatch.setattr(ToyData, "studies", lambda self, split: list(map(change, studies(self, split))))
    monkeypatch.setitem(registry.DATASETS, "toy", "tests.helpers.toys:ToyData")
    registry._table.cache_clear()
    found = examine("toy", None)
    assert {problem.kind for problem in found.problems if problem.fatal} == {"patient-in-two-splits"}
