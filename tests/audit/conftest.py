"""The audit trail is the same on SQLite and PostgreSQL."""

from __future__ import annotations

from tests.databases import database, database_url, sqlite_database

__all__ = ["database", "database_url", "sqlite_database"]
