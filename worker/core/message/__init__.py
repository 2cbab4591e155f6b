"""The message: its bytes, its dialects, and what is kept of one that died."""
