"""The figure of ``docs/datasets.md``: twelve phantoms and the codes they were drawn from, no report text.

Run it with ``python -m harness.datasets.phantom.figure [FILE]``.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from harness.datasets.phantom.draw import render
from harness.datasets.phantom.patient import Patient

CASES: tuple[tuple[str, ...], ...] = (
    ("normal",),
    ("Cardiomegaly/severe", "Pulmonary Congestion"),
    ("Pleural Effusion/left/moderate",),
    ("Consolidation/lung/upper lobe/right",),
    ("Pulmonary Atelectasis/base/left", "Diaphragm/left/elevated"),
    ("Emphysema/severe", "Lung/hyperdistention"),
    ("Pneumothorax/right/moderate",),
    ("Mass/lung/upper lobe/right/large", "Nodule/lung/lower lobe/left"),
    ("Opacity/lung/bilateral/interstitial/diffuse",),
    ("Medical Device", "Surgical Instruments/mediastinum"),
    ("Scoliosis/thoracic vertebrae/right/severe", "Spondylosis/thoracic vertebrae"),
    ("Hernia, Hiatal/large", "Atherosclerosis/aorta"),
)
_COLUMNS = 4
_SHADES = 64


def draw(path: Path, size: int = 256) -> None:
    """Write the figure to ``path``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-len(CASES) // _COLUMNS)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=(4.2 * _COLUMNS, 2.62 * rows), dpi=110)
    for number, (axis, codes) in enumerate(zip(axes.flat, CASES, strict=True)):
        views = render(Patient(f"figure-{number}", codes, age=60.0, sex="male"), size)
        axis.imshow(np.concatenate(list(views), axis=1), cmap="gray", vmin=0, vmax=255)
        axis.set_title("\n".join(codes), fontsize=8)
        axis.axis("off")
    figure.tight_layout(pad=0.4, h_pad=1.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas = BytesIO()
    figure.savefig(canvas, format="png")
    pyplot.close(figure)
    # Phantoms and text are grey: 64 shades are a third of the size of a colour image with transparency.
    with Image.open(canvas) as image:
        image.convert("L").quantize(_SHADES, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/figures/phantoms.png"))
