"""Every contract of a store is kept by SQLite and by PostgreSQL."""

from __future__ import annotations

from tests.databases import (
    database,
    database_url,
    empty_database_url,
    shared_database,
    sqlite_database,
)

__all__ = [
    "database",
    "database_url",
    "empty_database_url",
    "shared_database",
    "sqlite_database",
]
