"""Steps that several modules use."""
