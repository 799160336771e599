"""Every code family changes the image where the code says, and the same way every time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.datasets.iu import reports as iu_reports
from harness.datasets.phantom import draw, figure
from harness.datasets.phantom.anatomy import heart_extent
from harness.datasets.phantom.draw import render, render_many
from harness.datasets.phantom.patient import Patient
from harness.datasets.phantom.render import PAINTERS, SHAPERS, build_scene

SIZE = 96
FIGURE = Path(__file__).parents[2] / "docs" / "figures" / "phantoms.png"
VISIBLE = 12.0  # grey levels that count as a visible change of a pixel


def _difference(*codes: str, study: str = "S1", sex: str | None = "male") -> NDArray[np.float64]:
    """Change of each pixel (2, SIZE, SIZE) that the codes make to one patient."""
    plain = render(Patient(study, ("normal",), 60.0, sex), SIZE).astype(float)
    return np.abs(render(Patient(study, codes, 60.0, sex), SIZE).astype(float) - plain)


def test_the_figure_of_the_pages_has_few_greys_and_is_small(tmp_path: Path) -> None:
    figure.draw(tmp_path / "phantoms.png", size=32)
    with Image.open(tmp_path / "phantoms.png") as drawn, Image.open(FIGURE) as committed:
        assert drawn.mode == committed.mode == "P"
        assert drawn.size == committed.size
        assert len(committed.getcolors() or ()) <= 64
    assert FIGURE.stat().st_size < 700_000


def _quarters(frontal: NDArray[np.float64]) -> dict[str, float]:
    """Sum of change in the patient's right and left (image left and right), upper and lower half."""
    half = SIZE // 2
    return {
        "right upper": frontal[:half, :half].sum(),
        "left upper": frontal[:half, half:].sum(),
        "right lower": frontal[half:, :half].sum(),
        "left lower": frontal[half:, half:].sum(),
    }


@pytest.mark.parametrize(
    ("code", "quarter"),
    [
        ("Pleural Effusion/left/moderate", "left lower"),
        ("Pleural Effusion/right/small", "right lower"),
        ("Costophrenic Angle/left/blunted", "left lower"),
        ("Opacity/lung/base/left", "left lower"),
        ("Opacity/lung/middle lobe/right", "right lower"),
        ("Opacity/lung/lingula", "left lower"),
        ("Pulmonary Atelectasis/base/right", "right lower"),
        ("Airspace Disease/lung/lower lobe/left", "left lower"),
        ("Infiltrate/lung/upper lobe/right", "right upper"),
        ("Consolidation/lung/upper lobe/left", "left upper"),
        ("Pneumonia/lower lobe/right", "right lower"),
        ("Nodule/lung/upper lobe/right", "right upper"),
        ("Mass/lung/upper lobe/right/large", "right upper"),
        ("Calcified Granuloma/lung/upper lobe/left", "left upper"),
        ("Cicatrix/lung/apex/right", "right upper"),
        ("Thickening/pleura/apex/left", "left upper"),
        ("Calcinosis/lung/hilum/lymph nodes/right", "right upper"),
        ("Diaphragm/left/elevated", "left lower"),
        ("Diaphragmatic Eventration/right", "right lower"),
        ("Catheters, Indwelling/right", "right upper"),
        ("Implanted Medical Device/humerus/left", "left upper"),
        ("Fractures, Bone/clavicle/left/healed", "left upper"),
        ("Aorta/prominent", "left upper"),
        ("Atherosclerosis/aorta", "left upper"),
        ("Surgical Instruments/abdomen/right", "right lower"),
        ("Lucency/lung/apex/right/focal/round", "right upper"),
    ],
)
def test_a_code_changes_its_own_quarter_most(code: str, quarter: str) -> None:
    for study in ("S1", "S2"):
        quarters = _quarters(_difference(code, study=study)[0])
        assert max(quarters, key=lambda name: quarters[name]) == quarter, quarters


@pytest.mark.parametrize(
    "code", ["Pneumothorax/right/small", "Pneumothorax/right/large", "Volume Loss/lung/right"]
)
def test_a_code_changes_its_own_side(code: str) -> None:
    frontal = _difference(code)[0]
    assert frontal[:, : SIZE // 2].sum() > frontal[:, SIZE // 2 :].sum()


def test_free_pleural_air_is_dark_at_the_rim() -> None:
    plain = render(Patient("S1", ("normal",)), SIZE)[0].astype(float)
    open_pleura = render(Patient("S1", ("Pneumothorax/right/moderate",)), SIZE)[0].astype(float)
    row = int(0.4 * SIZE)
    darker = np.flatnonzero(plain[row] - open_pleura[row] > VISIBLE)
    assert darker.size
    assert darker.max() < SIZE // 3


@pytest.mark.parametrize(
    "family",
    [
        "Cardiomegaly{}",
        "Pleural Effusion/left{}",
        "Lung/hypoinflation{}",
        "Lung/hyperdistention{}",
        "Pulmonary Edema{}",
        "Scoliosis/thoracic vertebrae/right{}",
        "Opacity/lung/base/left{}",
    ],
)
def test_change_grows_with_severity(family: str) -> None:
    words = ("/borderline", "/mild", "/moderate", "/severe")[0 if family.startswith("Cardio") else 1 :]
    change = [_difference(family.format(word)).mean() for word in words]
    assert change == sorted(change)
    assert change[-1] > 1.15 * change[0]


def test_cardiothoracic_ratio_follows_severity() -> None:
    widths = []
    for word in ("borderline", "mild", "moderate", "severe"):
        anatomy = build_scene(Patient("S1", (f"Cardiomegaly/{word}",)), SIZE).anatomy
        left, right = heart_extent(anatomy)
        widths.append((right - left) / (2 * anatomy.half_width))
    assert widths == sorted(widths)
    assert widths[0] > 0.5


def _codes_by_heading() -> dict[str, str]:
    """The most frequent code of each heading that occurs at least ten times in the split's studies."""
    from collections import Counter

    from harness.datasets.iu.mesh import parse

    reports = iu_reports.read_reports(iu_reports.find_data_folder())
    uids = {iu_reports.uid_of(study_id) for ids in iu_reports.split_ids().values() for study_id in ids}
    counts = Counter(code for uid in uids for code in reports[uid].mesh)
    headings = Counter(parse(code).heading for code in counts.elements())
    return {
        parse(code).heading: code
        for code, _ in sorted(counts.items(), key=lambda item: (item[1], item[0]))
        if headings[parse(code).heading] >= 10
    }


def test_every_frequent_heading_shows_on_both_views() -> None:
    for heading, code in _codes_by_heading().items():
        change = _difference(code)
        if heading in ("normal", "no indexing"):
            assert change.max() == 0
            continue
        visible = [(view > VISIBLE).sum() for view in change]
        assert visible[0] >= 6, f"{code}: {visible}"
        if heading not in ("fractures, bone", "scoliosis"):  # seen on one view, as on real films
            assert visible[1] >= 5, f"{code}: {visible}"


def test_every_heading_with_a_drawing_occurs_in_the_data() -> None:
    from harness.datasets.iu.mesh import parse

    reports = iu_reports.read_reports(iu_reports.find_data_folder())
    seen = {parse(code).heading for report in reports.values() for code in report.mesh}
    assert set(PAINTERS) | set(SHAPERS) <= seen


def test_unknown_codes_change_nothing_and_order_does_not_matter() -> None:
    assert _difference("Never Coded/anywhere", "/", "").max() == 0
    codes = ("Cardiomegaly/mild", "Opacity/lung/base/left", "Scoliosis")
    assert np.array_equal(render(Patient("S1", codes), SIZE), render(Patient("S1", codes[::-1]), SIZE))


def test_patients_differ_and_sizes_agree() -> None:
    first, second = (render(Patient(study, ("normal",)), SIZE).astype(float) for study in ("S1", "S2"))
    assert np.abs(first - second).mean() > 5
    large = render(Patient("S1", ("normal",)), 2 * SIZE).astype(float)
    shrunk = large.reshape(2, SIZE, 2, SIZE, 2).mean(axis=(2, 4))
    assert np.abs(shrunk - first).mean() < 6


@pytest.mark.process
def test_fresh_processes_draw_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "_WORTH_WORKERS", 1)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    code = "Opacity/lung/base/left"
    patients = [Patient(f"S{n}", (code, "Nodule/lung") if n % 2 else ("normal",), 50.0) for n in range(40)]
    drawn = list(render_many(patients, 64, workers=2))
    assert len(drawn) == len(patients)
    for image, patient in zip(drawn, patients, strict=True):
        assert np.array_equal(image, render(patient, 64))


@pytest.mark.process
def test_an_abandoned_drawing_ends_at_once() -> None:
    patients = [Patient(f"S{number}", ("normal",)) for number in range(320)]
    images = render_many(patients, 32, workers=2)
    next(images)
    time.sleep(1.0)  # by now the queues of both workers are full
    closing = threading.Thread(target=images.close, daemon=True)  # type: ignore[attr-defined]
    closing.start()
    closing.join(20.0)
    assert not closing.is_alive()
