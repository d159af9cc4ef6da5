"""Whims: what callers may say of a job besides its items, drawn at random.

Only what a caller can say at any time, however long it has to repeat itself: the moments are in
:mod:`tests.crash.arranging`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ENDS = ("succeeded", "partly", "any")
NO_LIMITS = {"lift": ["rate", "concurrency"]}
LIMITS: Sequence[dict[str, Any]] = (
    {"concurrency": 1},
    {"concurrency": 4},
    {"rate": 300.0},
    {"rate": 1000.0, "concurrency": 2},
    NO_LIMITS,
    NO_LIMITS,
)
"""What all jobs of the walk may have in their queue."""
Marks = Callable[[int, int], Sequence[str]]
"""The marks of the items of a step: its number, and how many there are."""


def options(chance: random.Random, count: int, earlier: Sequence[str]) -> dict[str, Any]:
    """Options of a job of so many items, which may come after ``earlier`` ones."""
    sizes = ("auto", max(1, count // 40), max(1, count // 10))
    said: dict[str, Any] = {"chunk_size": chance.choice(sizes)}
    whole = chance.random()
    if whole < 0.25:
        said["atomic"] = True
    elif whole < 0.4:
        said["dry_run"] = True
    elif whole < 0.55:
        said["on_error"] = "roll_back"
    if chance.random() < 0.25:
        # It is to take a second or two.
        said["rate"] = max(20.0, count / chance.uniform(0.5, 3.0))
    if chance.random() < 0.25:
        said["concurrency"] = chance.choice((1, 2))
    if chance.random() < 0.25:
        said["timeout"] = chance.choice((0.2, 1.0, 4.0, 30.0))
    if earlier and chance.random() < 0.4:
        named = chance.sample(list(earlier), min(len(earlier), chance.choice((1, 1, 2))))
        said["after"] = [{"job_id": job_id, "end": chance.choice(ENDS)} for job_id in named]
    return said


def body(chance: random.Random, verb: str, count: int, *, shared: bool = False) -> dict[str, Any]:
    """What is said with a command to a job of so many items.

    ``shared``: others write to its records, whose effects an undo by force would take away.
    """
    match verb:
        case "cancel":
            return {name: True for name in ("roll_back", "graceful") if chance.random() < 0.4}
        case "undo" if count and chance.random() < 0.4:
            return {"items": chance.sample(range(count), min(count, 5)), "reason": "a part"}
        case "undo" if not shared and chance.random() < 0.3:
            return {"force": True, "reason": "by force"}
        case "retry" if chance.random() < 0.3:
            return {"unattempted": True}
        case "adjust":
            return _adjustment(chance, count)
    return {}


def _adjustment(chance: random.Random, count: int) -> dict[str, Any]:
    wanted: list[dict[str, Any]] = [
        {"rate": max(20.0, count / chance.choice((1, 4)))},
        {"concurrency": chance.choice((1, 3))},
        {"lift": ["rate", "concurrency"]},
        {"priority": chance.randint(0, 10)},
        {"lift": ["start_at"]},
    ]
    return {**chance.choice(wanted), "reason": "a whim"}


def edits(chance: random.Random, marks: Sequence[str]) -> dict[str, Any]:
    """What is changed of a draft's items, and which are left out; never all of them."""
    said: dict[str, Any] = {"edits": [{"item": 0, "body": {"mark": f"{marks[0]}-edited"}}]}
    if len(marks) > 1 and chance.random() < 0.6:
        said["drop"] = chance.sample(range(1, len(marks)), min(len(marks) - 1, 3))
    return {**said, "reason": "a whim"}


def failures(chance: random.Random, said: Mapping[str, Any]) -> dict[str, Any]:
    """What is tried again, and how many failures are tolerated, beside other options."""
    if said.get("dry_run"):
        return {}
    found: dict[str, Any] = {}
    if chance.random() < 0.4:
        found["retry"] = {"attempts": 2, "delay": chance.choice((0, 0.3)), "cap": 1}
    drawn = chance.random()
    if drawn < 0.2:
        found["stop_on_error"] = True
    elif drawn < 0.6:
        # A job that rolls back by itself must have a limit that fails it.
        then = ("fail",) if "on_error" in said else ("fail", "pause")
        most = chance.choice(({"failed": 1}, {"failed": 4}, {"percent": 5}))
        window = chance.choice(({}, {"window": 20}))
        found["tolerate"] = [{**most, **window, "then": chance.choice(then)}]
    return found


def again(chance: random.Random, marks: Sequence[str]) -> dict[str, Any]:
    """Which items of a job are worked again, and with which bodies."""
    some = chance.sample(range(len(marks)), min(len(marks), 5))
    ways: list[dict[str, Any]] = [
        {},
        {"unattempted": True},
        {"items": some},
        {"codes": ["handler_error"]},
    ]
    if marks[0].startswith("add"):
        counters = [int(marks[n].rpartition("-")[2]) for n in some]
        bodies = [{"mark": marks[n], "counter": c} for n, c in zip(some, counters, strict=True)]
        edits = [{"item": n, "body": body} for n, body in zip(some, bodies, strict=True)]
        ways += [{"patch": {"fault": "", "needs": None}}, {"edits": edits}]
    return chance.choice(ways)


def part(chance: random.Random) -> dict[str, Any]:
    """A part of a job that is undone, by its chunks or by what they have written to."""
    records = [f"crash_counters/{chance.randint(1, 700)}" for _ in range(5)]
    return chance.choice(({"chunks": [0, 2]}, {"chunks": [1]}, {"records": records}))


def steps(
    chance: random.Random, operation: str, marks: Marks, params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Steps of a batch, of which each comes after some before it."""
    found: list[dict[str, Any]] = []
    for number in range(chance.randint(2, 4)):
        before = chance.sample(range(number), chance.randint(0, min(number, 2)))
        count = chance.randint(1, 60)
        said = options(chance, count, ())
        timeout = said.pop("timeout", None)
        found.append(
            {
                "name": f"s{number}",
                "operation": operation,
                "params": dict(params),
                "options": said,
                "items": [{"mark": mark} for mark in marks(number, count)],
                "after": [{"step": f"s{n}", "end": chance.choice(ENDS)} for n in sorted(before)],
                **({"savepoint": f"p{number}"} if chance.random() < 0.5 else {}),
                **({"timeout": timeout} if timeout is not None else {}),
            }
        )
    return found


def batch_undo(chance: random.Random, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All of a batch, a branch of it, or what is behind a savepoint."""
    ways: list[dict[str, Any]] = [{}, {}]
    ways += [{"branch": step["name"]} for step in steps]
    ways += [{"to": step["savepoint"]} for step in steps if step.get("savepoint")]
    return chance.choice(ways)
