"""Every option that a job may give, with a path as its value, traced: no tool may touch that path."""
