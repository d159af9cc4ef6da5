"""The AsyncAPI document: as generated, valid, and true of what is encoded and decoded.

``asyncapi-3.0.0.json`` is the specification's own JSON Schema for documents, unchanged:
``schemas/3.0.0-without-$id.json`` of the npm package ``@asyncapi/specs`` 6.11.1, copyright the
AsyncAPI Initiative and contributors, Apache-2.0 (the licence of this project as well).
"""
