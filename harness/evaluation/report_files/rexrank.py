"""Predicted reports in the shape of ReXrank's submissions: ``{study: {.., "model_prediction": ".."}}``.

Source: the public example files of ReXrank. Its evaluation reads ``section_findings``, ``section_impression``
and ``model_prediction`` of each study.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.evaluation.report_files.content import decoded, read_bytes
from harness.evaluation.report_files.joining import joined_ids
from harness.evaluation.report_files.reader import ReportFile, read_reports

PREDICTION = "model_prediction"


def rexrank_json(references: Path, predictions: Path) -> str:
    """A submission with every study of the references.

    References that are ReXrank's own file, or any JSON object id -> record, keep the fields of their records.
    Others become ``section_findings``, and there is no impression.

    Raises:
        HarnessError: files that cannot be read or joined, or that have no ids.
    """
    true, ours = read_reports(references, "references"), read_reports(predictions, "predictions")
    ids = joined_ids(true, ours)
    if true.order != "ids":
        raise HarnessError(f"{references}: a submission needs ids", "write both files with ids")
    records = _records(true)
    return json.dumps({name: records[name] | {PREDICTION: ours.texts[name]} for name in ids}, indent=1) + "\n"


def _records(file: ReportFile) -> dict[str, dict[str, Any]]:
    """The fields of each study."""
    if file.shape == "an object id -> record":
        content = json.loads(decoded(file.path, read_bytes(file.path)))
        if set(content) >= set(file.texts):
            return {name: dict(content[name]) for name in file.texts}
    return {name: {"section_findings": text, "section_impression": ""} for name, text in file.texts.items()}
