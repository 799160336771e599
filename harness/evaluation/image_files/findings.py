"""Labels of images: which images of either side have a finding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.evaluation.image_files.folders import ImageSet
from harness.evaluation.probability_files.cells import Values
from harness.evaluation.probability_files.tables import LabelReading, label_table, labels_of
from harness.evaluation.report_files.fields import listed
from harness.metrics.text.hygiene import Remark

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """Labels of the real and of the generated images.

    Attributes:
        names: of the L findings.
        labels: 0 or 1, (n, L) of the real and (m, L) of the generated images.
        patients: of each image of either side.
        remarks: what was read in another form than it stands.
    """

    names: tuple[str, ...]
    labels: tuple[NDArray[np.float32], ...]
    patients: tuple[tuple[str, ...], tuple[str, ...]]
    remarks: tuple[Remark, ...]

    @classmethod
    def of(cls, values: Values, reading: LabelReading, sets: Sequence[ImageSet]) -> ImageLabels:
        """Join a table with two sets of images by their names.

        Raises:
            HarnessError: an image without a row, or cells that are no labels.
        """
        table = label_table(values, "labels")
        place = {name: number for number, name in enumerate(table.ids)}
        for each in sets:
            if absent := [name for name in each.names if name not in place]:
                raise HarnessError(
                    f"{table.path} lacks {len(absent)} of the {each.folder.side}: {listed(absent)}",
                    "the ids are names of images, without the ending",
                )
        names = reading.labels or tuple(table.columns)
        if absent := [name for name in names if name not in table.columns]:
            raise table.error(f"no column {absent[0]!r}", f"it has {', '.join(table.columns)}")
        if not names:
            raise table.error("it has no column of labels", "one column per finding, with 0 and 1")
        labels, read = labels_of(table, names, reading)
        rows = [[place[name] for name in each.names] for each in sets]
        patients = table.patients or table.ids
        real, generated = (tuple(patients[row] for row in own) for own in rows)
        joined = {row for own in rows for row in own}
        unused = tuple(name for name, row in place.items() if row not in joined)
        remarks = [
            *read,
            *([("no image", "have no image on either side", unused)] if unused else []),
        ]
        total = len(table.ids)
        return cls(
            tuple(names),
            tuple(labels[own] for own in rows),
            (real, generated),
            tuple(
                Remark(kind, words, len(ids), total, "rows of labels", ids) for kind, words, ids in remarks
            ),
        )

    def findings(self) -> Iterator[tuple[str, tuple[Rows, Rows]]]:
        """Each finding, and the rows of either side that have it."""
        for column, name in enumerate(self.names):
            real, generated = (np.flatnonzero(own[:, column] == 1) for own in self.labels)
            yield name, (real, generated)
