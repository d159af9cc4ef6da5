"""Oracle: what really happened to the records, from a log that SQL triggers write.

Shares no code with the engine: it imports the standard library only, reads the database with
SQL of its own over a connection of the driver, and takes the engine's word from the documents
of the HTTP interface. A trigger runs in the transaction of the write that fires it, so the log
has exactly what took effect.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
    verdict = Verdict()
    net = _net_effects(connection, verdict)
    for account in told:
        _judge_events(account, verdict)
        _judge_items(account, net, verdict)
    known = {mark for account in told for mark in account.marks}
    verdict.require(net.keys() <= known, f"effects of nobody: {sorted(net.keys() - known)[:5]}")
    for what, query in _AT_REST.items():
        (left,) = connection.execute(query).fetchone()
        if left:
            rows = connection.execute(query.replace("count(*)", "*")).fetchmany(3)
            verdict.faults.append(f"{left} {what} are left over, such as {rows}")
    if isinstance(connection, sqlite3.Connection):
        _judge_file(connection, verdict)
    return verdict


def _net_effects(connection: Any, verdict: Verdict) -> Counter[str]:
    """By mark: how often its effect was made, less how often it was put back."""
    net: Counter[str] = Counter()
    amounts: Counter[int] = Counter()
    for record, was, became, delta in connection.execute(
        "SELECT record, was, became, delta FROM effects_log ORDER BY number"
    ):
        verdict.effects += 1
        amounts[record] += delta
        if delta > 0:
            net[became] += delta
        elif delta < 0:
            net[was] += delta
    _judge_amounts(connection, amounts, verdict)
    return net


def _judge_amounts(connection: Any, amounts: Counter[int], verdict: Verdict) -> None:
    """A counter stands where its effects have brought it; each began at 1, or was not there."""
    present = dict(connection.execute("SELECT id, amount FROM crash_counters"))
    created = {
        record
        for (record,) in connection.execute("SELECT record FROM effects_log WHERE was IS NULL")
    }
    for record, delta in amounts.items():
        expected = delta + (record not in created)
        verdict.require(
            present.get(record, 0) == expected,
            f"counter {record} stands at {present.get(record, 0)}, its effects say {expected}",
        )


def _judge_items(account: Account, net: Counter[str], verdict: Verdict) -> None:
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
        expected = int(account.stands(item))
        if net[mark] != expected:
            verdict.lost += net[mark] < expected
            verdict.doubled += net[mark] > expected
            verdict.faults.append(
                f"{job_id}: {mark} is {item['status']}, its net effect is {net[mark]}"
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


def jobs(connection: Any) -> int:
    """How many jobs have a stored event."""
    (count,) = connection.execute("SELECT count(DISTINCT job_id) FROM events").fetchone()
    return int(count)
