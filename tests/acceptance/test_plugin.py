"""A plug-in as an outsider writes it: all an engine does, and no change of the engine."""
