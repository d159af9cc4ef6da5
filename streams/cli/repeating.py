"""Repeating: what has a key is asked again while nobody knows whether it was done.

An undo whose answer was lost must not be said a second time without its key: that would undo
the undo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import uuid4

from domain.errors import InvalidCommand
from streams.cli.exits import Problem, Unreachable, is_for_later, is_passing, retry_after
from streams.cli.output import say
from streams.cli.patience import Lost, Patience

T = TypeVar("T")
MAX_KEY = 255


def key_or_new(key: str) -> str:
    """The key that the caller gives, or one that nobody else has; raises InvalidCommand."""
    if not key:
        return str(uuid4())
    if len(key) > MAX_KEY or not (key.isascii() and key.isprintable()):
        raise InvalidCommand(f"--key must be 1 to {MAX_KEY} printable ASCII characters")
    return key


def by_key(key: str) -> str:
    """How a person repeats what was asked under a key."""
    return f"repeat it with --key {key}: whatever has become of it, it is done once"


async def repeated(
    ask: Callable[[], Awaitable[T]], again: str, patience: Patience | None = None
) -> T:
    """What ``ask`` returns; asked again for a while, once it may have been heard.

    Without ``patience`` it cannot be asked again from here. ``again`` goes with the error at
    the end, and says how a person repeats it.
    """
    clock = asyncio.get_running_loop().time
    lost = Lost(patience, clock, patience.asking) if patience else None
    heard = told = False
    while True:
        try:
            return await ask()
        except (Problem, Unreachable) as error:
            heard = heard or not (isinstance(error, Unreachable) and error.unheard)
            if not heard or not is_for_later(error):
                raise
            error.add_note(again)
            wait = lost.next(retry_after(error)) if lost and is_passing(error) else None
            if wait is None:
                raise
        if not told:
            say("no answer that says what became of it; asking again")
        told = True
        await asyncio.sleep(wait)
