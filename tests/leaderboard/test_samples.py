"""Sample sheets in the HTML page: phantoms of the leaderboard's own rows, and no other file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from harness.core import registry
from harness.core.config import RunSettings
from harness.core.types import CHEXPERT_LABELS, DatasetInfo, Study, Task
from harness.evaluation import sample_sheet
from harness.evaluation.run import run_serially
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import formats, samples
from harness.store.store import Store
from tests.helpers.leaderboards import small_store
from tests.helpers.toys import Quiet, ToyData
from tests.leaderboard.test_html import Visit, browser  # noqa: F401  the fixture


class Phantoms(ToyData):
    """The toys as phantoms: both views in every study, two findings, a report with markup."""

    NAME: ClassVar[str] = "toy-phantom"

    def __init__(self) -> None:
        super().__init__()
        self.info: DatasetInfo = replace(
            self.info,
            name=self.NAME,
            tasks=frozenset({Task.REPORT, Task.SYNTHESIZE}),
            label_names=CHEXPERT_LABELS,
            may_show_images=self.NAME == "toy-phantom",
        )

    def _study(self, rng: np.random.Generator, split: str, number: int) -> Study:
        study = super()._study(rng, split, number)
        labels = np.zeros(len(CHEXPERT_LABELS), dtype=np.float32)
        labels[[number % 3, 10]] = 1
        images = {"frontal": study.images["frontal"], "lateral": study.images["frontal"][::-1]}
        return replace(study, images=images, labels=labels)


class Photographs(Phantoms):
    """The same images, said to be of patients."""

    NAME = "toy-photographs"


def store_of(folder: Path, monkeypatch: pytest.MonkeyPatch, dataset: type[Phantoms]) -> Path:
    """A store with a run of the control ``noise``."""
    monkeypatch.setitem(registry.DATASETS, dataset.NAME, f"tests.leaderboard.test_samples:{dataset.__name__}")
    monkeypatch.setitem(registry.METHODS, "noise", "methods.controls.noise:Noise")
    registry._table.cache_clear()
    config = RunSettings.of(
        methods=("noise",), dataset=dataset.NAME, metrics=("ms_ssim",), store=folder / "store"
    )
    assert run_serially(config, Quiet())[1]
    return folder / "store"


def test_a_run_s_sheet_is_on_the_page(
    browser: Any,  # noqa: F811
    toy_world: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = store_of(toy_world, monkeypatch, Phantoms)
    (sheet,) = (root / "samples" / "toy-phantom").iterdir()
    (sheet.parent / "stray-tiny-s0.png").write_bytes(sheet.read_bytes())
    page = toy_world / "leaderboard.html"
    page.write_bytes(formats.render(Leaderboard.of(Store(root)), "html", root))
    visit = Visit(browser, page)
    images = visit.page.locator("#samples img")
    assert images.count() == 1
    shown = images.first
    assert shown.get_attribute("src").startswith("data:image/png;base64,")
    assert shown.evaluate("image => image.complete && image.naturalWidth") == Image.open(sheet).width
    title = "Sample sheet of noise on toy-phantom (tiny, seed 0)"
    assert shown.get_attribute("alt").startswith(f"{title}: one row per study")
    assert visit.page.get_by_role("heading", name="Generated images").is_visible()
    visit.page.set_viewport_size({"width": 390, "height": 800})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert visit.errors == []
    assert visit.requests[0] == page.as_uri()
    assert all(request.startswith("data:") for request in visit.requests[1:])
    visit.page.close()
    assert "<img" not in formats.render(Leaderboard.of(Store(root)), "html").decode(), (
        "a table's JSON has no images"
    )


def test_images_of_patients_are_never_shown(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = store_of(toy_world, monkeypatch, Photographs)
    assert not (root / "samples").exists()
    planted = root / "samples" / "toy-photographs" / "noise-tiny-s0.png"
    planted.parent.mkdir(parents=True)
    Image.new("L", (8, 8)).save(planted)
    assert samples.sheets_of(root, Leaderboard.of(Store(root))) == []
    assert b"<img" not in formats.render(Leaderboard.of(Store(root)), "html", root)


def test_what_is_no_sheet_is_left_out(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    leaderboard = Leaderboard.of(store)
    leaderboard = replace(
        leaderboard, rows=tuple(replace(row, dataset="toy-phantom") for row in leaderboard.rows)
    )
    silent, allowed = leaderboard.results, {"may_show_images": True}
    results = {key: facts.model_copy(update=allowed) for key, facts in silent.items()}
    leaderboard = replace(leaderboard, results=results)
    folder = store.root / "samples" / "toy-phantom"
    folder.mkdir(parents=True)
    Image.new("L", (30, 20)).save(folder / "first-tiny-s0.png")
    (folder / "second-tiny-s0.png").write_text("<svg onload=alert(1)>")
    Image.new("L", (8, 8)).save(tmp_path / "elsewhere.png")
    (folder / "third-tiny-s0.png").symlink_to(tmp_path / "elsewhere.png")
    Image.new("L", (8, 8)).save(folder / "cheat-base-s0.png")
    (sheet,) = samples.sheets_of(store.root, leaderboard)
    assert (sheet.title, sheet.width, sheet.height) == ("first on toy-phantom (tiny, seed 0)", 30, 20)
    assert samples.sheets_of(store.root, replace(leaderboard, results=silent)) == [], "False is the default"


def test_captions_name_what_to_look_for() -> None:
    data = Phantoms()
    study = data.studies("test")[1]
    assert sample_sheet.positive(study, data.info) == f"{CHEXPERT_LABELS[1]}, {CHEXPERT_LABELS[10]}"
    assert sample_sheet.positive(replace(study, labels=None), data.info) == ""
