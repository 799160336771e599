"""What the two controls that answer every question share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.core.errors import CorruptFileError


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path}: {error}", "delete its folder and run again") from error
