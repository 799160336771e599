"""Vital signs of a trained network in a terminal: its probes, and what each loss term counts."""

from __future__ import annotations

from rich.console import RenderableType

from harness.leaderboard.render.blocks import Column, Lines, Screen, blocks
from harness.store.manifest import VitalSigns


def render(title: str, signs: VitalSigns, screen: Screen) -> list[RenderableType]:
    """Tables of probes and of loss terms, as measured at the epoch whose weights stand.

    Args:
        title: the row.
        signs: its vital signs.
        screen: where they are printed.
    """
    parts: list[RenderableType] = [screen.text(f"{title}: vital signs", "bold")]
    if signs.error:
        parts.append(screen.text(f"not measured: {signs.error}", "yellow"))
    if signs.probes:
        numbers = {
            "value": ["not finite" if each.value is None else f"{each.value:.3g}" for each in signs.probes],
            "if dead": [f"{each.dead:.3g}" for each in signs.probes],
            "if alive": [f"{each.alive:.3g}" for each in signs.probes],
            "verdict": ["DEAD" if each.is_dead else "acts" for each in signs.probes],
        }
        labels = [Column("part: quantity", [f"{p.part}: {p.quantity}" for p in signs.probes], right=False)]
        styles = ["yellow" if each.is_dead else "" for each in signs.probes]
        parts += blocks(labels, [Column(*each) for each in numbers.items()], screen, Lines(styles))
    elif not signs.error:
        parts.append(screen.text("the method declares no probes"))
    if signs.terms:
        shares = {
            f"share of the {of}": [f"{term[name]:.1%}" for term in signs.terms.values()]
            for of, name in (("loss", "loss"), ("gradients", "gradient"))
        }
        labels = [Column("loss term", list(signs.terms), right=False)]
        parts += ["", *blocks(labels, [Column(*each) for each in shares.items()], screen, Lines())]
    return [*parts, ""]
