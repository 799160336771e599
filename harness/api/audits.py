"""The result of ``harness.audit``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.api.tables import Table
from harness.core.arguments import of_type
from harness.core.errors import UnknownNameError
from harness.core.names import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from harness.store.verdicts import Verdict


@dataclass(frozen=True, slots=True, repr=False)
class AuditTable(Table):
    """What ``audit`` returns: one verdict per method; it can be iterated and indexed by a method's name.

    Attributes:
        verdicts: in the order of the methods.
    """

    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Whether every method passed every check."""
        return all(verdict.passed for verdict in self.verdicts)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)

    def __getitem__(self, method: str) -> Verdict:
        """The verdict of a method.

        Raises:
            HarnessError: ``method`` is no text.
            UnknownNameError: it was not audited.
        """
        of_type(method, str, "method", "the name of a method")
        for verdict in self.verdicts:
            if verdict.method == method:
                return verdict
        names = [verdict.method for verdict in self.verdicts]
        raise UnknownNameError(f"{method}: not audited", did_you_mean(method, names))

    @property
    def remarks(self) -> list[str]:
        """Which methods failed."""
        failed = [verdict.method for verdict in self.verdicts if not verdict.passed]
        return [f"failed: {', '.join(failed)}"] if failed else []

    def to_frame(self) -> pd.DataFrame:
        """Columns ``method, check, passed, detail``, one line per check; no detail quotes a report."""
        import pandas as pd

        from harness.audits.audit import to_rows

        return pd.DataFrame(to_rows(self.verdicts), columns=["method", "check", "passed", "detail"])

    def to_json(self) -> str:
        """As ``harness audit --format json``."""
        from harness.audits.audit import to_rows

        return json.dumps({"rows": to_rows(self.verdicts)}, indent=1)

    def _texts(self) -> pd.DataFrame:
        frame = self.to_frame()
        frame["passed"] = ["yes" if passed else "NO" for passed in frame["passed"]]
        return frame
