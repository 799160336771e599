"""What a check of an audit raises."""

from __future__ import annotations


class Breach(Exception):
    """A check failed; the message says where."""
