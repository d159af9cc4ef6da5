"""Slow items: a kill repeats only what was in flight; the API answers quickly meanwhile."""
