"""A film cut where nobody sees it: what can be divided, where, and how parts and joins are made and proved."""
