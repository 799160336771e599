"""Real report texts for the metric tests, read at run time from the package that ships them."""

from __future__ import annotations

import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.core.types import Prediction, Reference


@cache
def findings(count: int) -> tuple[str, ...]:
    """The first ``count`` FINDINGS sections of the IU X-Ray reports."""
    spec = find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("torchxrayvision is not installed")
    findings: list[str] = []
    with tarfile.open(Path(spec.submodule_search_locations[0], "data", "NLMCXR_reports.tgz")) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.name.endswith(".xml") else None
            sections = ElementTree.parse(stream).iter("AbstractText") if stream else ()
            findings += [part.text for part in sections if part.get("Label") == "FINDINGS" and part.text]
            if len(findings) >= count:
                break
    return tuple(findings[:count])


def pairs(predicted: Sequence[str], true: Sequence[str]) -> tuple[list[Prediction], list[Reference]]:
    """Predictions and references of one study each; two studies a patient."""
    references = [Reference(f"s{index}", f"p{index // 2}", report=text) for index, text in enumerate(true)]
    return [Prediction(report=text) for text in predicted], references


def corpus(count: int = 120) -> tuple[list[str], list[str]]:
    """Another study's findings for every study, with empty, one-word and very long texts among them."""
    texts = findings(2 * count)
    predicted, true = list(texts[:count]), list(texts[count:])
    predicted[0], predicted[1], predicted[2] = "", "Normal.", " ".join(findings(240))[:4000]
    predicted[3], true[3] = "", ""
    true[4] = "Clear."
    true[5] = " ".join(("No acute disease. " * 150).split())
    predicted[6] = true[6]
    return predicted, true
