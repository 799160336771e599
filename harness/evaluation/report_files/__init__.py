"""Reports of any system from the files that people write them to; ``reader.read_reports`` is the way in."""
