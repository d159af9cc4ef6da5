"""Stores: what is kept, on SQLAlchemy Core, in one SQLite file or one PostgreSQL database.

Functions here take the caller's connection, so that what belongs together is one
transaction; :class:`~streams.stores.database.Database` opens and commits it.
"""
