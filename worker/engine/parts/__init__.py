"""A job made by several workers: its plan as rows and messages, its parts, its join, and what is removed at the end."""
