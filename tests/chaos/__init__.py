"""The fault campaign: real workers, real services, faults from a seed, and the invariant counted at the end."""
