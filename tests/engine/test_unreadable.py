"""What is stored and cannot be read stops nothing else, and is not passed over in silence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

import orjson
import pytest
from sqlalchemy import Update, select, update
from structlog.testing import capture_logs

from domain.commands import PauseJob, RetryJob, UndoJob
from domain.errors import Unavailable, UnsupportedVersion
from domain.events import JobStatus
from domain.registry import Registry
from streams import topics
from streams.deadletters import Burial, Letter, bury, redrive
from streams.envelope import Outgoing, decode_work, encode
from streams.failpoints import Failpoints
from streams.outbox import READER, Outbox
from streams.projector import Projector
from streams.stores import decisions, migrate, read_model
from streams.stores.database import Database
from streams.stores.overdue import overdue
from streams.stores.schema import chunks, events, job_list, outcomes
from streams.timers import DECISION_SECONDS, Timers
from tests.databases import damage, database, database_url
from tests.engine.stages import Stages, document
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


@pytest.fixture
def sent() -> list[Outgoing]:
    return []


@pytest.fixture
def outbox(stages: Stages, sent: list[Outgoing]) -> Outbox:
    async def send(messages: Sequence[Outgoing]) -> None:
        sent.extend(messages)

    return Outbox(
        database=stages.database,
        recorder=stages.recorder,
        mapper=stages.jobs.job_mapper,
        send=send,
        failpoints=Failpoints(),
    )


@pytest.fixture
def projector(stages: Stages) -> Projector:
    return Projector(
        database=stages.database,
        recorder=stages.recorder,
        mapper=stages.jobs.job_mapper,
        failpoints=Failpoints(),
    )


@pytest.fixture
def timers(stages: Stages, sent: list[Outgoing]) -> Timers:
    async def send(outgoing: Outgoing) -> None:
        sent.append(outgoing)

    return Timers(database=stages.database, clock=stages.clock, send=send)


async def two_jobs(stages: Stages) -> tuple[str, str]:
    found = [await stages.submit("stock.create", [{"name": "x"}] * 3) for _ in range(2)]
    await stages.run_dry()
    return found[0], found[1]


def rewrite(stages: Stages, job_id: str, version: int, **columns: object) -> None:
    its_own = (events.c.job_id == job_id) & (events.c.version == version)
    damage(stages.database, update(events).where(its_own).values(**columns))


def places(sent: list[Outgoing]) -> list[int]:
    """The places in the log of what was sent, letters included."""
    return [
        Burial.of(one.headers).offset if one.topic == topics.DEAD else document(one)["position"]
        for one in sent
    ]


async def test_a_damaged_event_is_buried_in_its_turn_and_the_others_follow(
    stages: Stages, outbox: Outbox, sent: list[Outgoing]
) -> None:
    sick, well = await two_jobs(stages)
    rewrite(stages, sick, 2, state=b"{")
    with capture_logs() as logs:
        while await outbox.publish():
            pass
        await outbox.save()
        assert not await outbox.publish()
    count = len(await stages.rows("SELECT id FROM events"))
    assert places(sent) == list(range(1, count + 1)), "in order, each once"
    (letter,) = [one for one in sent if one.topic == topics.DEAD]
    burial = Burial.of(letter.headers)
    assert (letter.key, letter.value) == (sick.encode(), b"{")
    assert (burial.topic, burial.code) == (topics.EVENTS, "unreadable")
    assert f"version 2 of job {sick}" in burial.reason
    told = dict(letter.headers)
    assert (told["job_id"], told["version"]) == (sick.encode(), b"2")
    assert told["position"] == str(burial.offset).encode()
    critical = [entry for entry in logs if entry["log_level"] == "critical"]
    assert [(entry["event"], entry["job_id"], entry["version"]) for entry in critical] == [
        ("event_buried", sick, 2)
    ]
    stored = await stages.database.read(lambda c: read_model.position(c, READER))
    assert stored == count
    assert any(document(one)["job_id"] == well for one in sent if one is not letter)


async def test_an_event_of_a_later_release_waits_for_the_upgrade_with_all_behind_it(
    stages: Stages, outbox: Outbox, sent: list[Outgoing], projector: Projector
) -> None:
    early, _ = await two_jobs(stages)
    rewrite(stages, early, 2, alias="job.teleported")
    with pytest.raises(Unavailable, match="later release"):
        await outbox.publish()
    before = places(sent)
    with pytest.raises(Unavailable, match="later release"):
        await outbox.publish()
    assert places(sent) == before, "nothing twice, and nothing out of its turn"
    with pytest.raises(Unavailable, match="later release"):
        await projector.project()
    rewrite(stages, early, 2, alias="job.chunks_planned")
    while await outbox.publish():
        pass
    await projector.project()
    assert places(sent) == list(range(1, len(sent) + 1))
    assert all(one.topic == topics.EVENTS for one in sent)


@pytest.mark.parametrize(("version", "listed"), [(2, 2), (1, 1)])
async def test_the_list_of_jobs_passes_over_a_damaged_event(
    stages: Stages, projector: Projector, version: int, listed: int
) -> None:
    sick, well = await two_jobs(stages)
    rewrite(stages, sick, version, state=b"[]")
    with capture_logs() as logs:
        while await projector.project():
            pass
    assert {entry["event"] for entry in logs} == {"event_not_listed"}
    page = await stages.database.read(lambda c: read_model.list_jobs(c, "local"))
    found = {row["job_id"]: row["status"] for row in page.items}
    assert found[well] == JobStatus.COMPLETED
    assert len(found) == listed, "one whose first event is damaged is not listed"
    assert set(found.values()) == {JobStatus.COMPLETED}


async def test_the_list_waits_where_a_later_release_has_written_to_it(
    stages: Stages, projector: Projector
) -> None:
    """It would end every process that is to carry it on, one after the other."""
    job_id, _ = await two_jobs(stages)
    while await projector.project():
        pass
    its_own = job_list.c.job_id == job_id
    kept = stages.database.read_now(lambda c: c.scalar(select(job_list.c.document).where(its_own)))
    newer = orjson.dumps(orjson.loads(kept or "") | {"of_next_year": 1}).decode()
    await stages.database.write(lambda c: c.execute(_listed(job_id, newer)))
    stages.bus += await stages.coordinator.handle(
        UndoJob(command_id="undo", job_id=job_id, tenant="local", actor="ada")
    )
    await stages.run_dry()
    with pytest.raises(Unavailable, match="by a later release; upgrade this process"):
        await projector.project()
    await stages.database.write(lambda c: c.execute(_listed(job_id, kept or "")))
    await projector.project()
    page = await stages.database.read(lambda c: read_model.list_jobs(c, "local"))
    assert {row["job_id"]: row["status"] for row in page.items}[job_id] == JobStatus.ROLLED_BACK


def _listed(job_id: str, written: str) -> Update:
    return update(job_list).where(job_list.c.job_id == job_id).values(document=written)


async def test_a_command_is_held_where_a_later_release_has_worked(stages: Stages) -> None:
    """What it says of the chunk is not for this release to leave out."""
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    (work,) = [one for one in stages.bus if one.topic == topics.work("stock")]
    await stages.worker.handle(decode_work(work.value))
    kept = stages.database.read_now(lambda c: c.scalar(select(outcomes.c.summary)))
    newer = orjson.dumps(orjson.loads(kept or "") | {"of_next_year": 1}).decode()
    await stages.database.write(lambda c: c.execute(update(outcomes).values(summary=newer)))
    pause = PauseJob(command_id="pause", job_id=job_id, tenant="local", actor="ada")
    with pytest.raises(UnsupportedVersion, match="upgrade the coordinators"):
        await stages.coordinator.handle(pause)
    assert "pause" not in stages.decisions
    with capture_logs() as logs:
        assert await stages.coordinator.look(job_id) == []
        assert await stages.coordinator.look(job_id) == []
    assert [entry["event"] for entry in logs] == ["job_waits_for_upgrade"], "said once"
    await stages.database.write(lambda c: c.execute(update(outcomes).values(summary=kept)))
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED


async def test_the_sweep_leaves_chunks_of_a_later_release_alone(stages: Stages) -> None:
    sick, well = [await stages.submit("stock.create", [{"name": "x"}]) for _ in range(2)]
    its_own = chunks.c.job_id == sick
    await stages.database.write(
        lambda c: c.execute(update(chunks).where(its_own).values(cause="of_next_year"))
    )
    stages.clock.pass_seconds(100)
    now = stages.clock.now().timestamp()
    late = stages.database.read_now(lambda connection: overdue(connection, now, limit=1))
    assert [one.job_id for one in late] == [well]
    (work,) = [
        decode_work(one.value)
        for one in stages.bus
        if one.topic == topics.work("stock") and decode_work(one.value).job_id == sick
    ]
    with pytest.raises(UnsupportedVersion, match="upgrade this worker"):
        await stages.worker.handle(work)


async def test_an_unreadable_timer_is_buried_and_the_others_fire(
    stages: Stages, timers: Timers, sent: list[Outgoing]
) -> None:
    good = RetryJob(command_id="good", job_id="job-1", tenant="local", actor="ada")
    newer = encode(good).replace(b'"schema_version":1', b'"schema_version":9')
    now = stages.clock.now().timestamp()
    for at, (name, value) in enumerate(
        {"torn": b"{", "newer": newer, "good": encode(good)}.items()
    ):
        stages.database.write_now(
            lambda c, name=name, value=value, at=at: decisions.set_timer(  # type: ignore[misc]
                c, name, now - 10 + at, value
            )
        )
    assert await timers.fire() == 3
    assert await timers.fire() == 0, "a buried one is dropped"
    assert [one.topic for one in sent] == [topics.DEAD, topics.DEAD, topics.COMMANDS]
    torn, held, command = sent
    assert Burial.of(torn.headers).code == "unreadable"
    assert "timer torn" in Burial.of(torn.headers).reason
    assert (command.key, command.value) == (b"job-1", encode(good))

    async def letters() -> object:
        for letter in (torn, held):
            yield Letter(letter.key, letter.value, letter.headers)

    again: list[Outgoing] = []

    async def send(outgoing: Outgoing) -> None:
        again.append(outgoing)

    done = await redrive(letters(), send, code="unsupported_version", systems=())
    assert (done.sent, done.left) == (1, 0)
    assert (again[0].topic, again[0].value) == (topics.COMMANDS, newer)


async def test_old_decisions_are_forgotten_in_batches(stages: Stages, timers: Timers) -> None:
    now = stages.clock.now().timestamp()
    old = now - DECISION_SECONDS - 1

    def fill(connection: object) -> None:
        for number in range(25):
            at = old if number < 20 else now
            decision = decisions.Decision(f"job-{number}", 1, {"code": "wrong_state"})
            decisions.store_decision(connection, f"command-{number}", decision, at)
            decisions.reserve(
                connection,
                tenant="local",
                key=f"key-{number}",
                body_hash="",
                job_id=f"job-{number}",
                now=at,
            )

    await stages.database.write(fill)
    limited = await stages.database.write(lambda c: decisions.remove_old(c, old + 1, limit=3))
    assert limited == 6, "three of each"
    await timers.clean()
    assert await stages.rows("SELECT count(*) FROM decisions") == [(5,)]
    assert await stages.rows("SELECT count(*) FROM reservations") == [(5,)]
    assert await stages.database.write(lambda c: decisions.remove_old(c, old + 1)) == 0


async def test_a_letter_that_is_sent_again_much_later_takes_no_effect_again(
    stages: Stages,
) -> None:
    """The broker has forgotten by then that it was sent before."""
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 3)
    await stages.run_dry()
    undo = UndoJob(command_id="letter", job_id=job_id, tenant="local", actor="ada")
    value, of = encode(undo), {"topic": topics.COMMANDS, "partition": 0, "offset": 0}
    burial = Burial(size=len(value), code="too_new", reason="it was too new", **of)
    letter = bury(burial, job_id.encode(), value, ())

    async def letters() -> AsyncIterator[Letter]:
        yield Letter(letter.key, letter.value, letter.headers)

    for _ in range(2):
        assert (await redrive(letters(), stages.send, code="too_new", systems=())).sent == 1
        await stages.run_dry()
        much_later = stages.clock.now().timestamp() + 2 * DECISION_SECONDS
        await stages.database.write(partial(decisions.remove_old, before=much_later))
    assert (await stages.job(job_id)).counts.rolled_back == 3
    assert await stages.rows("SELECT count(*) FROM stock") == [(0,)]
