"""A client that drops and comes back sees every event of a job once and in order.

The server is killed meanwhile; Last-Event-ID is all that the client keeps.
"""

from __future__ import annotations

import http.client
import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from domain.planning import FIRST_ITEMS, LONG_MS
from tests.acceptance.reader import PATIENCE, Seen, StreamOver, follow
from tests.acceptance.stack import Stack
from tests.crash.client import Client
from tests.crash.seeds import SEED

CHUNK = FIRST_ITEMS // 2 + 1
MS = 0.6 * LONG_MS / CHUNK
"""Two chunks do not share a dispatch, so that each has events of its own: they are more than a
first one holds, and take longer than one aims at."""
MOST = 6
"""Events that the client waits for before it drops."""


@dataclass
class Wanderer:
    """A client that keeps nothing but the id of the last event it has seen."""

    url: str
    job_id: str
    chance: random.Random
    seen: list[Seen] = field(default_factory=list)
    drops: int = 0
    ends: int = 0
    """How often it was the server that ended a stream, by its death or after the last event."""

    @property
    def last(self) -> int | None:
        return self.seen[-1].version if self.seen else None

    def look(self, most: int | None, at_first: Callable[[], None] | None = None) -> None:
        """See so many stored events, then drop; None for all until the server ends.

        ``at_first`` is called after the first of them. Raises StreamOver when the server says
        that there is nothing more.
        """
        left = most
        try:
            with closing(follow(self.url, self.job_id, self.last)) as events:
                for event in events:
                    if event.version is None:
                        continue
                    self.seen.append(event)
                    if at_first is not None:
                        at_first()
                        at_first = None
                    if left is not None and (left := left - 1) == 0:
                        self.drops += 1
                        return
        except (OSError, http.client.HTTPException):
            # The server has died: come back, as any client of such a stream does.
            time.sleep(0.02)
        self.ends += 1

    def drop_until(self, drops: int) -> None:
        """Look and drop until it has dropped so often."""
        until = time.monotonic() + PATIENCE
        while self.drops < drops:
            assert time.monotonic() < until, f"nothing comes after event {self.last}"
            self.look(self.chance.randint(1, MOST))

    def see_the_end(self) -> None:
        """Follow to the end, where the server says that this was all."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                self.look(None)
            except StreamOver:
                return
        raise AssertionError("the stream does not end")


def _stored(stack: Stack, job_id: str) -> list[tuple[int, str]]:
    """Version and name of each event, past the engine."""
    sql = "SELECT version, alias FROM events WHERE job_id = :job_id ORDER BY version"
    return [(version, name) for version, name in stack.rows(sql, job_id=job_id)]


def _wander(stack: Stack, *, chunks: int, drops: int, kills: int) -> None:
    """A job of so many chunks, watched by a client that drops; asserts what it must see."""
    client = Client(stack.url)
    steps = [{"ms": MS}] * (chunks * CHUNK)
    job_id = client.submit(f"walk {chunks}", "walker.step", steps, options={"chunk_size": CHUNK})
    wanderer = Wanderer(stack.url, job_id, random.Random(SEED))
    for part in range(1, kills + 1):
        wanderer.drop_until(drops * part // (kills + 1))
        assert client.job(job_id)["status"] == "running", "the job must be under way when we kill"
        wanderer.look(None, at_first=stack.kill_engine)
        status = wanderer.seen[-1].data["status"]
        assert status == "running", "the stream ends with the engine, not with the job"
    wanderer.drop_until(drops)
    wanderer.see_the_end()
    assert wanderer.ends > kills

    seen = [(event.version, event.name) for event in wanderer.seen]
    assert seen == _stored(stack, job_id)
    assert [version for version, _ in seen] == list(range(1, len(seen) + 1))
    assert wanderer.seen[-1].data["status"] == "completed"
    assert wanderer.seen[-1].data["counts"]["succeeded"] == chunks * CHUNK
    with pytest.raises(StreamOver):
        next(follow(stack.url, job_id, wanderer.last))
    stack.tell(
        "events seen once and in order",
        len(seen),
        drops=wanderer.drops,
        kills=kills,
        seed=SEED,
    )


@pytest.mark.crash
def test_a_client_that_drops_ten_times_over_a_kill_sees_all(stack: Stack) -> None:
    _wander(stack, chunks=34, drops=10, kills=1)


@pytest.mark.proof
@pytest.mark.crash
def test_a_client_that_drops_fifty_times_over_two_kills_sees_all(stack: Stack) -> None:
    _wander(stack, chunks=250, drops=50, kills=2)
