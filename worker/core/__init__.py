"""The values of Leveret and the rules over them. Nothing here does I/O."""
