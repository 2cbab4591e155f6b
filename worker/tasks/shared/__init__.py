"""What several modules use."""
