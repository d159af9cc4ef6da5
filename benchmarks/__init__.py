"""What the engine costs beside scripts that do the same work: `python -m benchmarks`."""
