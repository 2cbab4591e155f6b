"""Films divided into parts: which can be divided, where, and how parts and joins are made and proved."""
