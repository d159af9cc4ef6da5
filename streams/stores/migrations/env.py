"""Loaded by Alembic for each run; :mod:`streams.stores.migrate` hands over the connection."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
)
# The caller has begun the transaction and will commit it.
context.run_migrations()
