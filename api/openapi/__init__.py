"""The OpenAPI document of the HTTP API, made from the table of routes and the models.

``docs/openapi.json`` is what this package makes, and a test holds it to that.
"""

from api.openapi.document import describe, text

__all__ = ["describe", "text"]
