"""LaTeX with booktabs and siunitx: text that pdflatex prints as it stands, floats, standalone documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PACKAGES = r"""\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{lmodern,textcomp,amssymb,booktabs,siunitx,adjustbox}
\sisetup{detect-weight=true,detect-shape=true,mode=text,group-digits=integer,group-separator={,}}
\sisetup{group-minimum-digits=4}"""
"""What a fragment needs in the preamble of the document that inputs it."""

_ASCII = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    # A bracket or a star after a line break would be read as its option.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
}
_NAMES = (
    r"α\alpha β\beta γ\gamma δ\delta ε\epsilon ζ\zeta η\eta θ\theta ι\iota κ\kappa λ\lambda μ\mu ν\nu "  # noqa: RUF001
    r"ξ\xi π\pi ρ\rho σ\sigma τ\tau υ\upsilon φ\phi χ\chi ψ\psi ω\omega Γ\Gamma Δ\Delta Θ\Theta Λ\Lambda "  # noqa: RUF001
    r"Π\Pi Σ\Sigma Φ\Phi Ψ\Psi Ω\Omega ✓\checkmark ✗\times ≤\leq ≥\geq ≈\approx ∞\infty →\rightarrow "
    r"←\leftarrow ↑\uparrow ↓\downarrow"
)
_MATH = {pair[0]: pair[1:] for pair in _NAMES.split()}
_TEXT = {
    "\N{MINUS SIGN}": r"\textminus{}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
}
_LACKING = (0xAD, 0x126, 0x127, 0x138, 0x13F, 0x140, 0x149, 0x166, 0x167, 0x17F)
_FONT = frozenset(map(chr, range(0xA1, 0x180))) - frozenset(map(chr, _LACKING))
"""Characters beyond ASCII that pdflatex's T1 and TS1 fonts have."""


def escape(text: str) -> str:
    """Text as pdflatex prints it, on one line; a character that its fonts lack becomes its code point."""
    text = " ".join(text.split())
    parts = []
    for character, following in zip(text, text[1:] + " ", strict=False):
        # Two hyphens would print as a dash, and a command with it could not be copied.
        parts.append("-{}" if character == following == "-" else _character(character))
    return "".join(parts)


def _character(character: str) -> str:
    if character in _ASCII:
        return _ASCII[character]
    if " " <= character <= "~" or character in _FONT:
        return character
    if character in _MATH:
        return rf"\ensuremath{{{_MATH[character]}}}"
    return _TEXT.get(character, f"U+{ord(character):04X}")


def code(text: str) -> str:
    """Text in typewriter, with straight quotes and breaks after spaces, commas and bars."""
    escaped = escape(text).replace("'", r"\textquotesingle{}")
    for mark in (",", r"\textbar{}", "/"):
        escaped = escaped.replace(mark, rf"{mark}\allowbreak{{}}")
    return rf"\texttt{{{escaped}}}"


def braced(text: str) -> str:
    """What is no number, for a column that aligns numbers."""
    return f"{{{text}}}" if text else ""


def small(text: str) -> str:
    """An interval or a remark below a number."""
    return rf"{{\scriptsize {text}}}" if text else ""


@dataclass(frozen=True, slots=True)
class Float:
    """A table to be typeset. All texts are LaTeX already.

    Attributes:
        label: what the document refers to.
        headers: titles of the left-aligned columns in front.
        groups: headings over numeric columns and how many columns each spans.
        columns: titles of the numeric columns.
        formats: siunitx ``table-format`` of each numeric column.
        lines: rows of cells, or one text that is a rule.
        notes: lines below the table.
    """

    caption: str
    label: str
    headers: tuple[str, ...]
    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    formats: tuple[str, ...]
    lines: tuple[tuple[str, ...] | str, ...]
    notes: tuple[str, ...] = ()

    def tex(self) -> str:
        """The table environment, ready to be input."""
        front = "l" * len(self.headers)
        numeric = " ".join(f"S[table-format={each}]" for each in self.formats)
        titles = [*map(braced, self.headers), *map(braced, self.columns)]
        body = [line if isinstance(line, str) else f"{' & '.join(line)} \\\\" for line in self.lines]
        return "\n".join(
            [
                r"\begin{table}[!htbp]",
                r"\centering\small\setlength{\belowcaptionskip}{5pt}",
                rf"\caption{{{self.caption}}}",
                rf"\label{{{self.label}}}",
                r"\begin{adjustbox}{max width=\linewidth,max totalheight=0.8\textheight}",
                rf"\begin{{tabular}}{{{front} {numeric}}}",
                r"\toprule",
                *self._heading(),
                f"{' & '.join(titles)} \\\\",
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{adjustbox}",
                *self._notes(),
                r"\end{table}",
                "",
            ]
        )

    def _heading(self) -> list[str]:
        if not any(name for name, _ in self.groups):
            return []
        cells, rules, place = [""] * len(self.headers), [], len(self.headers) + 1
        for name, size in self.groups:
            cells.append(rf"\multicolumn{{{size}}}{{c}}{{{name}}}")
            if name:
                rules.append(rf"\cmidrule(lr){{{place}-{place + size - 1}}}")
            place += size
        return [f"{' & '.join(cells)} \\\\", " ".join(rules)]

    def _notes(self) -> list[str]:
        if not self.notes:
            return []
        lines = [rf"{note}\par" for note in self.notes]
        return [
            r"\par\smallskip",
            r"\begin{minipage}{\linewidth}\scriptsize\raggedright",
            *lines,
            r"\end{minipage}",
        ]


def table_format(numbers: Sequence[str]) -> str:
    """The narrowest siunitx format that holds all of these numbers."""
    whole, decimals, sign = 1, 0, ""
    for number in numbers:
        digits, _, fraction = number.lstrip("+-").partition(".")
        whole, decimals = max(whole, len(digits)), max(decimals, len(fraction))
        sign = "+" if number[:1] in ("+", "-") else sign
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def multicolumn(columns: int, text: str) -> str:
    """A cell over several left-aligned columns."""
    return rf"\multicolumn{{{columns}}}{{l}}{{{text}}}" if columns > 1 else text


def document(title: str, body: Sequence[str]) -> str:
    """A standalone document that pdflatex compiles."""
    return "\n".join(
        [
            r"\documentclass[a4paper,10pt]{article}",
            r"\usepackage[margin=18mm]{geometry}",
            PACKAGES,
            r"\usepackage{microtype,placeins}",
            r"\setlength{\parindent}{0pt}\setlength{\parskip}{4pt}",
            r"\emergencystretch=3em",
            r"\begin{document}",
            rf"\section*{{{title}}}",
            *body,
            r"\end{document}",
            "",
        ]
    )


def itemize(items: Sequence[str]) -> list[str]:
    """A list, or nothing."""
    if not items:
        return []
    lines = [rf"\item {item}" for item in items]
    return [r"\begin{itemize}\setlength{\itemsep}{0pt}", *lines, r"\end{itemize}"]
