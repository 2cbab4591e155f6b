"""Scenes that become films: each visualizer turns typed options into commands, and knows its frames beforehand."""
