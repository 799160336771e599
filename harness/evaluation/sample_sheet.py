"""Sample sheets of a method that synthesizes: condition, truth and generated image side by side."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from harness.core.errors import HarnessError
from harness.core.files import write_atomic
from harness.core.slugs import slug
from harness.core.types import DatasetInfo, Prediction, Study
from harness.evaluation import synthesis
from harness.evaluation.trial import Trial

SHOWN = ("No Finding", "Cardiomegaly", "Pleural Effusion")
"""Labels of which a sheet shows the first two studies each, where the dataset has them."""

_LINE, _LINES = 44, 8
_ROW, _TITLE = 1.65, 0.35
"""Heights of a row and of the title, inches."""


def show(trial: Trial, predictions: Mapping[str, Prediction]) -> None:
    """A sheet of generated images beside the real ones in the store's ``samples``, where they may be shown.

    Args:
        trial: its method generates views; of others nothing is written.
        predictions: study id -> prediction with everything present.
    """
    info = trial.info
    if not synthesis.views(trial.entry.method_class.card, info) or not info.may_show_images:
        return
    name = slug(f"{trial.entry.label}-{trial.benchmark.config.preset}-s{trial.seed}")
    path = trial.benchmark.store.root / "samples" / slug(info.name) / f"{name}.png"
    title = f"{trial.entry.label} on {info.name}"
    write_sheet(path, title, chosen(trial.studies, info), predictions, info)


def positive(study: Study, info: DatasetInfo) -> str:
    """Names of the study's findings: what to look for in its images."""
    if study.labels is None:
        return ""
    return ", ".join(name for name, value in zip(info.label_names, study.labels, strict=True) if value > 0)


def chosen(studies: Sequence[Study], info: DatasetInfo, each: int = 2) -> list[Study]:
    """Studies of a sheet: ``each`` per shown label, in the order of the test split."""
    studies_shown: list[Study] = []
    for label in SHOWN:
        if label not in info.label_names:
            continue
        column = info.label_names.index(label)
        with_label = [
            s for s in studies if s.labels is not None and s.labels[column] > 0 and s not in studies_shown
        ]
        studies_shown += with_label[:each]
    return studies_shown or list(studies[: len(SHOWN) * each])


def write_sheet(
    path: Path, title: str, studies: Sequence[Study], predictions: Mapping[str, Prediction], info: DatasetInfo
) -> None:
    """A PNG with one row per study: findings and report, then per view the drawn and the generated image.

    Raises:
        HarnessError: the dataset's images may not be shown.
    """
    if not info.may_show_images:
        raise HarnessError(f"no sample sheet of {info.name}", "its images may not be shown")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    views = [
        view for view in info.image_modalities if any(view in (p.images or {}) for p in predictions.values())
    ]
    height = _ROW * len(studies) + _TITLE
    figure = Figure(figsize=(3.2 + 3.2 * len(views), height), dpi=110)
    canvas = FigureCanvasAgg(figure)
    widths = [2.0, *[1.0] * (2 * len(views))]
    axes = figure.subplots(len(studies), len(widths), squeeze=False, gridspec_kw={"width_ratios": widths})
    for row, study in enumerate(studies):
        text = textwrap.wrap(study.report or "no report", _LINE, max_lines=_LINES, placeholder=" ...")
        caption = textwrap.wrap(positive(study, info), _LINE - 6, max_lines=2, placeholder=" ...")
        axes[row, 0].text(0, 0.98, "\n".join(caption), fontsize=7.5, weight="bold", va="top")
        axes[row, 0].text(0, 0.98 - 0.13 * len(caption), "\n".join(text), fontsize=7, va="top")
        generated = predictions[study.id].images or {}
        for number, view in enumerate(views):
            for offset, images in enumerate((study.images, generated)):
                axis = axes[row, 1 + 2 * number + offset]
                if view in images:
                    axis.imshow(images[view].squeeze(), cmap="gray", vmin=0, vmax=255)
                if row == 0:
                    axis.set_title(f"{view}, {('drawn', 'generated')[offset]}", fontsize=8)
    for axis in axes.flat:
        axis.axis("off")
    figure.suptitle(title, fontsize=9, y=1 - 0.1 / height, va="top")
    figure.tight_layout(pad=0.4, rect=(0, 0, 1, 1 - _TITLE / height))
    canvas.draw()
    stream = io.BytesIO()
    grey = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("L")
    grey.save(stream, format="png", optimize=True)
    write_atomic(path, lambda file: file.write(stream.getvalue()))
