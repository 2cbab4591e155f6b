"""The checks of `doctor`: each returns what is, and what to do about it."""
