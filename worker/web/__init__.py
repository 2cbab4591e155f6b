"""The page and the API: one process beside the workers, which holds no job and may end and start at any time."""
