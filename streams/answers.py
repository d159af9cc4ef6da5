"""Answers: what became of a command, on the outcomes topic, for those who only read topics.

The decisions table is the truth and what our own edge waits for. An answer is published
after that row is stored, at least once, after the work that the command caused was sent.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
from pydantic import ValidationError

from domain.commands import Command
from domain.errors import MessageUnreadable
from streams import topics
from streams.envelope import CommandDecided, DecisionStatus, Outgoing, Problem, encode
from streams.stores.decisions import Decision

Answering = Callable[[Command, Decision], list[Outgoing]]


def answers(command: Command, decision: Decision) -> list[Outgoing]:
    """What the outcomes topic says of the decision on a command: one message."""
    problem = decision.problem
    told = _published(
        CommandDecided(
            job_id=command.job_id,
            tenant=command.tenant,
            command_id=command.command_id,
            command=command.type,
            status=DecisionStatus.ACCEPTED if problem is None else DecisionStatus.REFUSED,
            version=decision.version,
            problem=None if problem is None else Problem.model_validate(problem),
        )
    )
    return [told]


def buried(value: bytes | None, problem: Problem) -> list[Outgoing]:
    """That a command went to the dead-letter topic, if it says whom to tell.

    What is unreadable stays so; anything else may be sent again once its cause is mended.
    """
    final = problem.code == MessageUnreadable.code
    try:
        document = orjson.loads(value or b"")
        told = CommandDecided(
            job_id=document["job_id"],
            tenant=document["tenant"],
            command_id=document["command_id"],
            command=document["type"],
            status=DecisionStatus.REFUSED if final else DecisionStatus.HELD,
            version=0,
            problem=problem,
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValidationError):
        return []
    return [_published(told)]


def _published(message: CommandDecided) -> Outgoing:
    return Outgoing(topics.OUTCOMES, message.job_id.encode(), encode(message))
