"""Tables of what happens outside of the database. They belong to the metadata of :mod:`.schema`."""

from __future__ import annotations

from sqlalchemy import Column, Double, Integer, LargeBinary, String, Table

from streams.stores.schema import metadata

__all__ = ["compensations", "metadata"]

compensations = Table(
    "compensations",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("stage", String(20), nullable=False),
    Column("result", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
)
"""Items whose effects outside were to be taken back, each with how far that has come, by the undo
of which ``generation``; one that is ``done`` stays so."""
