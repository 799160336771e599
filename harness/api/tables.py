"""What results share: a data frame, and the formats that follow from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class Table(ABC):
    """A result that prints itself, in a terminal and in a notebook."""

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """All of it, one line per number or finding."""

    @abstractmethod
    def _texts(self) -> pd.DataFrame:
        """The frame as text, with values and intervals as people print them."""

    @property
    @abstractmethod
    def remarks(self) -> list[str]:
        """Sentences below the table, with counts and ids and without text of reports."""

    def to_markdown(self) -> str:
        """A Markdown table, with the remarks below it."""
        frame = self._texts()
        lines = ["| " + " | ".join(frame.columns) + " |", "|" + "|".join(["---"] * len(frame.columns)) + "|"]
        lines += ["| " + " | ".join(escaped(cell) for cell in row) + " |" for row in frame.to_numpy()]
        if self.remarks:
            lines += ["", *(f"- {each}" for each in self.remarks)]
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        """A LaTeX table (booktabs)."""
        from harness.leaderboard.render.latex import escape

        frame = self._texts()
        lines = [r"\begin{tabular}{" + "l" * len(frame.columns) + "}", r"\toprule"]
        lines.append(" & ".join(escape(name) for name in frame.columns) + r" \\ \midrule")
        lines += [" & ".join(escape(cell) for cell in row) + r" \\" for row in frame.to_numpy()]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"

    def to_html(self) -> str:
        """An HTML table, with the remarks below it."""
        from html import escape

        remarks = "".join(f"<li>{escape(each)}</li>" for each in self.remarks)
        return self._texts().to_html(index=False) + (f"<ul>{remarks}</ul>" if remarks else "")

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        return "\n".join([self._texts().to_string(index=False), *self.remarks])


def escaped(cell: str) -> str:
    return cell.replace("|", r"\|")
