"""Tables of what items are called. They belong to the metadata of :mod:`.schema`."""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, String, Table

from streams.stores.schema import metadata

__all__ = ["item_keys", "item_marks", "metadata", "repeated_items"]

item_keys = Table(
    "item_keys",
    metadata,
    Column("upload_id", String(64), primary_key=True),
    Column("digest", LargeBinary(16), primary_key=True),
    Column("position", Integer, primary_key=True),
    sqlite_with_rowid=False,
)
"""What the items of an upload are called, by digest; ``position`` counts within the upload."""

repeated_items = Table(
    "repeated_items",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("winner", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""Items of a job that are skipped, each with the position of the one that stands for it."""

item_marks = Table(
    "item_marks",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("mark", String(200), primary_key=True),
    Column("position", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""What items of a job have said of themselves, each with the first that has said it."""
