"""Tables of files that belong to jobs. They belong to the metadata of :mod:`.schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, String, Table, Text

from streams.stores.schema import metadata

__all__ = ["job_file_pieces", "job_files", "job_parts", "metadata"]

job_files = Table(
    "job_files",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("role", String(20), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("project_id", BigInteger),
    Column("name", String(300), nullable=False),
    Column("media_type", String(100), nullable=False),
    Column("about", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    # Both are there once the file is whole, and not before.
    Column("size", BigInteger),
    Column("sha256", String(64)),
    Index("job_files_created", "created_at"),
)
"""Files of jobs, as what an import has rejected; ``role`` says what a file is to its job, and
``about`` is a JSON object of its system's own."""

job_file_pieces = Table(
    "job_file_pieces",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("role", String(20), primary_key=True),
    Column("piece", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)
"""What is in them; each piece but the last has the same size."""

job_parts = Table(
    "job_parts",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("created_at", Double, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("job_parts_created", "created_at"),
)
"""What jobs have made of their items, compressed, until a file is put together of it; a part is
known by the first of its items."""
