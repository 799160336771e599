"""Sample sheets of a method that synthesizes: condition, truth and generated image side by side.

A sheet names a report by its finding labels and never shows its text: collections such as IU X-Ray do not
allow that their reports are redistributed.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from harness.core.errors import HarnessError
from harness.core.files import write_atomic
from harness.core.slugs import slug
from harness.core.types import DatasetInfo, Prediction, Study
from harness.evaluation import synthesis
from harness.evaluation.trial import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = ("No Finding", "Cardiomegaly", "Pleural Effusion")
"""Labels of which a sheet shows the first two studies each, where the dataset has them."""

NOTE = "Report text is not shown."

_LINE = 38
"""Characters of a line beside the images."""
_ROW, _TITLE = 1.65, 0.5
"""Heights of a row and of the title, inches."""


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One study of a sheet.

    Attributes:
        study: whose findings and real views are shown.
        condition: the study whose report and other views the method got: the same study, or another patient's
            in the shuffled-image control.
        generated: view -> generated image, (H, W, C) uint8.
    """

    study: Study
    condition: Study
    generated: Mapping[str, np.ndarray]


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
    donors = trial.donors or {}
    rows = [
        SheetRow(study, donors.get(study.id, study), predictions[study.id].images or {})
        for study in chosen(trial.studies, info)
    ]
    write_sheet(path, f"{trial.entry.label} on {info.name}", rows, info)


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


def write_sheet(path: Path, title: str, rows: Sequence[SheetRow], info: DatasetInfo) -> None:
    """A grey PNG of ``sheet``.

    Raises:
        HarnessError: the dataset's images may not be shown.
    """
    if not info.may_show_images:
        raise HarnessError(f"no sample sheet of {info.name}", "its images may not be shown")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(sheet(title, rows, info))
    canvas.draw()
    stream = io.BytesIO()
    grey = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("L")
    grey.save(stream, format="png", optimize=True)
    write_atomic(path, lambda file: file.write(stream.getvalue()))


def sheet(title: str, rows: Sequence[SheetRow], info: DatasetInfo) -> Figure:
    """One row per study: findings and condition, then per view the drawn and the generated image."""
    from matplotlib.figure import Figure

    views = [view for view in info.image_modalities if any(view in row.generated for row in rows)]
    height = _ROW * len(rows) + _TITLE
    figure = Figure(figsize=(3.2 + 3.2 * len(views), height), dpi=110)
    widths = [2.0, *[1.0] * (2 * len(views))]
    axes = figure.subplots(len(rows), len(widths), squeeze=False, gridspec_kw={"width_ratios": widths})
    for number, row in enumerate(rows):
        _caption(axes[number, 0], row, info)
        images = [(view, kind) for view in views for kind in (row.study.images, row.generated)]
        for axis, (view, shown) in zip(axes[number, 1:], images, strict=True):
            if view in shown:
                axis.imshow(shown[view].squeeze(), cmap="gray", vmin=0, vmax=255)
    for number, view in enumerate(views):
        axes[0, 1 + 2 * number].set_title(f"{view}, drawn", fontsize=8)
        axes[0, 2 + 2 * number].set_title(f"{view}, generated", fontsize=8)
    for axis in axes.flat:
        axis.axis("off")
    figure.suptitle(f"{title}\n{NOTE}", fontsize=9, y=1 - 0.1 / height, va="top")
    figure.tight_layout(pad=0.4, rect=(0, 0, 1, 1 - _TITLE / height))
    return figure


def _caption(axis: Axes, row: SheetRow, info: DatasetInfo) -> None:
    """Findings of the study, and below them the findings of the report that was the condition."""
    findings = textwrap.wrap(positive(row.study, info), _LINE)
    of_condition = positive(row.condition, info)
    condition = "report" if row.condition.report is not None else "no report"
    condition = f"Condition: {condition}{' with ' if of_condition else ''}{of_condition}"
    axis.text(0, 0.98, "\n".join(findings), fontsize=7.5, weight="bold", va="top")
    lines = textwrap.wrap(condition, _LINE)
    axis.text(0, 0.93 - 0.1 * len(findings), "\n".join(lines), fontsize=7, va="top")
