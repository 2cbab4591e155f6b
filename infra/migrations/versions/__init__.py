"""The steps, oldest first: one file each, named after its revision."""
