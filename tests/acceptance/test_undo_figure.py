"""Undo of many updates, some changed later: the rest is as before, and conflicts are named."""
