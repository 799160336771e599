"""Tables from stored results: ranked, rendered in every format, and bundled to share. No torch, no dataset.

- leaderboard: all tables of a store (``leaderboard.py``);
- table: methods on one dataset under one missingness protocol, by one group of metrics (``tables.py``);
- ranking: the order of the methods in a table, from paired bootstrap replicates (``ranking.py``);
- spec: a YAML file that says which columns, rates and order the tables have (``spec.py``);
- robustness report: how every method holds up as modalities go missing (``robustness.py``);
- bundle: the one file of aggregates that may leave a hospital (``bundle.py``);
- ``render/``: markdown, LaTeX, HTML, CSV, Parquet, terminal and figures.
"""
