"""YAML that users write: plain values, each key once, no aliases, of a limited size."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from harness.core.user_files import read_user_file

_MOST_BYTES = 2**24


class _Loader(yaml.SafeLoader):
    """Plain values, with keys that are checked."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node; an alias may stand for itself, or multiply to more than any memory holds."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping without repeated keys, of which YAML would keep the last."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        repeated = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
        if repeated is not None:
            raise yaml.YAMLError(f"the key {repeated[:40]} stands twice")
        return super().construct_mapping(node, deep)


# Dates stay text: no setting is one. So do numbers of another base: in YAML 1.1 010 is 8 and 1:30 is 90.
_DECIMAL = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(?:0|[1-9][0-9_]*)\Z"),
    "tag:yaml.org,2002:float": re.compile(
        r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, _DECIMAL.get(tag, pattern)) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"
    ]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: str) -> Any:
    """The value of a text.

    Raises:
        yaml.YAMLError: its first line says what is wrong.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise yaml.YAMLError("nested too deep") from None
    except (ValueError, TypeError, KeyError) as error:
        raise yaml.YAMLError(f"a value that cannot be read ({type(error).__name__})") from None


def read(path: Path) -> Any:
    """The value of a file.

    Raises:
        OSError: it cannot be read.
        yaml.YAMLError: its first line says what is wrong.
    """
    content = read_user_file(path, _MOST_BYTES)
    try:
        return parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise yaml.YAMLError(f"not UTF-8 at byte {error.start}") from None
