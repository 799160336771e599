"""A process that decodes images into an image store; see ``harness.datasets.images.filling``."""

from __future__ import annotations

import signal

from harness.datasets.images.filling import serve

if __name__ == "__main__":
    # The parent ends this process; Ctrl-C at a terminal would reach it too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve()
