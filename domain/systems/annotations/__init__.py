"""Annotations: labelled spans of texts, in projects. The first system that ships."""
