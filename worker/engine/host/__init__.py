"""The worker around the executor: its loop, its presence, its host."""
