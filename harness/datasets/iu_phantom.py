"""``iu-phantom``: real IU X-Ray reports, indications and MeSH codes with drawn chest phantoms for images.

Its scores are never compared with a paper's: the images are rendered from the codes, not taken of patients.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from harness.core import files
from harness.core.clock import during
from harness.core.errors import CorruptFileError, HarnessError
from harness.core.locks import exclusive
from harness.core.names import did_you_mean
from harness.core.types import CHEXPERT_LABELS, DatasetInfo, Study, Task
from harness.datasets.base import SPLITS
from harness.datasets.iu import reports as iu_reports
from harness.datasets.iu.mesh import labels_of
from harness.datasets.iu.reports import IUReport
from harness.datasets.phantom import draw as phantom
from harness.datasets.phantom.patient import RENDERER_VERSION, Patient

VIEWS = ("frontal", "lateral")
DEFAULT_IMAGE_SIZE = 128
SMALLEST_IMAGE, LARGEST_IMAGE = 32, 1024
_REPORTS_SCHEMA = 2
_MOST_SECONDS = 1800.0
"""Seconds after which a wait for another process that draws phantoms is an error."""
_LICENCE = (
    "reports: IU X-Ray, CC BY-NC-ND 4.0, read from the installed torchxrayvision, never redistributed; "
    "images: phantoms drawn by this program"
)


class IUPhantom:
    """The embedded benchmark: 2,069 / 296 / 590 studies of the R2Gen split, each with two drawn views.

    Attributes:
        info: what methods may know.
        reports: the parsed reports of all 3,955 studies by uid (``CXR1002``).
    """

    licence: ClassVar[str] = _LICENCE

    def __init__(self, info: DatasetInfo, reports: dict[str, IUReport], pixels: NDArray[np.uint8]) -> None:
        self.info = info
        self.reports = reports
        ids = [(split, study_id) for split in SPLITS for study_id in iu_reports.split_ids()[split]]
        self._studies: dict[str, list[Study]] = {split: [] for split in SPLITS}
        for (split, study_id), views in zip(ids, pixels, strict=True):
            report = reports[iu_reports.uid_of(study_id)]
            self._studies[split].append(_study(study_id, split, report, views))

    @classmethod
    def open(cls, root: Path | None = None, *, image_size: int | None = None) -> Self:
        """Read the reports and map the phantoms, rendering them if no earlier run did.

        Args:
            root: folder of the report archive; by default the installed torchxrayvision package.
            image_size: height and width of both views in pixels, 32-1024; 128 by default.

        Raises:
            HarnessError: package or file absent, counts off, a full disk, an image size out of range.
            CorruptFileError: the archive or a cached file is not what was written.
        """
        size = DEFAULT_IMAGE_SIZE if image_size is None else image_size
        if not SMALLEST_IMAGE <= size <= LARGEST_IMAGE:
            raise HarnessError(
                f"image_size {size} of iu-phantom is out of range", f"choose {SMALLEST_IMAGE}-{LARGEST_IMAGE}"
            )
        folder = iu_reports.find_data_folder(root)
        digest = iu_reports.archive_digest(folder)
        reports = _cached_reports(folder, digest)
        version = f"{digest[:12]}-renderer{RENDERER_VERSION}-{size}px"
        pixels = _cached_pixels(_cache_folder() / f"phantoms-{version}.npy", reports, size)
        info = DatasetInfo(
            name="iu-phantom",
            tasks=frozenset({Task.REPORT, Task.DIAGNOSE, Task.SYNTHESIZE}),
            image_modalities=VIEWS,
            has_context=True,
            image_size=size,
            label_names=CHEXPERT_LABELS,
            licence=cls.licence,
            fingerprint=version,
            may_show_images=True,
        )
        return cls(info, reports, pixels)

    def studies(self, split: str) -> Sequence[Study]:
        """Studies of one split in R2Gen's order; their images are views into a memory map."""
        if split not in self._studies:
            raise HarnessError(f"unknown split {split!r} of iu-phantom", did_you_mean(split, SPLITS))
        return self._studies[split]


def _study(study_id: str, split: str, report: IUReport, views: NDArray[np.uint8]) -> Study:
    return Study(
        id=study_id,
        patient_id=report.uid,
        split=split,
        images={view: views[index, :, :, None] for index, view in enumerate(VIEWS)},
        context=iu_reports.context_of(report),
        report=report.findings,
        labels=labels_of(report.mesh),
        attributes={"age": report.age, "sex": report.sex, "view_position": report.view_position},
    )


def _cache_folder() -> Path:
    """The dataset's own cache folder, readable by the user alone because it holds IU text."""
    return files.private_folder(files.cache_root() / "iu-phantom")


def _cached_reports(folder: Path, digest: str) -> dict[str, IUReport]:
    """Parsed reports, from the cache where the archive is the one that was parsed."""
    path = _cache_folder() / f"reports-{digest[:12]}-{_REPORTS_SCHEMA}.json"
    records = files.unless_damaged(path, lambda: files.read_json(path) if _is_whole(path) else None)
    if records is not None:
        return iu_reports.from_records(records)
    reports = iu_reports.read_reports(folder)
    iu_reports.check_splits(reports, folder / iu_reports.ARCHIVE)
    with _only_process(path):
        files.write_json(path, iu_reports.to_records(reports))
        files.seal(path, names=1)
    return reports


def _is_whole(path: Path) -> bool:
    """Whether a cached file was finished and is what was written.

    Raises:
        CorruptFileError: it is damaged.
    """
    if files.is_sealed(path):
        files.verify(path, names=1)
        return True
    return False


def _cached_pixels(path: Path, reports: dict[str, IUReport], size: int) -> NDArray[np.uint8]:
    """All studies' views, uint8 (2955, 2, size, size), as a read-only memory map of ``path``."""
    jobs = _jobs(reports)
    if not files.unless_damaged(path, lambda: _is_whole(path)):
        with _only_process(path):
            if not files.is_sealed(path):  # another process may have finished it while this one waited
                with during("draw phantoms"):
                    _render_to(path, jobs, size)
    try:
        pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    except ValueError as error:
        raise CorruptFileError(f"{path}: not a NumPy array: {error}", "delete it and run again") from error
    expected = (len(jobs), len(VIEWS), size, size)
    if pixels.shape != expected or pixels.dtype != np.uint8:
        raise CorruptFileError(
            f"{path}: holds {pixels.shape}, expected {expected}", "delete it and run again"
        )
    return np.asarray(pixels)


def _jobs(reports: dict[str, IUReport]) -> list[Patient]:
    """What to draw, in the order of the splits."""
    jobs = []
    for split in SPLITS:
        for study_id in iu_reports.split_ids()[split]:
            report = reports[iu_reports.uid_of(study_id)]
            jobs.append(Patient(study_id, report.mesh, report.age, report.sex, report.acquisition))
    return jobs


def _render_to(path: Path, jobs: Sequence[Patient], size: int) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(jobs), len(VIEWS), size, size)}

    def write(stream: IO[bytes]) -> None:
        np.lib.format.write_array_header_1_0(stream, header)
        for images in _with_progress(phantom.render_many(jobs, size), len(jobs)):
            stream.write(images.tobytes())

    files.write_atomic(path, write)
    files.seal(path, names=1)


def _with_progress(images: Iterator[NDArray[np.uint8]], total: int) -> Iterator[NDArray[np.uint8]]:
    """The same images with a progress bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    description = "drawing phantoms (once)"
    yield from track(
        images, description, total=total, console=console, transient=True, disable=not console.is_terminal
    )


@contextmanager
def _only_process(path: Path) -> Iterator[None]:
    """One process at a time writes ``path``; others wait, say once for whom, and end after half an hour."""
    told: list[str] = []

    def waiting(holder: str) -> None:
        if not told:
            print(f"waiting for {holder}, which writes {path}", file=sys.stderr)
        told.append(holder)

    lock, holder = (path.with_name(path.name + suffix) for suffix in (".lock", ".holder.json"))
    with exclusive(lock, holder, waiting, _MOST_SECONDS):
        yield
