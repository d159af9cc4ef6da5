"""Records: versioned rows with history, before-images and undo, on SQLAlchemy Core.

``port`` writes, ``images`` is what writes leave behind, ``undo`` puts it back,
``history`` tells who wrote, ``past`` what, ``sights`` whether what was read still stands;
``sqlite`` and ``postgresql`` are all that differs.
"""

from __future__ import annotations

from streams.stores.records.ahead import Ahead
from streams.stores.records.foresight import Foresight
from streams.stores.records.goals import fellows_of
from streams.stores.records.history import HistoryEntry, record_history, record_table_id
from streams.stores.records.port import SqlRecords
from streams.stores.records.sights import Contention, Crowds
from streams.stores.records.together import Together
from streams.stores.records.undo import Restoration, restore

__all__ = [
    "Ahead",
    "Contention",
    "Crowds",
    "Foresight",
    "HistoryEntry",
    "Restoration",
    "SqlRecords",
    "Together",
    "fellows_of",
    "record_history",
    "record_table_id",
    "restore",
]
