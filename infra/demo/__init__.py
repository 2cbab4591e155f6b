"""`make demo`, room by room: its places, its source, its messages, its processes; `__main__` is the whole of it."""
