"""Reservations of idempotency keys, whoever else forgets old ones at the same time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, select, update

from streams.stores import decisions
from streams.stores.database import Database, Work
from streams.stores.decisions import FRESH_SECONDS, Decision, remove_old, reserve
from streams.stores.schema import reservations

FIRST, LATER = 1000.0, 1_000_000.0
BLOCKED_SECONDS = 0.5


def _use(connection: Connection, at: float, job_id: str = "job") -> str:
    return reserve(connection, tenant="local", key="key", body_hash="same", job_id=job_id, now=at)


def _state(database: Database) -> list[tuple[str, float, bool]]:
    told = select(reservations.c.job_id, reservations.c.created_at, reservations.c.kept)
    return [tuple(row) for row in database.read_now(lambda found: found.execute(told).all())]


@pytest.fixture
def used(database: Database) -> Database:
    """A key was used for a job that nobody has decided on."""
    database.write_now(lambda found: _use(found, FIRST))
    return database


def test_a_key_that_is_used_again_is_as_young_as_a_new_one(used: Database) -> None:
    assert used.write_now(lambda found: _use(found, LATER, "another")) == "job"
    assert _state(used) == [("job", LATER, False)]
    assert used.write_now(lambda found: remove_old(found, LATER)) == 0
    assert used.write_now(lambda found: remove_old(found, LATER + 1)) == 1
    assert _state(used) == []


@pytest.mark.parametrize(
    ("kept", "at"), [(False, FIRST + FRESH_SECONDS), (False, FIRST - 1), (True, LATER)]
)
def test_a_repeat_writes_nothing_where_the_key_is_kept_or_young(
    used: Database, kept: bool, at: float
) -> None:
    used.write_now(lambda found: found.execute(update(reservations).values(kept=kept)))
    assert used.write_now(lambda found: _use(found, at, "another")) == "job"
    assert _state(used) == [("job", FIRST, kept)]


def _in_turn(database: Database, first: Work[object], second: Work[object]) -> list[object]:
    """What both return; the second begins while the first has done its work, uncommitted."""
    begun = threading.Event()

    def slowly(connection: Connection) -> object:
        done = first(connection)
        begun.set()
        time.sleep(BLOCKED_SECONDS)
        return done

    with ThreadPoolExecutor(2) as pool:
        holding = pool.submit(database.write_now, slowly)
        assert begun.wait(10)
        waiting = pool.submit(database.write_now, second)
        return [holding.result(), waiting.result()]


def test_a_key_is_not_forgotten_by_who_found_it_before_it_was_used_again(used: Database) -> None:
    _in_turn(used, lambda found: _use(found, LATER), lambda found: remove_old(found, LATER))
    assert _state(used) == [("job", LATER, False)]


def test_a_key_that_is_being_forgotten_is_used_for_the_new_job(used: Database) -> None:
    work = _in_turn(
        used, lambda found: remove_old(found, LATER), lambda found: _use(found, LATER, "another")
    )
    assert work == [1, "another"]
    assert _state(used) == [("another", LATER, False)]


def test_a_key_is_not_forgotten_by_who_found_it_before_its_command_was_accepted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a verb's whose command was decided between the look at it and its end."""
    command_id = "job.undo.mark"
    database.write_now(
        lambda found: reserve(
            found,
            tenant="local",
            key="key",
            body_hash="same",
            job_id="job",
            now=FIRST,
            kept_as=command_id,
        )
    )
    delete = decisions.delete

    def decided(connection: Connection) -> int:
        def late(table: object) -> object:
            if table is reservations:
                decisions.store_decision(connection, command_id, Decision("job", 2), LATER)
            return delete(table)  # type: ignore[arg-type]

        monkeypatch.setattr(decisions, "delete", late)
        return remove_old(connection, LATER)

    assert database.write_now(decided) == 1
    assert _state(database) == [("job", FIRST, False)]
