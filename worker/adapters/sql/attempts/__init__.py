"""The store of claims and attempts, and its statements."""
