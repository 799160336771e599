"""Images that cannot be read: they stop a run, or are left out with ``--set DATASET.unreadable=drop``.

What is left out is decided when the dataset is opened, before its fingerprint: every image that the store
lacks is decoded then. Only a file's content counts. A file that is absent, and one that cannot be read
because memory, a right or a package is, stops the run under both options: else another machine would have
other studies.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.core.errors import HarnessError
from harness.core.names import did_you_mean
from harness.datasets.images.filling import fill
from harness.datasets.images.pixels import ImageFile, PixelCache
from harness.datasets.readers.records import Listed, Problem

REFUSE, DROP = "refuse", "drop"

_MANY = 1000
"""Images to decode from which on a line says what the wait is for."""


@dataclass(frozen=True)
class LeftOut:
    """What a dataset is opened without, because images cannot be read.

    Attributes:
        views: split -> study that stays -> its views that are left out.
        studies: split -> studies that have no image left.
        problems: one remark per view.
    """

    views: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    studies: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def of(
        cls, studies: Iterable[Listed], unreadable: Mapping[str, HarnessError], *, complete: bool = False
    ) -> LeftOut:
        """Those of some studies.

        Args:
            studies: with all their images.
            unreadable: digest of an image -> why it cannot be read.
            complete: a study needs all of its views.
        """
        left_out = cls()
        for study in studies if unreadable else ():
            views = [view for view, source in study.images.items() if source.digest in unreadable]
            whole = complete or len(views) == len(study.images)
            if views and whole:
                left_out.studies.setdefault(study.split, []).append(study.id)
            elif views:
                left_out.views.setdefault(study.split, {})[study.id] = views
            for view in views:
                only = "needs all images" if complete else "has no other image"
                what = f"{study.id}, which {only}," if whole else f"{view} of {study.id}"
                source = study.images[view]
                reason = unreadable[source.digest].message.removeprefix(f"{source.where}: ")
                message = f"{reason}; {what} is left out"
                left_out.problems.append(Problem("unreadable-image", source.where, message, fatal=False))
        return left_out

    def __bool__(self) -> bool:
        return bool(self.views or self.studies)

    def images(self, study: Listed) -> dict[str, ImageFile] | None:
        """The images that stay; None where the study is left out."""
        if study.id in self.studies.get(study.split, ()):
            return None
        views = self.views.get(study.split, {}).get(study.id, ())
        return {view: source for view, source in study.images.items() if view not in views}

    @property
    def counts(self) -> dict[str, int | float]:
        """Views and studies that are left out, as ``harness data check`` counts them."""
        views = [own for studies in self.views.values() for own in studies.values()]
        numbers = {"views": sum(map(len, views)), "studies": sum(map(len, self.studies.values()))}
        return {f"left out, unreadable: {what}": number for what, number in numbers.items() if number}


def check_policy(dataset: str, policy: object) -> None:
    """Refuse any other value of the option than ``refuse`` and ``drop``."""
    if policy not in (REFUSE, DROP):
        hint = did_you_mean(str(policy), (REFUSE, DROP)) or f"{REFUSE} or {DROP}"
        raise HarnessError(f"{dataset}.unreadable: {policy!r} is neither {REFUSE} nor {DROP}", hint)


def left_out_of(
    studies: Iterable[Listed], cache: PixelCache, policy: str, *, complete: bool = False
) -> LeftOut:
    """What cannot be read of some studies, found by decoding all images that the cache lacks.

    Args:
        cache: where the pixels are kept; a run that follows reads them there.
        policy: nothing is decoded and nothing left out unless it is ``drop``.
        complete: a study needs all of its views.

    Raises:
        HarnessError: an image is not read for another reason than its content.
    """
    if policy != DROP:
        return LeftOut()
    studies = list(studies)
    sources = {source.digest: source for study in studies for source in study.images.values()}
    absent = cache.store.absent(sources)
    if len(absent) > _MANY:
        note = "%s: decoding %d images first, because of unreadable=drop"
        logging.getLogger(__name__).warning(note, cache.store.folder.parent.name, len(absent))
    unreadable: dict[str, HarnessError] = {}
    for _ in fill(cache.store, [sources[each] for each in sources if each in absent], unreadable=unreadable):
        pass
    return LeftOut.of(studies, unreadable, complete=complete)
