"""The store of divided jobs, and its statements."""
