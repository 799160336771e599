"""Short names of metrics for the headers of tables in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

LONGEST = 14
"""Characters of a name that stays as it is."""
_SHORT = {
    "chexpert_rules_f1": "rules",
    "chexpert_rules_pr": "rules",
    "chexbert_pr": "chexb",
    "srr_bert": "srr",
    "radbert_ct": "radct",
    "radeval_bertscore": "radeval_bs",
    "mesh_rules_f1": "mesh",
    "chexbert_f1": "chexb",
    "radgraph_f1": "radg",
    "bertscore_minilm": "minilm",
    "alignment": "align",
    "agreement": "agree",
    "completed": "compl",
    "lateral": "lat",
    "weighted": "wtd",
    "example": "ex",
    "sensitivity": "sens",
    "specificity": "spec",
    "common": "com",
    "precision": "prec",
    "recall": "rec",
    "statuses": "stat",
    "missing": "miss",
    "comparison": "comp",
}
"""Words of a name -> what is printed for them."""


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Metric -> its name in a header: ``chexpert_rules_f1_micro_14`` becomes ``rules_micro_14``.

    Names of up to ``LONGEST`` characters stay as they are. Names that would become equal all stay.
    """
    each = list(dict.fromkeys(names))
    short = {name: _short(name) for name in each}
    uses = Counter(short.values())
    return {name: short[name] if uses[short[name]] == 1 else name for name in each}


def _short(name: str) -> str:
    if len(name) <= LONGEST:
        return name
    padded = f"_{name}_"
    for words, abbreviation in _SHORT.items():
        padded = padded.replace(f"_{words}_", f"_{abbreviation}_")
    return padded[1:-1]
