"""Tenants, below the edge: whoever asks the engine itself sees no other tenant's jobs either.

What is here is generated from the methods: one that is added and takes a tenant or a caller is
asked for what another tenant has, or fails the test.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any, get_args

import pytest

from domain.commands import Adjustment, Editing, JobSpec
from domain.compensation import Stage
from domain.errors import JobNotFound, RecordNotFound
from domain.systems.annotations.kinds import LABELS
from streams.callers import Caller
from streams.diffs import Run
from streams.gateway import Gateway
from streams.items import ALL
from streams.plans import Plans
from streams.previewing import Page, WantedUndo
from streams.queries import Queries
from streams.saying import Verb
from streams.systems.annotations import Platform
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
PLATFORM: dict[str, Callable[[int], Any]] = {
    "caller": lambda _: EVE,
    "project_id": lambda project_id: project_id,
    "kind": lambda _: LABELS,
    "key": lambda _: 1,
    "operation_id": lambda _: 1,
    "fields": lambda _: {"name": "b"},
    "wanted": lambda _: {},
    "limit": lambda _: 10,
    "offset": lambda _: 0,
    "said": lambda _: "weekly",
    "version": lambda _: None,
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


async def test_nobody_is_told_of_projects_of_another_tenant(desk: Desk) -> None:
    platform, tester = desk.engine.annotations, Caller("local", "tester")
    project_id = (await platform.create_project(tester, {"name": "letters"}))["id"]
    label = await platform.create(tester, project_id, LABELS, {"name": "a"})
    numbered = await platform.number(tester, project_id, "annotations.create", "job-1")
    assert (label["id"], numbered.operation_id) == (1, 1)
    asked = 0
    for name, parameters in _methods(Platform):
        if name not in ("projects", "operations", "create_project", "number"):
            given = {each: PLATFORM[each](project_id) for each in parameters if each != "self"}
            with pytest.raises(RecordNotFound):
                await getattr(platform, name)(**given)
            asked += 1
    assert asked >= 7
    assert (await platform.projects(EVE, {}, limit=10, offset=0)).total == 0
    assert (await platform.operations(EVE, {}, limit=10, offset=0)).total == 0
    assert await platform.record(tester, project_id, LABELS, 1) == label
