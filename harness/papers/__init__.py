"""Published numbers beside ours: tables as data, checks of their consistency, comparison with results."""
