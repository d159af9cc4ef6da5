"""Chaos: the scaled engine as real processes whose world breaks under them, judged by an oracle."""
