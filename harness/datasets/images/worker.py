"""A process that decodes images into an image store; see ``harness.datasets.images.filling``."""

from __future__ import annotations

from harness.core.signals import leave_to_parent
from harness.datasets.images.filling import serve

if __name__ == "__main__":
    leave_to_parent()
    serve()
