"""Opening a dataset by its name: options are checked, a class without ``open`` is named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.core import registry
from harness.core.errors import PluginError, UnknownNameError
from harness.datasets.opening import open_dataset


class NoData:
    """A dataset class without its methods."""


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(registry.DATASETS, "nodata", "tests.datasets.test_opening:NoData")
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
