"""The HTTP API over the streams."""
