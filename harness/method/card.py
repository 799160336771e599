"""The card of a method: what it is and what it reads, known before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.core.errors import PluginError
from harness.core.types import Task
from harness.method.pretrained import PretrainedPart


@dataclass(frozen=True, slots=True)
class Deviation:
    """One place where the paper is silent or contradicts itself, and what was chosen.

    Attributes:
        where: the place, and what is open there.
        chosen: what this implementation does.
        id: a short name, unique on its card, by which a test finds the text that describes a piece of code.
    """

    where: str
    chosen: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class MethodCard:
    """What a method is, known before it is built.

    Attributes:
        name: registry name.
        title: the paper's title, or what the control does.
        paper: citation or link; empty for controls.
        licence: licence of this implementation's sources and weights.
        tasks: what it produces.
        reads: modalities it can use, by name or by role (``DatasetInfo.read_by``); others are blanked.
        presets: preset name -> ``Config`` overrides.
        variants: ablation name -> (description, ``Config`` overrides).
        opponents: variants that ``--methods all`` runs, too: their numbers show what the method's own parts
            contribute.
        deviations: where the paper left a choice.
        published: figures that the paper prints, e.g. ``{"parameters": 589.7e6}``.
        released: figures counted in the authors' released code, which the paper does not print.
        published_of_variants: variant -> figures that the paper prints for it.
        learned: False for controls that fit without gradient steps.
        samples: it can draw random reports (``Method.sample``).
        gpus: GPUs that a cluster reserves for a cell, if it has any.
        memory_gib: memory that a cluster reserves for a cell, GiB; 0 reserves none.
    """

    name: str
    title: str
    paper: str
    licence: str
    tasks: frozenset[Task]
    reads: frozenset[str]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"tiny": {}})
    variants: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    opponents: tuple[str, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    published: Mapping[str, Any] = field(default_factory=dict)
    released: Mapping[str, Any] = field(default_factory=dict)
    published_of_variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    learned: bool = True
    samples: bool = False
    gpus: int = 1
    memory_gib: float = 0.0

    def __post_init__(self) -> None:
        """Refuse fields of another type.

        Raises:
            PluginError: names the first one, what came and what was expected.
        """
        for name, kinds, wanted in _FIELDS:
            value = getattr(self, name)
            if not isinstance(value, kinds):
                raise PluginError(f"the card's {name} is a {type(value).__name__}; it must be {wanted}")
        if odd := [each for each in self.tasks if each not in set(Task)]:
            raise PluginError(f"the card's tasks hold {odd[0]!r}"[:80], f"tasks are {', '.join(Task)}")

    def figures(self, variant: str | None) -> Mapping[str, Any]:
        """What the paper prints about a variant, or about the method where it is None; may be empty."""
        return self.published if variant is None else self.published_of_variants.get(variant, {})


_FIELDS: tuple[tuple[str, tuple[type, ...], str], ...] = (
    *((name, (str,), "a text") for name in ("name", "title", "paper", "licence")),
    ("tasks", (frozenset, set), "a frozenset of Tasks"),
    ("reads", (frozenset, set), "a frozenset of names of modalities"),
    ("presets", (Mapping,), "a mapping of presets to settings"),
    ("variants", (Mapping,), "a mapping of variants to a description and settings"),
)
"""Field of a card -> its types, and how they are called."""


def card_facts(
    card: MethodCard,
    variant: str | None,
    settings: Mapping[str, Any],
    pretrained: Sequence[PretrainedPart] = (),
) -> dict[str, Any]:
    """A method's card as JSON, with the settings and the pretrained weights that it ran with."""
    return {
        "name": card.name,
        "variant": variant,
        "variant_text": card.variants[variant][0] if variant else "",
        "title": card.title,
        "paper": card.paper,
        "licence": card.licence,
        "tasks": sorted(card.tasks),
        "reads": sorted(card.reads),
        "learned": card.learned,
        "presets": sorted(card.presets),
        "deviations": [asdict(each) for each in card.deviations],
        "settings": dict(settings),
        "weights": [part.facts() for part in pretrained],
    }
