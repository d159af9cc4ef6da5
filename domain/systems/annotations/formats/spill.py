"""Where a reader keeps what does not fit into memory: a nameless database that goes with it."""

from __future__ import annotations

import sqlite3
from types import TracebackType

CACHE_KIB = 8 * 1024


class Spill:
    """A temporary database: some pages in memory, the rest in a file that nobody else sees."""

    def __init__(self, schema: str) -> None:
        # A reader may be advanced by one thread after the other, never by two at a time.
        self.database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self.database.executescript(
            f"PRAGMA cache_size = -{CACHE_KIB}; PRAGMA journal_mode = OFF;"
            f" PRAGMA synchronous = OFF; PRAGMA temp_store = FILE; BEGIN; {schema}"
        )

    def __enter__(self) -> sqlite3.Connection:
        return self.database

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.database.close()
