"""Tenants, below the edge: whoever asks the engine itself sees no other tenant's jobs either.

What is here is generated from the methods: one that is added and takes a tenant or a caller is
asked for what another tenant has, or fails the test.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any, get_args

from domain.commands import Adjustment, Editing, JobSpec
from domain.compensation import Stage
from domain.errors import JobNotFound, RecordNotFound
from streams.callers import Caller
from streams.diffs import Run
from streams.gateway import Gateway
from streams.items import ALL
from streams.plans import Plans
from streams.previewing import Page, WantedUndo
from streams.queries import Queries
from streams.saying import Verb
from tests.engine.conftest import Desk, lines

EVE = Caller("other", "eve")
GIVEN: dict[str, Callable[[str], Any]] = {
    "tenant": lambda _: EVE.tenant,
    "caller": lambda _: EVE,
    "job_id": lambda job_id: job_id,
    "this": Run,
    "other": Run,
    "after": lambda _: 0,
    "limit": lambda _: 10,
    "points": lambda _: 10,
    "position": lambda _: 0,
    "version": lambda _: 1,
    "wanted": lambda _: ALL,
    "page": lambda _: Page(limit=10, after=-1),
    "table": lambda _: "stock",
    "record_id": lambda _: 1,
    "digest": lambda _: None,
    "part": lambda _: 1,
    "lines": lambda _: lines([{"name": "x"}]),
    "items": lambda _: None,
    "reason": lambda _: "",
    "key": lambda _: None,
    "stages": lambda _: list(Stage),
}
SPECIAL: dict[tuple[str, str], dict[str, Any]] = {
    ("undo_preview", "wanted"): {"value": WantedUndo()},
    ("adjust", "wanted"): {"value": Adjustment(priority=9)},
    ("edit", "wanted"): {"value": Editing(drop=(0,))},
}
OWN = {"submit", "submit_selected", "submit_batch", "open", "jobs", "log"}
"""What speaks of no job that is there: it makes one, or lists one's own."""


def _methods(kind: type) -> Iterator[tuple[str, dict[str, inspect.Parameter]]]:
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        parameters = inspect.signature(method).parameters
        if not name.startswith("_") and {"tenant", "caller"} & parameters.keys():
            yield name, dict(parameters)


ASKED = [
    (part, name, parameters)
    for part in (Queries, Plans, Gateway)
    for name, parameters in _methods(part)
    if name not in OWN
]


async def _answer(found: Any) -> Any:
    """What is awaited, or the first of what comes one by one."""
    if isinstance(found, AsyncGenerator | AsyncIterator):
        return await anext(found)
    return await found


def _given(name: str, parameters: dict[str, inspect.Parameter], job_id: str) -> dict[str, Any]:
    chosen = {}
    for parameter in parameters.values():
        needed = parameter.default is inspect.Parameter.empty and parameter.name != "self"
        if needed and parameter.name != "verb":
            special = SPECIAL.get((name, parameter.name))
            chosen[parameter.name] = special["value"] if special else GIVEN[parameter.name](job_id)
    return chosen


def test_what_is_asked_is_all_that_there_is() -> None:
    named = {name for _, name, _ in ASKED}
    assert named >= {"job", "events", "items", "plan", "lines", "command", "append", "history"}
    assert len(ASKED) >= 20


async def test_nobody_is_told_of_jobs_of_another_tenant(desk: Desk) -> None:
    finished = await desk.submit("stock.create", [{"name": "a"}, {"name": "!"}])
    dry = await desk.submit("stock.create", [{"name": "a"}], options={"dry_run": True})
    spec = JobSpec(operation="stock.create")
    draft = await desk.engine.gateway.open(Caller("local", "tester"), spec, key=None)
    jobs = {job_id: await desk.settle(job_id) for job_id in (finished, dry)}
    engine = desk.engine
    parts: dict[type, Any] = {
        Queries: engine.queries,
        Plans: engine.plans,
        Gateway: engine.gateway,
    }
    told: list[Any] = []
    for job_id in (finished, dry, draft.job_id):
        for part, name, parameters in ASKED:
            method, given = getattr(parts[part], name), _given(name, parameters, job_id)
            verbs = get_args(Verb) if "verb" in parameters else (None,)
            for verb in verbs:
                said = given if verb is None else {**given, "verb": verb}
                try:
                    told.append((name, verb, await _answer(method(**said))))
                except (JobNotFound, RecordNotFound):
                    continue
    assert told == []
    for job_id, job in jobs.items():
        assert (await desk.job(job_id)).version == job.version
    assert (await desk.engine.queries.jobs(EVE.tenant)).items == []
    assert (await desk.engine.queries.log(EVE.tenant, 0, 100)).events == []
    assert (await desk.engine.queries.log("local", 0, 100)).events != []
