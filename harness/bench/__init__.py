"""``harness bench``: what the harness costs, each time as a ratio against a peer in the same run."""
