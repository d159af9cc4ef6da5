"""Chain: the hash that ties each stored event of a job to the one before it."""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

GENESIS = bytes(32)
"""What stands for the hash before a job's first event."""


class EventRow(NamedTuple):
    """An event as it is stored, in the order in which its hash takes the columns in."""

    id: int
    job_id: str
    version: int
    alias: str
    tenant: str
    actor: str
    command_id: str
    state: bytes


class Head(NamedTuple):
    """The last event of a job, as far as somebody has seen it."""

    job_id: str
    version: int
    hash: bytes


def event_hash(previous: bytes, event: EventRow) -> bytes:
    """SHA-256 (32 bytes) over the previous hash and every column of the event.

    Each part is preceded by its length, so that no two events have the same encoding.
    """
    return hash_of_parts(
        previous,
        b"%d" % event.id,
        event.job_id.encode(),
        b"%d" % event.version,
        event.alias.encode(),
        event.tenant.encode(),
        event.actor.encode(),
        event.command_id.encode(),
        event.state,
    )


def hash_of_parts(*parts: bytes) -> bytes:
    """SHA-256 over byte strings, each preceded by its length as 8 bytes."""
    return hashlib.sha256(
        b"".join([struct.pack(">Q", len(part)) + part for part in parts])
    ).digest()
