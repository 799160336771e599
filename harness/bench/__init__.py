"""``harness bench``: how fast the harness is, always as a ratio against a peer in the same run."""
