"""The box: a process of its own in which a plugin is imported, trained and asked, and which holds no answers.

``Boxes`` starts such processes, ``Box`` asks one of them. What goes in and what comes out is data: JSON and
arrays, never pickles. On Linux the kernel confines the process; elsewhere ``Box.confined`` is empty.
"""
