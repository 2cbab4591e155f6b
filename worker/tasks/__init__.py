"""The modules that a job may name, one file each."""
