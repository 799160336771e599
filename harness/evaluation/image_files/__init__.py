"""Generated images of any system from folders of files."""
