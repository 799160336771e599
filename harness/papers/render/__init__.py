"""A paper's tables beside our results, as text, markdown, HTML and LaTeX."""
