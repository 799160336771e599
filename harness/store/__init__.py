"""The results store on disk: cells of trained methods, results of leaderboard rows, audit verdicts. No torch.

Every other room reads and writes stored files through this one. ``store.py`` shows the layout of the folders.
"""

OWN_FOLDERS = ("cells", "masks", "results", "audits", "timings", "downstream")
"""What a store keeps for itself beside its marker."""
SHOWN_FOLDERS = ("samples", "tables")
"""What it makes for people."""
