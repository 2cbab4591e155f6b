"""Specifications become commands, tool texts become values. Nothing here does I/O."""
