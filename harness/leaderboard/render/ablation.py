"""An ablation as markdown and for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from harness.leaderboard.ablation import Ablation, Loss, Member
from harness.leaderboard.render.blocks import Column, Screen, blocks, directed, signature_lines
from harness.leaderboard.render.short_names import short_names
from harness.leaderboard.render.text import UNRANKED, between, code, duration, markdown
from harness.missingness.policy import ALTERNATE, ANY, SUBSETS
from harness.missingness.states import is_corrupted, names_in

_LAST = ("training", "dead parts")


def rendered(ablation: Ablation) -> str:
    """A Markdown table per loss, then what the variants are and why numbers are not there."""
    parts = []
    for loss in ablation.losses:
        header = ["method", "seeds", *(_directed(ablation, name) for name in ablation.metrics), *_LAST]
        parts += [f"### {markdown(_title(ablation, loss))}", "", _line(header)]
        parts.append("|" + "|".join([":--"] + ["--:"] * (len(header) - 1)) + "|")
        for member in ablation.members:
            cells = [_cell(member, name, loss, bold="**") for name in ablation.metrics]
            parts.append(_line([markdown(member.label), _seeds(member), *cells, *_last(member)]))
        parts.append("")
    parts += [f"{note}\n" for note in _notes(ablation)]
    parts += [f"- {markdown(line)}" for line in _members(ablation)]
    shared: dict[str, list[str]] = {}
    for name in ablation.metrics:
        shared.setdefault(ablation.signatures[name], []).append(name)
    parts += [f"- {markdown(', '.join(names))}: {code(signature)}" for signature, names in shared.items()]
    return "\n".join(parts) + "\n"


def rich(ablation: Ablation, screen: Screen) -> list[RenderableType]:
    """The same for a terminal."""
    parts: list[RenderableType] = []
    short = short_names(ablation.metrics)
    members = ablation.members
    for loss in ablation.losses:
        columns = [Column("seeds", [_seeds(member) for member in members])]
        for name in ablation.metrics:
            cells = [_cell(member, name, loss) for member in members]
            columns.append(Column(directed(short[name], name not in ablation.lower_is_better), cells))
        last = zip(*map(_last, members), strict=True)
        columns += [Column(name, cells) for name, cells in zip(_LAST, last, strict=True)]
        labels = [Column("method", [member.label for member in members], right=False)]
        parts.append(screen.text(_title(ablation, loss), "bold"))
        parts += [*blocks(labels, columns, screen), ""]
    parts += [screen.text(line) for line in (*_notes(ablation), *_members(ablation))]
    return [*parts, *signature_lines({name: ablation.signatures[name] for name in ablation.metrics}, screen)]


def _title(ablation: Ablation, loss: Loss) -> str:
    title = f"Ablation of {ablation.full.label} ({ablation.preset}): {ablation.dataset}, {ablation.n} studies"
    return f"{title}, {lost(loss)} ({ablation.mechanism})" if loss.rate else title


def lost(loss: Loss) -> str:
    """``without frontal``; at another rate than 1 ``context missing at rate 0.4``."""
    if is_corrupted(loss.drop):
        return loss.drop
    mixed = loss.drop in (ALTERNATE, ANY, SUBSETS) or "=" in loss.drop
    if loss.rate == 1.0 and not mixed:
        return f"without {' and '.join(names_in(loss.drop))}"
    return f"{loss.drop} missing at rate {loss.rate:g}"


def _directed(ablation: Ablation, name: str) -> str:
    return directed(markdown(name), name not in ablation.lower_is_better)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _seeds(member: Member) -> str:
    """``3``, or ``2 of 3`` where a seed failed."""
    every = len(member.seeds) + len(member.failures)
    return f"{len(member.seeds)} of {every}" if member.failures else str(every)


def _last(member: Member) -> tuple[str, str]:
    """Training time, and the parts that did next to nothing."""
    seconds, dead = member.training_seconds, member.dead
    parts = dict.fromkeys(each.probe.part for each in dead or ())
    return (
        UNRANKED if seconds is None else duration(seconds),
        UNRANKED if dead is None else ", ".join(parts) or "none",
    )


def _cell(member: Member, metric: str, loss: Loss, bold: str = "") -> str:
    """The full method's value, a variant's difference; marked where the interval excludes 0."""
    cell = member.cells.get((metric, loss))
    if cell is None:
        return "failed" if member.failures else UNRANKED
    if cell.difference is None:
        value = f"{cell.estimate.value:.3f}"
        ends = f" {between(cell.estimate.ci95, cell.estimate.n)}" if cell.estimate.has_interval else ""
        return value + ends + (" (not paired)" if member.text else "")
    lo, hi = map(_signed, cell.difference.ci95)
    text = f"{_signed(cell.difference.value)} [{lo}, {hi}]"
    if cell.worse is None:
        return text
    return f"{bold}{text}{bold}" if bold else f"{text} {'worse' if cell.worse else 'better'}"


def _signed(number: float) -> str:
    """``+0.012``; what rounds to 0 is positive."""
    return f"{round(number, 3) + 0.0:+.3f}"


def _notes(ablation: Ablation) -> Iterator[str]:
    several = max(len(member.seeds) for member in ablation.members) > 1
    unit = "patients and training seeds together" if several else "patients; one seed says nothing of others"
    differing = [
        (cell.worse, f"{member.label} in {metric}{f' {lost(loss)}' if loss.rate else ''}")
        for member in ablation.members
        for (metric, loss), cell in member.cells.items()
        if cell.worse is not None and metric in ablation.metrics and loss in ablation.losses
    ]
    yield (
        "First row: the full method. Other rows: variant minus full method, paired. Brackets: 95 % intervals "
        f"over {unit}; a difference counts where its interval excludes 0."
    )
    for verdict, word in ((True, "Worse"), (False, "Better")):
        if places := [place for worse, place in differing if worse is verdict]:
            yield f"{word} than the full method: {', '.join(places)}."
    if not differing:
        yield "No variant can be told apart from the full method."
    if any(member.settings for member in ablation.members):
        yield "Measured on test studies: a value that is taken from this table is chosen on the test set."


def _members(ablation: Ablation) -> Iterator[str]:
    """What each variant is, which of its parts are dead, and which seeds have no number and why."""
    for member in ablation.members:
        if member.text:
            yield f"{member.label}: {member.text}"
        for part in member.dead or ():
            yield f"{member.label}, dead with {len(part.seeds)} of {len(member.seeds)} seeds: {part.probe}"
        for seed, reason in member.failures.items():
            yield f"{member.label} failed with seed {seed}: {reason}"
