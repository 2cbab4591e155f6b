"""One attempt, from claim to record."""
