"""Bulk operations: submitted, followed by their numbers, cancelled; who may do which."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from streams.stores import worker_use
from streams.stores.worker_use import HOUR, STEP, Used
from tests.api.annotations.place import BOSS, PROJECTS, TEXT, Place, by
from tests.api.shop import SSE, WAIT

BATCH, OPERATIONS = "/api/v1/batch/annotations", "/api/v1/batch/operations"
SPANS = [
    {"text_id": 1, "start_char": n, "end_char": n + 1, "label_id": 1, "confidence_score": n / 20}
    for n in range(20)
]


async def created(place: Place, items: list[Any] = SPANS, **more: Any) -> Any:
    """A job that creates annotations, as it was accepted."""
    body = {"project_id": place.number, "annotations": items, **more}
    return await place.ask("POST", f"{BATCH}/create", body, status=202)


async def ended(place: Place, operation: Any) -> Any:
    """How an operation is when its job is at rest."""
    async with (
        asyncio.timeout(WAIT),
        place.shop.client.get(operation["links"]["sse"], headers={**BOSS, **SSE}) as response,
    ):
        await response.read()
    return await place.ask("GET", operation["links"]["status"])


async def test_offsets_may_count_what_a_browser_counts(place: Place) -> None:
    text = await place.add("texts", content="😀 Ada 😀")
    span = {"text_id": text["text_id"], "label": "PERSON", "start_char": 3, "end_char": 6}
    half = {**span, "start_char": 1}
    operation = await created(place, [span, half], offsets="utf16")
    assert (await ended(place, operation))["failed"] == 1
    (made,) = (await place.get("annotations"))["items"]
    assert (made["start_char"], made["selected_text"]) == (2, "Ada")
    items = f"/api/v1/jobs/{operation['job_id']}/items?status=failed"
    (failed,) = (await place.ask("GET", items))["items"]
    error = failed["error"]
    assert (error["code"], error["pointer"]) == ("split_character", "/start_char")
    body = {"project_id": place.number, "updates": [{"id": made["id"], "end_char": 9}]}
    updated = await place.ask("PUT", f"{BATCH}/update", {**body, "offsets": "utf16"}, status=202)
    assert (await ended(place, updated))["succeeded"] == 1
    assert (await place.get("annotations"))["items"][0]["selected_text"] == "Ada 😀"


async def test_an_operation_is_submitted_and_followed_by_its_number(place: Place) -> None:
    body = {"project_id": place.number, "annotations": [*SPANS, {**SPANS[0], "end_char": 99}]}
    headers = {"Idempotency-Key": "once"}
    async with place.shop.client.post(
        f"{BATCH}/create", json=body, headers={**BOSS, **headers}
    ) as response:
        accepted = await response.json()
        assert (response.status, response.headers["Location"]) == (
            202,
            accepted["links"]["status"],
        )
    assert isinstance(accepted["operation_id"], int)
    again = await place.ask("POST", f"{BATCH}/create", body, status=202, headers=headers)
    assert again["operation_id"] == accepted["operation_id"]
    done = await ended(place, accepted)
    assert {name: done[name] for name in ("total", "processed", "succeeded", "failed")} == {
        "total": 21,
        "processed": 21,
        "succeeded": 20,
        "failed": 1,
    }
    assert (done["status"], done["current_step"]) == ("completed_with_errors", "done")
    assert (done["type"], done["progress_percentage"]) == ("annotations.create", 100.0)
    assert done["elapsed_seconds"] > 0
    assert done["workers"] == 1
    assert done["memory_bytes"] > 1_000_000
    job = await place.ask("GET", f"/api/v1/jobs/{done['job_id']}")
    assert (job["options"]["chunk_size"], job["caps"]["concurrency"]) == (100, 4)
    history = await place.ask("GET", done["links"]["history"], params={"db_log_interval": 0})
    assert (history["items"][0]["processed"], history["items"][-1]["processed"]) == (0, 21)
    last = history["items"][-1]
    assert (last["current_step"], last["elapsed_seconds"]) == ("done", done["elapsed_seconds"])
    assert last["items_per_second_mean"] == done["items_per_second_mean"]
    short = await place.ask("GET", done["links"]["history"], params={"max_history_size": 2})
    assert [each["processed"] for each in short["items"]][-1:] == [21]
    assert len(short["items"]) <= 2


async def test_the_history_says_what_the_workers_used_once_that_is_known(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = await ended(place, await created(place))
    engine, history = place.shop.engine, done["links"]["history"]
    end = datetime.fromisoformat(done["finished_at"]).timestamp()
    # So much that what the engine itself adds meanwhile is nothing beside it.
    used = [
        Used(width, int(end // width) * width, 2000.0 * width, 500.0 * width, 2.0**40 * width, 1)
        for width in (STEP, HOUR)
    ]
    await engine.database.write(partial(worker_use.add, systems=["annotations"], used=used))
    later = engine.clock.now() + timedelta(hours=1)
    monkeypatch.setattr(engine.clock, "now", lambda: later)
    shown = (await place.ask("GET", history))["items"][-1]
    found = [shown[name] for name in ("workers", "cpu_percent", "memory_bytes")]
    assert found == pytest.approx([2000, 50_000, 2**40], rel=0.01)


async def test_one_failure_undoes_the_whole_job(place: Place) -> None:
    items = [*SPANS, {**SPANS[0], "label_id": 99}]
    done = await ended(place, await created(place, items, rollback_on_error=True, chunk_size=5))
    assert (done["status"], done["succeeded"]) == ("rolled_back", 0)
    assert done["rolled_back"] > 0
    assert (await place.get("annotations"))["total"] == 0


async def test_a_batch_that_validates_between_its_steps_is_undone(place: Place) -> None:
    """What only reads keeps nothing from being put back."""
    params = {"project_id": place.number}
    spans = [{"text_id": 1, "start_char": 0, "end_char": 3, "label_id": 1}]
    looked = {"operation": "annotations.validate", "params": params, "after": ["make"]}
    steps = [
        {"name": "make", "operation": "annotations.create", "params": params, "items": spans},
        {"name": "look", "items": [{"id": 1}], **looked},
    ]
    batch = await place.ask("POST", "/api/v1/batches", {"steps": steps}, status=202)
    done = await place.shop.settled(batch, headers=BOSS)
    assert done["status"] == "completed"
    undoing = await place.ask("POST", done["links"]["undo"], {"reason": "a mistake"}, status=202)
    undone = await place.shop.settled(batch, after=undoing["version"], headers=BOSS)
    assert undone["status"] == "rolled_back"
    assert [step["status"] for step in undone["steps"]] == ["rolled_back", "completed"]
    assert (await place.get("annotations"))["items"] == []


async def test_a_dry_run_changes_nothing_and_options_reach_the_engine(place: Place) -> None:
    more = {"dry_run": True, "retries": 2, "priority": 9, "max_workers": 7, "chunk_size": "auto"}
    done = await ended(place, await created(place, name="first look", **more))
    assert (done["dry_run"], done["name"], done["succeeded"]) == (True, "first look", 0)
    assert (await place.get("annotations"))["total"] == 0
    job = await place.ask("GET", f"/api/v1/jobs/{done['job_id']}")
    assert job["options"]["retry"]["attempts"] == 3
    assert (job["priority"], job["caps"]["concurrency"]) == (9, 7)


async def test_updates_and_deletions_are_of_a_list_or_of_what_a_filter_has_matched(
    place: Place,
) -> None:
    await ended(place, await created(place))
    update, delete = ("PUT", f"{BATCH}/update"), ("DELETE", f"{BATCH}/delete")
    project = {"project_id": place.number}
    each = {"updates": [{"id": 1, "label_id": 2}, {"id": 2, "version": 7, "label_id": 2}]}
    done = await ended(place, await place.ask(*update, project | each, status=202))
    assert (done["succeeded"], done["failed"]) == (1, 1)
    some = {"filter": {"confidence_min": 0.5, "confidence_max": 0.6}, "set": {"label_id": 2}}
    done = await ended(place, await place.ask(*update, project | some, status=202))
    assert done["succeeded"] == 3
    assert (await place.get("annotations", label_id=2))["total"] == 4
    gone = {"filter": {"label_id": 2, "created_by": "boss"}}
    done = await ended(place, await place.ask(*delete, project | gone, status=202))
    assert (done["total"], done["succeeded"]) == (4, 4)
    done = await ended(place, await place.ask(*delete, project | {"ids": [2, 3, 999]}, status=202))
    assert (done["succeeded"], done["failed"]) == (2, 1)
    assert (await place.get("annotations"))["total"] == 14
    await place.ask(*delete, project | {"filter": {}}, status=422)
    all_of_it = await place.ask(*delete, project | {"filter": {}, "confirm": "all"}, status=202)
    assert (await ended(place, all_of_it))["succeeded"] == 14


@pytest.mark.parametrize(
    ("route", "body", "pointer"),
    [
        ("POST create", {}, "/annotations"),
        ("POST create", {"annotations": {}}, "/annotations"),
        ("POST create", {"annotations": [], "colour": 1}, "/colour"),
        ("POST create", {"annotations": SPANS, "max_workers": 0}, "/max_workers"),
        ("POST create", {"annotations": SPANS, "chunk_size": "big"}, "/chunk_size"),
        ("PUT update", {}, "/updates"),
        ("PUT update", {"updates": [], "set": {"label_id": 1}}, "/updates"),
        ("PUT update", {"filter": {"text_id": 1}}, "/updates"),
        ("PUT update", {"filter": {"text_id": 1}, "set": {"colour": 1}}, "/set/colour"),
        (
            "PUT update",
            {"filter": {"text_id": 1}, "set": {"metadata": {"a": "x" * 50_000}}},
            "/set",
        ),
        ("PUT update", {"filter": {"text_id": 1}, "set": {"label_id": 1}}, "/confirm"),
        ("DELETE delete", {"ids": [1], "filter": {}}, "/ids"),
        ("DELETE delete", {"ids": []}, "/ids"),
        ("DELETE delete", {"filter": {"colour": 1}}, "/filter/colour"),
    ],
)
async def test_what_cannot_be_is_refused_where_it_stands(
    place: Place, route: str, body: Any, pointer: str
) -> None:
    method, name = route.split()
    body = {"project_id": place.number, **body}
    problem = await place.ask(method, f"{BATCH}/{name}", body, status=422)
    assert problem["pointer"] == pointer
    assert (await place.ask("GET", OPERATIONS))["total"] == 0


async def test_each_role_runs_what_it_may(place: Place) -> None:
    project = {"project_id": place.number}
    asked: list[tuple[str, str, Any, str]] = [
        ("POST", "create", {"annotations": SPANS[:1]}, "annotator"),
        ("PUT", "update", {"updates": [{"id": 1, "label_id": 2}]}, "annotator"),
        ("DELETE", "delete", {"ids": [1]}, "manager"),
    ]
    for method, name, more, least in asked:
        path, body = f"{BATCH}/{name}", project | more
        lower = "viewer" if least == "annotator" else "annotator"
        problem = await place.ask(method, path, body, status=403, who=by(lower))
        assert problem["code"] == "role_lacking"
        await place.ask(method, path, body, status=404, who=by("stranger"))
        await place.ask(method, path, body, status=404, who=by("admin", "other"))
        accepted = await place.ask(method, path, body, status=202, who=by(least))
        assert (await ended(place, accepted))["created_by"] == least
        for link in ("status", "history"):
            await place.ask("GET", accepted["links"][link], who=by("viewer"))
            await place.ask("GET", accepted["links"][link], status=404, who=by("stranger"))
    cancel = accepted["links"]["cancel"]
    await place.ask("DELETE", cancel, status=403, who=by("annotator"))
    await place.ask("DELETE", cancel, status=404, who=by("stranger"))
    await place.ask("DELETE", cancel, status=409, who=by("manager"))


async def test_operations_are_listed_the_latest_first_and_narrowed(place: Place) -> None:
    await ended(place, await created(place))
    body = {"project_id": place.number, "updates": [{"id": 1, "label_id": 2}]}
    await ended(place, await place.ask("PUT", f"{BATCH}/update", body, status=202))
    other = await place.ask("POST", PROJECTS, {"name": "other"}, status=201)
    text = await place.ask(
        "POST", f"{PROJECTS}/{other['project_id']}/texts", {"content": TEXT}, status=201
    )
    label = await place.ask(
        "POST", f"{PROJECTS}/{other['project_id']}/labels", {"name": "X"}, status=201
    )
    span = {**SPANS[0], "text_id": text["text_id"], "label_id": label["label_id"]}
    body = {"project_id": other["project_id"], "annotations": [span]}
    last = await place.ask("POST", f"{BATCH}/create", body, status=202)
    await ended(place, last)
    async with asyncio.timeout(WAIT):
        # The list may lag by a fraction of a second.
        done = {"status": "completed"}
        while (page := await place.ask("GET", OPERATIONS, params=done))["total"] < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert [item["operation_id"] for item in page["items"]] == [3, 2, 1]
    assert page["items"][0]["succeeded"] == 1
    for query, count in (
        ({"type": "annotations.create"}, 2),
        ({"project_id": place.number}, 2),
        ({"status": "failed"}, 0),
        ({"created_by": "boss", "created_after": "2020-01-01"}, 3),
        ({"created_before": "2020-01-01"}, 0),
    ):
        assert (await place.ask("GET", OPERATIONS, params=query))["total"] == count, query
    mine = await place.ask("GET", OPERATIONS, who=by("viewer"))
    assert {item["project_id"] for item in mine["items"]} == {place.number}
    page = await place.ask("GET", OPERATIONS, params={"limit": 1, "offset": 1})
    assert ([item["operation_id"] for item in page["items"]], page["total"]) == ([2], 3)


async def test_boxes_are_made_changed_and_deleted_in_bulk_as_annotations_are(place: Place) -> None:
    boxes, project = "/api/v1/batch/boxes", {"project_id": place.number}
    (image,) = (await place.get("images"))["items"]
    new = [
        {"image_id": image["image_id"], "label": "PERSON", "bbox": [n, 0, 5, 5]} for n in range(9)
    ]
    outside = {**new[0], "bbox": [700, 0, 5, 5]}
    body = {**project, "boxes": [*new, outside]}
    who = by("annotator")
    made = await place.ask("POST", f"{boxes}/create", body, status=202, who=who)
    done = await ended(place, made)
    assert (done["type"], done["succeeded"], done["failed"]) == ("annotations.create_boxes", 9, 1)
    (first, *_) = (await place.get("boxes"))["items"]
    changes = [
        {"updates": [{"id": first["id"], "confidence_score": 0.9}]},
        {"filter": {"image_id": image["image_id"], "confidence_min": 0.5}, "set": {"label_id": 2}},
    ]
    for change in changes:
        changed = await place.ask("PUT", f"{boxes}/update", project | change, status=202, who=who)
        assert (await ended(place, changed))["succeeded"] == 1
    assert (await place.get("boxes", label_id=2))["total"] == 1
    wanted = project | {"filter": {"label_id": 1}}
    refused = await place.ask("DELETE", f"{boxes}/delete", wanted, status=403, who=who)
    assert refused["code"] == "role_lacking"
    gone = await place.ask("DELETE", f"{boxes}/delete", wanted, status=202, who=by("manager"))
    assert (await ended(place, gone))["succeeded"] == 8
    await place.ask("POST", f"/api/v1/jobs/{gone['job_id']}/undo", {}, status=202)
    assert (await ended(place, gone))["rolled_back"] == 8
    assert (await place.get("boxes"))["total"] == 9
    listed = await place.ask(
        "GET", OPERATIONS, params={"type": "annotations.update_boxes", **project}
    )
    assert listed["total"] == 2
    for body, pointer in (
        ({"filter": {"text_id": 1}, "set": {"label_id": 2}}, "/filter/text_id"),
        ({"filter": {}, "set": {"label_id": 2}}, "/confirm"),
    ):
        problem = await place.ask("PUT", f"{boxes}/update", project | body, status=422)
        assert problem["pointer"] == pointer
