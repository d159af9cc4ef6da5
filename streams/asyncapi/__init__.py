"""The AsyncAPI document of all topics, made from the vocabularies themselves.

``docs/asyncapi.json`` is what this package makes, and a test holds it to that.
"""

from streams.asyncapi.document import describe, text

__all__ = ["describe", "text"]
