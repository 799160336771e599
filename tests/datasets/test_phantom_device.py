"""The look of the device that took a study."""

from __future__ import annotations

import numpy as np
import pytest

from harness.datasets.phantom.acquisition import Device, device_of
from harness.datasets.phantom.draw import render
from harness.datasets.phantom.patient import Patient

AGFA = ("60003", "NK5", "0", "400", "['0.1500', '0.1500']", "2828", "2320")


def image(acquisition: tuple[str, ...], study: str = "S1") -> np.ndarray:
    return render(Patient(study, ("normal",), 60.0, "male", acquisition), 64).astype(float)


def test_a_study_without_acquisition_data_has_a_neutral_device() -> None:
    assert device_of(()) == Device()


@pytest.mark.parametrize("cells", [("",) * 7, ("x", "", "nan", "inf", "[]", "-1", "0"), AGFA])
def test_any_cells_give_a_usable_device(cells: tuple[str, ...]) -> None:
    device = device_of(cells)
    assert 0.3 < device.gamma < 2.5
    assert 0.0 <= device.black < device.white <= 1.0
    assert 0.0 <= device.shutter <= 0.12
    assert image(cells).std() > 20


def test_studies_of_one_device_share_its_look() -> None:
    other = ("11111", *AGFA[1:])
    first, second, foreign = image(AGFA, "S1"), image(AGFA, "S2"), image(other, "S2")
    assert abs(first.max() - second.max()) < 4 < abs(first.max() - foreign.max())


def test_a_narrow_detector_has_black_borders() -> None:
    assert (image(AGFA)[:, :, 0] == 0).all()
    assert (image((*AGFA[:5], "2320", "2828"))[:, 30, 0] > 0).any()


def test_findings_stay_visible_under_every_look() -> None:
    for code in ("1", "2", "3", "4"):
        cells = (code, *AGFA[1:])
        effusion = render(Patient("S1", ("Pleural Effusion/left/large",), 60.0, "male", cells), 64).astype(
            float
        )
        change = np.abs(effusion - image(cells))[0]
        assert change[32:, 32:].mean() > 3 * change[:32, :32].mean() + 1
