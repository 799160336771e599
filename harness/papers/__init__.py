"""Published numbers beside ours: the papers' tables as data, their consistency, and our results beside them.

A paper is a YAML file (``schema.py`` says what it may hold, ``library.py`` finds it). ``checks.py`` asks
whether its numbers agree with each other, ``compare.py`` puts measured numbers beside them, ``commands.py``
names the command that fills a gap, and ``render/`` writes the pages. No torch, no dataset.
"""
