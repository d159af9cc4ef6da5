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
from streams.cli.exits import (
    Problem,
    Unreachable,
    is_for_later,
    is_in_doubt,
    is_passing,
    retry_after,
)
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

    Without ``patience`` it cannot be asked again from here. ``again`` says how a person repeats
    it: it goes with the error at the end, when nobody knows whether it was done, and is said to
    who does not wait for that.
    """
    clock = asyncio.get_running_loop().time
    asked = _Asked(again, Lost(patience, clock, patience.asking) if patience else None)
    try:
        while True:
            try:
                return await ask()
            except (Problem, Unreachable) as error:
                wait = asked.wait(error)
                if wait is None:
                    raise
            await asyncio.sleep(wait)
    except asyncio.CancelledError:
        say(f"nobody knows whether it was done; {again}")
        raise


class _Asked:
    """What has come of asking so far, and what a person was told of it."""

    def __init__(self, again: str, lost: Lost | None) -> None:
        self._again = again
        self._lost = lost
        self._heard = self._in_doubt = False
        self._told: set[str] = set()

    def wait(self, error: Problem | Unreachable) -> float | None:
        """Seconds until it is asked again; None when it is not."""
        self._heard = self._heard or not (isinstance(error, Unreachable) and error.unheard)
        if not self._heard or not is_for_later(error):
            return None
        self._in_doubt = self._in_doubt or is_in_doubt(error)
        if self._in_doubt:
            error.add_note(self._again)
        wait = self._lost.next(retry_after(error)) if self._lost and is_passing(error) else None
        if wait is not None:
            self._tell(error)
        return wait

    def _tell(self, error: Problem | Unreachable) -> None:
        """Say it to a person, each once."""
        lost = isinstance(error, Unreachable) or is_in_doubt(error)
        why = "no answer that says what became of it" if lost else "the server cannot now"
        if why not in self._told:
            say(f"{why}; asking again")
        self._told.add(why)
