"""The composition root: Settings become a running worker, its commands, a server. Only here are concrete classes named.

Nothing is imported before it is asked for: `leveret job ID` needs the database alone.
"""
