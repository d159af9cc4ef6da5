"""Marks: digests that tell what is said apart from what was said before."""

from __future__ import annotations

import hashlib

import orjson

from domain.commands import BaseCommand, JobSpec
from streams.callers import Caller


def body_hash(spec: JobSpec, items_sha256: str) -> str:
    """The digest of a job as it is described, with its items."""
    body = orjson.dumps(spec.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body + items_sha256.encode()).hexdigest()


def submission(job_id: str) -> str:
    """The id of the command that makes a job: its key leads to the job, and so to the command."""
    return f"{job_id}.submit"


def command_hash(command: BaseCommand) -> str:
    """The digest of what a command asks for, whoever sends it and whatever version it expects."""
    asked = command.model_dump(mode="json", exclude={"command_id", "actor", "if_version"})
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


def mark(caller: Caller, words: str) -> str:
    """Tells commands apart; nobody can use up the keys of another tenant."""
    return hashlib.sha256(f"{caller.tenant}\n{words}".encode()).hexdigest()[:16]
