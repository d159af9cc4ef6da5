"""Oracle: what really happened to the records, from a log that SQL triggers write.

Shares no code with the engine: it imports the standard library only, reads the database with
SQL of its own over a connection of the driver, and takes the engine's word from the documents
of the HTTP interface. A trigger runs in the transaction of the write that fires it, so the log
has exactly what took effect.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

_SQLITE = """
CREATE TABLE effects_log (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    record INTEGER NOT NULL,
    was TEXT,
    became TEXT,
    delta INTEGER NOT NULL
);
CREATE TRIGGER crash_inserted AFTER INSERT ON crash_counters BEGIN
    INSERT INTO effects_log (record, was, became, delta)
    VALUES (NEW.id, NULL, NEW.mark, NEW.amount);
END;
CREATE TRIGGER crash_updated AFTER UPDATE ON crash_counters BEGIN
    INSERT INTO effects_log (record, was, became, delta)
    VALUES (NEW.id, OLD.mark, NEW.mark, NEW.amount - OLD.amount);
END;
CREATE TRIGGER crash_deleted AFTER DELETE ON crash_counters BEGIN
    INSERT INTO effects_log (record, was, became, delta)
    VALUES (OLD.id, OLD.mark, NULL, -OLD.amount);
END;
CREATE TRIGGER log_is_append_only BEFORE UPDATE ON effects_log BEGIN
    SELECT RAISE(ABORT, 'the log of effects only grows');
END;
CREATE TRIGGER log_is_never_cut BEFORE DELETE ON effects_log BEGIN
    SELECT RAISE(ABORT, 'the log of effects only grows');
END;
"""

_POSTGRESQL = """
CREATE TABLE effects_log (
    number BIGSERIAL PRIMARY KEY,
    record BIGINT NOT NULL,
    was TEXT,
    became TEXT,
    delta INTEGER NOT NULL
);
CREATE FUNCTION log_effect() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO effects_log (record, was, became, delta)
        VALUES (NEW.id, NULL, NEW.mark, NEW.amount);
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO effects_log (record, was, became, delta)
        VALUES (NEW.id, OLD.mark, NEW.mark, NEW.amount - OLD.amount);
    ELSE
        INSERT INTO effects_log (record, was, became, delta)
        VALUES (OLD.id, OLD.mark, NULL, -OLD.amount);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER crash_logged AFTER INSERT OR UPDATE OR DELETE ON crash_counters
    FOR EACH ROW EXECUTE FUNCTION log_effect();
CREATE FUNCTION keep_log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'the log of effects only grows';
END $$;
CREATE TRIGGER log_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON effects_log
    EXECUTE FUNCTION keep_log();
"""

_AT_REST = {
    "chunks in flight": "SELECT count(*) FROM chunks WHERE open",
    "grants": "SELECT count(*) FROM grants",
    "results of slow items": "SELECT count(*) FROM item_results",
    "uses of what jobs share": "SELECT count(*) FROM bucket_uses",
    "outcomes not recorded": "SELECT count(*) FROM outcomes WHERE NOT recorded",
}
"""What must be gone once every job has come to rest."""

EMPTY: Mapping[str, Sequence[str]] = {
    "completed": ("pending", "failed"),
    "completed_with_errors": ("pending",),
    "failed": ("pending", "succeeded", "planned"),
    "cancelled": ("pending",),
    "rejected": ("pending", "succeeded", "failed", "planned"),
    "rolled_back": ("pending", "succeeded"),
    "rollback_incomplete": ("pending",),
}
"""The counts that must be zero in a status in which a job rests."""

_NOT_ATTEMPTED = "not_attempted"
"""Why an item was skipped that nobody has come to."""
_GIVING_UP = ("job.stopped", "job.cancelling", "job.cancelled", "job.skipped", "job.rejected")
"""With these alone a job gives up items that nobody has come to."""
_MADE = ("succeeded", "rolled_back", "conflict")
"""Of an item with such a status an effect was made, whether or not it still stands; of others
none ever was.
"""


@dataclass(frozen=True)
class Account:
    """What the engine says of a job; ``marks`` are those of its items, by position.

    ``items`` and ``events`` are the documents of its items, by position, and of its stored
    events. ``records`` is false for an operation that writes none.
    """

    job: Mapping[str, Any]
    marks: Sequence[str]
    items: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]]
    records: bool = True

    @property
    def statuses(self) -> list[str]:
        """Those of the items, by position."""
        return [item["status"] for item in self.items]

    @property
    def rests_in(self) -> str:
        """How the job has ended; one that is archived as it had before."""
        said = [self.job["status"], *(event["status"] for event in reversed(self.events))]
        return next((status for status in said if status != "archived"), "archived")

    @property
    def gave_up(self) -> bool:
        """Whether it may have items that nobody has come to."""
        return any(event["event"] in _GIVING_UP for event in self.events)

    @property
    def stopped(self) -> bool:
        """Whether a limit or its deadline has ended the run in which it rests."""
        names = [event["event"] for event in self.events]
        runs = [number for number, name in enumerate(names) if name == "job.retry_started"]
        return "job.stopped" in names[runs[-1] if runs else 0 :]

    @property
    def reapplied(self) -> int:
        """How often what was put back was applied again."""
        undos = [event for event in self.events if event["event"] == "job.undo_started"]
        return sum(undo["direction"] == "reapply" for undo in undos)

    def stands(self, item: Mapping[str, Any]) -> bool:
        """Whether an item's effect should be there; a conflict has left it as it was."""
        if item["status"] != "conflict":
            return bool(item["status"] == "succeeded")
        return self._causes()[item["chunk"]] == "rollback"

    def _causes(self) -> dict[int, str]:
        return {
            chunk["chunk"]: chunk["cause"]
            for event in self.events
            if event["event"] == "job.chunks_planned"
            for chunk in event["chunks"]
        }


@dataclass
class _Story:
    """What the log has of one mark: how often it was made, and how many stood at once."""

    net: int = 0
    made: int = 0
    most: int = 0

    def add(self, delta: int) -> None:
        """One more effect, or one less."""
        self.net += delta
        self.made += max(delta, 0)
        self.most = max(self.most, self.net)


@dataclass
class Verdict:
    """Faults as sentences; none when the engine's word and the records agree."""

    faults: list[str] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    effects: int = 0

    def require(self, holds: bool, fault: str) -> None:
        """Note a fault unless something holds."""
        if not holds:
            self.faults.append(fault)


def install(connection: Any) -> None:
    """Have the database log every effect on the counters from now on."""
    if isinstance(connection, sqlite3.Connection):
        connection.executescript(_SQLITE)
    else:
        connection.execute(_POSTGRESQL)


def judge(connection: Any, accounts: Iterable[Account]) -> Verdict:
    """Compare what the engine says of all its jobs with what happened."""
    told = list(accounts)
    verdict = judge_effects(connection, told)
    for account in told:
        _judge_events(account, verdict)
    for what, query in _AT_REST.items():
        (left,) = connection.execute(query).fetchone()
        if left:
            rows = connection.execute(query.replace("count(*)", "*")).fetchmany(3)
            verdict.faults.append(f"{left} {what} are left over, such as {rows}")
    if isinstance(connection, sqlite3.Connection):
        _judge_file(connection, verdict)
    return verdict


def judge_effects(connection: Any, accounts: Iterable[Account]) -> Verdict:
    """Compare jobs and their items with their effects, also between two commands.

    The accounts are of all jobs, and those are at rest; the engine may be at work otherwise.
    """
    told = list(accounts)
    verdict = Verdict()
    stories = _stories(connection, verdict)
    for account in told:
        _judge_status(account, verdict)
        _judge_items(account, stories, verdict)
    strange = stories.keys() - {mark for account in told for mark in account.marks}
    verdict.require(not strange, f"effects of nobody: {sorted(strange)[:5]}")
    return verdict


def _stories(connection: Any, verdict: Verdict) -> dict[str, _Story]:
    """By mark what was made of it and put back, in the order of the log.

    The marks that a record has had lie on one another: what is put back leaves the one below.
    """
    stories: defaultdict[str, _Story] = defaultdict(_Story)
    layers: dict[int, list[str | None]] = {}
    amounts: Counter[int] = Counter()
    for record, was, became, delta in connection.execute(
        "SELECT record, was, became, delta FROM effects_log ORDER BY number"
    ):
        verdict.effects += 1
        amounts[record] += delta
        marks = layers.setdefault(record, [was])
        said = f"counter {record} went from {was} to {became}"
        verdict.require(marks[-1] == was, f"{said}, and was left at {marks[-1]}")
        if delta > 0:
            stories[became].add(delta)
            marks.append(became)
            continue
        if delta < 0:
            stories[was].add(delta)
            marks.pop()
        below = marks[-1] if marks else None
        verdict.require(bool(marks) and below == became, f"{said}, before was {below}")
        layers[record] = marks if marks and below == became else [became]
    _judge_records(connection, amounts, layers, verdict)
    return stories


def _judge_records(
    connection: Any,
    amounts: Counter[int],
    layers: Mapping[int, Sequence[str | None]],
    verdict: Verdict,
) -> None:
    """A counter stands where its effects have brought it; each began at 1, or was not there."""
    found = connection.execute("SELECT id, amount, mark FROM crash_counters")
    present = {record: (amount, mark) for record, amount, mark in found}
    created = {
        record
        for (record,) in connection.execute("SELECT record FROM effects_log WHERE was IS NULL")
    }
    for record, delta in amounts.items():
        amount, mark = present.get(record, (0, None))
        expected = delta + (record not in created)
        verdict.require(
            amount == expected,
            f"counter {record} stands at {amount}, its effects say {expected}",
        )
        last = layers[record][-1]
        verdict.require(mark == last, f"counter {record} has {mark}, its effects say {last}")


def _judge_status(account: Account, verdict: Verdict) -> None:
    """A job rests in a status that is true of its items; what is not settled then is lost."""
    job_id, counts, status = account.job["job_id"], account.job["counts"], account.rests_in
    for name in EMPTY.get(status, ()):
        if status == "failed" and name in ("succeeded", "planned") and account.stopped:
            continue
        left = counts.get(name, 0)
        verdict.lost += left if name == "pending" else 0
        verdict.require(not left, f"{job_id} is {status}, and has {left} items {name}")
    if status in EMPTY and not account.gave_up:
        _judge_skipped(account, verdict)


def _judge_skipped(account: Account, verdict: Verdict) -> None:
    """Nobody has passed over an item of a job that has given up none."""
    rests = f"{account.job['job_id']} is {account.rests_in}"
    for position, item in enumerate(account.items):
        code = (item.get("error") or {}).get("code", _NOT_ATTEMPTED)
        passed_over = item["status"] == "skipped" and code == _NOT_ATTEMPTED
        verdict.lost += passed_over
        verdict.require(
            not passed_over,
            f"{rests}, and nobody has come to item {position}",
        )


def _judge_items(account: Account, stories: Mapping[str, _Story], verdict: Verdict) -> None:
    job_id, counts = account.job["job_id"], account.job["counts"]
    tally = Counter(account.statuses)
    said = {name: count for name, count in counts.items() if name != "total" and count}
    verdict.require(dict(tally) == said, f"{job_id}: counts say {said}, its items {dict(tally)}")
    verdict.require(
        counts["total"] == sum(said.values()) == len(account.marks),
        f"{job_id}: {counts} do not add up to {len(account.marks)} items",
    )
    if not account.records:
        return
    for mark, item in zip(account.marks, account.items, strict=True):
        _judge_story(account, mark, item, stories.get(mark, _Story()), verdict)


def _judge_story(
    account: Account, mark: str, item: Mapping[str, Any], story: _Story, verdict: Verdict
) -> None:
    """An effect stands once at most at any time, and is made again by an undo of its undo only."""
    expected = int(account.stands(item))
    may_be_made = 1 + account.reapplied if item["status"] in _MADE else 0
    lost = story.net < expected or (may_be_made > 0 and not story.made)
    doubled = story.net > expected or story.most > 1 or story.made > may_be_made
    verdict.lost += lost
    verdict.doubled += doubled
    verdict.require(
        not lost and not doubled,
        f"{account.job['job_id']}: {mark} is {item['status']}, its net effect is {story.net}; "
        f"it was made {story.made} times, and stood {story.most} times at most",
    )


def _judge_events(account: Account, verdict: Verdict) -> None:
    job = account.job
    versions = [event["version"] for event in account.events]
    verdict.require(
        versions == list(range(1, job["version"] + 1)),
        f"{job['job_id']}: versions {versions} are not 1 to {job['version']}",
    )
    for event in account.events:
        counts = event["counts"]
        parts = [count for name, count in counts.items() if name != "total"]
        verdict.require(
            sum(parts) == counts["total"] and min(parts) >= 0,
            f"{job['job_id']}: the counts of version {event['version']} do not add up: {counts}",
        )
    for before, event in pairwise(account.events):
        fell = event["counts"]["failed"] < before["counts"]["failed"]
        verdict.require(
            not fell or event["event"] == "job.retry_started",
            f"{job['job_id']}: version {event['version']} takes failures back",
        )
    if account.events:
        last = account.events[-1]
        verdict.require(
            (last["status"], last["counts"]) == (job["status"], job["counts"]),
            f"{job['job_id']}: the last event says {last['status']}, the job {job['status']}",
        )


def _judge_file(connection: sqlite3.Connection, verdict: Verdict) -> None:
    found = connection.execute("PRAGMA integrity_check").fetchall()
    verdict.require(found == [("ok",)], f"SQLite finds {found[:3]}")
    broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    verdict.require(not broken, f"foreign keys are broken: {broken[:3]}")


def effects_of(connection: Any, marks: Iterable[str]) -> int:
    """How many effects were made for items of those marks, or put back."""
    wanted = set(marks)
    log = connection.execute("SELECT was, became, delta FROM effects_log WHERE delta <> 0")
    return sum((became if delta > 0 else was) in wanted for was, became, delta in log)


def stored_results(connection: Any) -> set[tuple[str, int]]:
    """The items whose results are stored, by themselves or with all of their chunk.

    They are told by job and position. It holds as long as no chunk was called back.
    """
    found = {tuple(row) for row in connection.execute("SELECT job_id, item FROM item_results")}
    closed = connection.execute(
        "SELECT job_id, items FROM chunks JOIN outcomes USING (job_id, chunk)"
    )
    for job_id, spans in closed:
        for first, end in json.loads(spans):
            found |= {(job_id, item) for item in range(first, end)}
    return found


def repeated(lives: Sequence[Sequence[str]], stored: Collection[str]) -> Iterator[str]:
    """Which slow items ran more often than a death excuses, as sentences.

    ``lives`` are the marks that each of two lives has noted, ``stored`` those whose results the
    first one has left.
    """
    for life, noted in enumerate(lives, 1):
        for mark, runs in Counter(noted).items():
            if runs > 1:
                yield f"{mark} ran {runs} times in life {life}"
    for mark in sorted({mark for noted in lives[1:] for mark in noted} & set(stored)):
        yield f"{mark} ran again, whose result was stored"


def jobs(connection: Any) -> int:
    """How many jobs have a stored event."""
    (count,) = connection.execute("SELECT count(DISTINCT job_id) FROM events").fetchone()
    return int(count)
