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
    id: int
    hash: bytes


def event_hash(previous: bytes, event: EventRow) -> bytes:
    """SHA-256 (32 bytes) over the previous hash and every column of the event."""
    return stored_hash(
        previous,
        event.id,
        event.version,
        event.job_id.encode(),
        event.alias.encode(),
        event.tenant.encode(),
        event.actor.encode(),
        event.command_id.encode(),
        event.state,
    )


def stored_hash(previous: bytes, number: int, version: int, *columns: bytes) -> bytes:
    """The same over stored bytes: job id, alias, tenant, actor, command id, state."""
    return hashlib.sha256(framed(previous, b"%d" % number, b"%d" % version, *columns)).digest()


def framed(*parts: bytes) -> bytes:
    """The parts, each preceded by its length in 8 bytes: no two lists give the same."""
    return b"".join([struct.pack(">Q", len(part)) + part for part in parts])
