"""Schemas: all tables of the engine and of its systems, whichever module declares them."""

from __future__ import annotations

from domain.systems.annotations import tables
from streams.stores import (
    schema,
    schema_buckets,
    schema_callers,
    schema_files,
    schema_items,
    schema_keeping,
    schema_outside,
    schema_reports,
    schema_webhooks,
)

_MODULES = (
    *(schema, schema_buckets, schema_callers, schema_files, schema_items, schema_keeping),
    *(schema_outside, schema_reports, schema_webhooks, tables),
)
OURS = tuple(dict.fromkeys(module.metadata for module in _MODULES))
"""What their migrations make."""
