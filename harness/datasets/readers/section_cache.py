"""Where the sections of reports stand, kept on disk: to look for headings takes most of the time of reading.

A record holds offsets and names of sections, never a text. Its key is a digest of the text, so a changed
report finds nothing; the store's name is a digest of the code that finds sections, so a changed rule finds
nothing, either. The store is that of ``core.feature_store``: for the user alone, each record with a checksum.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from harness.core.feature_store import FeatureStore, store_of
from harness.datasets.readers import headings, sections
from harness.datasets.readers.sections import SectionedText, SectionSpans, section_spans

_AT_ONCE = 20_000
"""So many new records are written together."""


class SectionCache:
    """Splits reports as ``sections.sectioned`` does, each text once per cache folder.

    Call ``keep`` after the last report.
    """

    def __init__(self) -> None:
        self._store: FeatureStore | None = store_of(f"sections-{_code()}")
        self._new: dict[bytes, bytes] = {}

    def sectioned(self, text: str) -> SectionedText:
        """The sections of a report."""
        if self._store is None:
            return sections.sectioned(text)
        key = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=32).digest()
        record = self._new.get(key) or self._store.read([key])[0]
        if record is not None:
            parts, mistyped, inside = json.loads(record)
            spans = SectionSpans(tuple(map(tuple, parts)), frozenset(mistyped), frozenset(inside))
            return spans.read(text)
        spans = section_spans(text)
        facts = [spans.parts, sorted(spans.mistyped), sorted(spans.inside)]
        self._new[key] = json.dumps(facts, separators=(",", ":")).encode()
        if len(self._new) >= _AT_ONCE:
            self.keep()
        return spans.read(text)

    def keep(self) -> None:
        """Write down what was computed."""
        if self._store is not None and self._new:
            self._store.write(self._new)
        self._new = {}


def _code() -> str:
    """Twelve digits that change with the code that finds sections."""
    files = [Path(str(module.__file__)) for module in (sections, headings)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
