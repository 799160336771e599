"""A leaderboard as an object: tables, one long data frame, curves, and every file format."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from html import escape
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.arguments import described, of_type, path_of
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.core.packages import require_packages
from harness.leaderboard.leaderboard import Leaderboard as Tables
from harness.leaderboard.render.robustness_figures import COLOURS, GREY
from harness.leaderboard.spec import load_all
from harness.missingness.policy import ALTERNATE, ANY, SUBSETS
from harness.missingness.states import FULL, is_corrupted
from harness.store.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from harness.leaderboard.tables import Number
    from harness.store.results import Measurement

_SHOWN = 6
"""Columns of a table in a notebook."""

COLUMNS = (
    "dataset",
    "method",
    "preset",
    "seed",
    "metric",
    "state",
    "drop",
    "mechanism",
    "rate",
    "value",
    "lo",
    "hi",
    "n",
    "status",
    "detail",
    "control",
    "higher_is_better",
    "signature",
    "key",
)
"""Columns of ``Leaderboard.to_frame``."""


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """All tables of a run, a store or a file.

    Attributes:
        tables: ranked tables, their states tables and what stands behind each row.
        store: folder of the results; None for one that was read from a file.
    """

    tables: Tables
    store: Path | None = None

    @classmethod
    def from_store(cls, store: Path | str, *, only: Container[str] | None = None) -> Leaderboard:
        """The leaderboard of a results store.

        Args:
            store: folder that ``harness run`` or ``evaluate`` wrote.
            only: keys of the results to show; all by default.

        Raises:
            HarnessError: there is no store, it is damaged, or an argument has another type.
        """
        folder = path_of(store, "store", "the path of a store's folder")
        if isinstance(only, str) or not isinstance(only, Container | None):
            raise HarnessError(f"only: {described(only)} was given", "give a set of keys of results")
        if not (folder / "store.json").exists():
            raise HarnessError(
                f"{folder}: no results store there", "harness.evaluate(.., store=..) makes one"
            )
        return cls(Tables.of(Store(folder), load_all(), only), folder)

    @classmethod
    def from_json(cls, path: Path | str) -> Leaderboard:
        """The leaderboard that ``to_json`` or ``harness leaderboard --format json`` wrote.

        Raises:
            HarnessError: the file cannot be read, or ``path`` is no path.
            CorruptFileError: it is no such file.
        """
        return cls(Tables.from_json(path_of(path, "path", "the path of a JSON file"), load_all()))

    @property
    def rows(self) -> tuple[Measurement, ...]:
        """The long form: one measurement per method, metric, drop policy and missing rate."""
        return self.tables.rows

    @property
    def methods(self) -> list[str]:
        """Labels of the rows, in order."""
        return list(dict.fromkeys(row.method for row in self.rows))

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics that some method has a value of."""
        return list(dict.fromkeys(row.metric for row in self.rows if row.status == "ok"))

    def to_frame(self) -> pd.DataFrame:
        """One line per number, with the columns of ``COLUMNS``.

        ``state`` is the modality state where all studies are in one: ``full`` at rate 0, the lost modality at
        rate 1 of a policy that takes it from all studies. Elsewhere it is empty, and ``drop`` and ``rate``
        say what was lost. ``value``, ``lo`` and ``hi`` are NaN where ``status`` is not ``ok``.
        """
        import pandas as pd

        frame = pd.DataFrame(map(_line, self.rows), columns=list(COLUMNS))
        return frame.astype({"value": "float64", "lo": "float64", "hi": "float64"})

    def plot(self, metric: str, *, drop: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw a metric over missing rates: a line and a 95 % band per method, controls in grey.

        Args:
            metric: e.g. ``bleu_4`` or ``auroc_macro``.
            drop: drop policy of the curves; by default the one with most rates.
            ax: axes to draw on; by default those of a new figure.

        Raises:
            HarnessError: ``metric`` is no text.
            UnknownNameError: no method has a value of the metric under the policy.
        """
        of_type(metric, str, "metric", "the name of one number, such as 'bleu_4'")
        return _plotted([row for row in self.rows if row.status == "ok"], metric, drop, ax)

    def to_markdown(self) -> str:
        """All tables as Markdown."""
        return self._rendered("markdown")

    def to_latex(self) -> str:
        """All tables as LaTeX (booktabs)."""
        return self._rendered("latex")

    def to_html(self) -> str:
        """One page that needs no network."""
        return self._rendered("html")

    def to_json(self) -> str:
        """What ``from_json`` reads."""
        return self.tables.to_json()

    def _rendered(self, kind: str) -> str:
        from harness.leaderboard.render.formats import render

        return render(self.tables, kind, self.store).decode()

    def _repr_html_(self) -> str:
        """What a notebook shows: the first table of each task with nothing missing."""
        import pandas as pd

        from harness.leaderboard.render.terminal import first_of_tasks

        parts = []
        for table in first_of_tasks(self.tables.tables):
            names = table.metrics[:_SHOWN]
            cells = {row.method: [_cell(row.full.get(name)) for name in names] for row in table.rows}
            frame = pd.DataFrame.from_dict(cells, orient="index", columns=list(names))
            parts.append(f"<h4>{escape(table.title)}</h4>{frame.to_html()}")
        return "".join(parts) or "<p>no results</p>"

    def __repr__(self) -> str:
        """Counts; the tables are long."""
        failed = {row.method for row in self.rows if row.status == "failed"}
        remark = f", failed: {', '.join(sorted(failed))}" if failed else ""
        return f"Leaderboard({len(self.methods)} methods, {len(self.metrics)} metrics{remark})"


def _cell(number: Number | None) -> str:
    if number is None or number.value is None:
        return "" if number is None else number.status
    return f"{number.value:.3f}" + ("" if number.ci95 is None else " [{:.3f}, {:.3f}]".format(*number.ci95))


def _line(row: Measurement) -> dict[str, Any]:
    lo, hi = row.ci95 or (None, None)
    values = {name: getattr(row, name) for name in COLUMNS if hasattr(row, name)}
    return values | {"state": _state(row), "lo": lo, "hi": hi}


def _state(row: Measurement) -> str:
    if row.rate == 0.0:
        return FULL
    pattern = "=" in row.drop and not is_corrupted(row.drop)
    mixed = row.drop in (ALTERNATE, ANY, SUBSETS) or pattern
    return row.drop if row.rate == 1.0 and not mixed else ""


def _plotted(rows: Iterable[Measurement], metric: str, drop: str | None, ax: Axes | None) -> Axes:
    of_metric = [row for row in rows if row.metric == metric and drop in (None, row.drop)]
    if not of_metric:
        names = sorted({row.metric for row in rows})
        raise UnknownNameError(f"{metric}: no method has a value of it", did_you_mean(metric, names))
    rates: dict[str, set[float]] = {}
    for row in of_metric:
        rates.setdefault(row.drop, set()).add(row.rate)
    policy = max(rates, key=lambda each: len(rates[each]))
    if ax is None:
        require_packages("Leaderboard.plot", "figures", "matplotlib")
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(6.4, 4.2), layout="constrained")
    curves: dict[tuple[str, bool, int], list[Measurement]] = {}
    for row in sorted(of_metric, key=lambda each: each.rate):
        if row.drop == policy:
            curves.setdefault((row.method, row.control, row.seed), []).append(row)
    colours = iter(cycle(COLOURS))
    for (method, control, _), points in curves.items():
        colour = GREY if control else next(colours)
        at = [each.rate for each in points]
        estimates = [each.estimate for each in points if each.estimate is not None]
        lo, hi = [each.lo for each in estimates], [each.hi for each in estimates]
        ax.fill_between(at, lo, hi, color=colour, alpha=0.05 if control else 0.15, lw=0)
        values = [each.value for each in estimates]
        ax.plot(at, values, color=colour, ls="--" if control else "-", marker="o", ms=4, label=method)
    ax.set_xlabel(f"missing rate ({policy})")
    ax.set_ylabel(metric)
    ax.legend(frameon=False, fontsize=8)
    return ax
