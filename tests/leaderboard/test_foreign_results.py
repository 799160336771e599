"""Results of others: what their texts could do to a terminal, a page or a reader is taken from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import formats
from tests.helpers.leaderboards import small_store

HOSTILE = "\x1b[31mred\x1b[0m\u202eabc<img src=x onerror=alert(1)>[/]`a`\x07"
FIELDS = (
    "metric",
    "method",
    "dataset",
    "preset",
    "drop",
    "mechanism",
    "signature",
    "detail",
    "device",
    "command",
)


def planted(value: Any, field: str) -> Any:
    """A copy in which every text under a name is hostile."""
    if isinstance(value, dict):
        return {
            name: HOSTILE if name == field and isinstance(each, str) else planted(each, field)
            for name, each in value.items()
        }
    return [planted(each, field) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("format_", ["markdown", "html", "csv", "latex", "json"])
@pytest.mark.parametrize("field", FIELDS)
def test_no_escape_code_no_direction_and_no_tag_is_shown(field: str, format_: str, tmp_path: Path) -> None:
    content = json.loads(Leaderboard.of(small_store(tmp_path / "store")).to_json())
    file = tmp_path / "foreign.json"
    file.write_text(json.dumps(planted(content, field) | {"tables": [], "states": []}))
    rendered = formats.render(Leaderboard.from_json(file), format_)
    text = rendered.decode() if isinstance(rendered, bytes) else rendered
    assert not {"\x1b", "\u202e", "\x07"} & set(text)
    if format_ in ("markdown", "html"):
        bare = text.replace("\\<", "")
        assert not any("<img" in part for part in bare.split("`")[::2])
