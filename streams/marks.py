"""Marks: digests that tell what is said apart from what was said before."""

from __future__ import annotations

import hashlib

import orjson

from domain.commands import JobSpec
from streams.callers import Caller


def body_hash(spec: JobSpec, items_sha256: str) -> str:
    """The digest of a job as it is described, with its items."""
    body = orjson.dumps(spec.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body + items_sha256.encode()).hexdigest()


def mark(caller: Caller, words: str) -> str:
    """Tells commands apart; nobody can use up the keys of another tenant."""
    return hashlib.sha256(f"{caller.tenant}\n{words}".encode()).hexdigest()[:16]
