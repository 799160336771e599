"""A plugin whose import fails with a text that quotes a report."""

raise ValueError("SECRET: there is a small left effusion")
