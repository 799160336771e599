"""Sample sheets of a store for the HTML page: of the leaderboard's rows, where images may be shown."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from pathlib import Path

from harness.core.slugs import slug
from harness.leaderboard.leaderboard import Leaderboard
from harness.store.results import Measurement

FOLDER = "samples"
_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST = 8 << 20
"""Most bytes of a sheet on a page."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet as a page shows it.

    Attributes:
        title: method, dataset, preset and seed.
        alt: what the image shows, for readers that cannot see it.
        uri: the PNG itself as a data URI.
        width, height: its size in pixels.
    """

    title: str
    alt: str
    uri: str
    width: int
    height: int


def sheets_of(store: Path, leaderboard: Leaderboard) -> list[Sheet]:
    """The sheets that ``write_sheet`` left for the leaderboard's rows, in their order.

    All other files of the folder are left out: those of datasets whose images may not be shown, links, other
    formats.
    """
    sheets: dict[Path, Sheet] = {}
    for row in leaderboard.rows:
        facts = leaderboard.results.get(row.key)
        if facts is not None and facts.may_show_images:
            path, preset = _place(store, row)
            if path not in sheets and (content := _png(path)) is not None:
                sheets[path] = _sheet(row, preset, content)
    return list(sheets.values())


def _place(store: Path, row: Measurement) -> tuple[Path, str]:
    """Where a row's sheet lies, and the preset of its run."""
    preset = row.key.rpartition("/")[2].partition(f"-s{row.seed}-")[0]
    name = slug(f"{row.method}-{preset}-s{row.seed}")
    return store / FOLDER / slug(row.dataset) / f"{name}.png", preset


def _png(path: Path) -> bytes | None:
    """A file's content where it is a PNG, small enough for a page, and no link out of the store."""
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        return None
    if path.stat().st_size > _LARGEST:
        return None
    content = path.read_bytes()
    return content if content.startswith(_PNG) and content[12:16] == b"IHDR" else None


def _sheet(row: Measurement, preset: str, content: bytes) -> Sheet:
    width, height = struct.unpack(">II", content[16:24])
    title = f"{row.method} on {row.dataset} ({preset}, seed {row.seed})"
    alt = (
        f"Sample sheet of {title}: one row per study, with the labels of its findings, then per view the "
        "phantom that was drawn and the image that the method generated. Report text is not shown."
    )
    return Sheet(title, alt, f"data:image/png;base64,{base64.b64encode(content).decode()}", width, height)
