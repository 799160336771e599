"""How tables, robustness reports and sample sheets are written: one module per format.

``text.py`` says how a number, a cost and foreign text are written in all of them; ``formats.py`` finds the
module of a format. ``latex.py`` holds what every LaTeX table needs (floats, escaping, a document), and
``leaderboard_latex.py`` writes a leaderboard with it.
"""
