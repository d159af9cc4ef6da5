"""The platform's records and numbers, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from domain.errors import EditRefused, RecordNotFound, RecordRefused, RoleLacking, VersionMismatch
from domain.permissions import Permission
from domain.systems.annotations.kinds import (
    ANNOTATIONS,
    BOXES,
    IMAGES,
    LABELS,
    MEMBERS,
    PROJECTS,
    TEXTS,
)
from domain.systems.annotations.roles import ProjectRole
from streams.callers import Caller
from streams.stores.database import Database
from streams.systems.annotations import Platform, numbers, readings
from streams.systems.annotations.numbers import Numbered
from streams.systems.annotations.readings import LOST_SECONDS, Reading
from tests.systems.bench import NOW, FixedClock

ADA = Caller("acme", "ada", frozenset({Permission.SUBMIT, Permission.PARTICIPATE}))
GRACE = Caller("acme", "grace", frozenset({Permission.PARTICIPATE}))
PAGE = {"limit": 10, "offset": 0}


@pytest.fixture
def platform(database: Database) -> Platform:
    return Platform(database, FixedClock())


async def test_records_are_written_found_and_gone(platform: Platform) -> None:
    project = int((await platform.create_project(ADA, {"name": "letters"}))["id"])
    text = await platform.create(ADA, project, TEXTS, {"content": "Ada wrote 🖋 to Charles."})
    person = await platform.create(ADA, project, LABELS, {"name": "PERSON", "order": 2})
    first = await platform.create(ADA, project, LABELS, {"name": "PEN", "hotkey": "p"})
    size = {"file_name": "a.png", "width": 640, "height": 480}
    image = await platform.create(ADA, project, IMAGES, size)
    span = {"text_id": text["id"], "label_id": first["id"], "start_char": 10, "end_char": 11}
    made = await platform.create(ADA, project, ANNOTATIONS, {**span, "confidence_score": 0.5})
    assert made["selected_text"] == "🖋"
    box = {"image_id": image["id"], "label": "PEN", "bbox": [0, 0, 10.5, 20]}
    await platform.create(ADA, project, BOXES, {**box, "polygon": [[0, 0], [1, 0], [1, 1]]})
    assert [row["id"] for row in (await platform.page(ADA, project, LABELS, {}, **PAGE)).items] == [
        first["id"],
        person["id"],
    ]
    found = await platform.page(ADA, project, TEXTS, {"q": "WROTE 🖋"}, **PAGE)
    assert (found.total, found.items[0]["length"]) == (1, 23)
    wanted = {"confidence_min": 0.5, "confidence_max": 0.5, "created_by": "ada"}
    assert (await platform.page(ADA, project, ANNOTATIONS, wanted, **PAGE)).total == 1
    with pytest.raises(EditRefused, match="span_out_of_range"):
        await platform.change(ADA, project, ANNOTATIONS, made["id"], {"end_char": 99}, version=None)
    with pytest.raises(VersionMismatch):
        await platform.delete(ADA, project, ANNOTATIONS, made["id"], version=7)
    with pytest.raises(RecordRefused):
        await platform.create(ADA, project, LABELS, {"name": "NIB", "hotkey": "p"})
    with pytest.raises(RecordRefused):
        await platform.delete(ADA, project, LABELS, first["id"], version=None)
    with pytest.raises(RecordRefused):
        await platform.delete(ADA, project, PROJECTS, project, version=None)
    assert (await platform.page(ADA, project, MEMBERS, {}, **PAGE)).total == 1
    for kind in (ANNOTATIONS, BOXES, TEXTS, IMAGES, LABELS):
        for row in (await platform.page(ADA, project, kind, {}, **PAGE)).items:
            await platform.delete(ADA, project, kind, row["id"], version=row["version"])
    await platform.delete(ADA, project, PROJECTS, project, version=None)
    assert (await platform.projects(ADA, {}, **PAGE)).total == 0


async def test_members_are_let_in_as_far_as_their_role_goes(platform: Platform) -> None:
    project = int((await platform.create_project(ADA, {"name": "letters"}))["id"])
    with pytest.raises(RecordNotFound):
        await platform.seat(GRACE, project)
    grace = {"subject": "grace", "role": ProjectRole.ANNOTATOR}
    await platform.create(ADA, project, MEMBERS, grace)
    assert (await platform.seat(GRACE, project)).role is ProjectRole.ANNOTATOR
    with pytest.raises(RoleLacking):
        await platform.create(GRACE, project, LABELS, {"name": "x"})
    assert (await platform.projects(GRACE, {"q": "LETT"}, **PAGE)).total == 1


async def test_a_job_has_one_number_however_often_it_is_asked_for(platform: Platform) -> None:
    project = int((await platform.create_project(ADA, {"name": "letters"}))["id"])
    first = await platform.number(ADA, project, "annotations.create", "job-1")
    again = await platform.number(ADA, project, "annotations.create", "job-1")
    other = await platform.number(ADA, project, "annotations.update", "job-2")
    assert again == first
    assert other.operation_id > first.operation_id
    page = await platform.operations(ADA, {"project_id": project}, limit=1, offset=1)
    assert (page.total, page.items[0]["number"], page.items[0]["document"]) == (2, first, None)
    assert (await platform.operations(ADA, {"status": "running"}, **PAGE)).total == 0
    found, seat = await platform.operation(ADA, first.operation_id)
    assert (found, seat.role) == (first, ProjectRole.ADMIN)
    for stranger in (GRACE, Caller("other", "ada")):
        with pytest.raises(RecordNotFound):
            await platform.operation(stranger, first.operation_id)


@pytest.mark.parametrize(
    ("silent", "status"), [(LOST_SECONDS, "pending"), (LOST_SECONDS + 0.001, "failed")]
)
async def test_who_reads_a_file_is_lost_by_the_clock_that_the_platform_was_given(
    database: Database, platform: Platform, silent: float, status: str
) -> None:
    project = int((await platform.create_project(ADA, {"name": "letters"}))["id"])
    seen = NOW - timedelta(seconds=silent)
    reading = Reading(name="x.jsonl", bytes_total=9, began_at=seen, seen_at=seen)

    def left(connection: Connection) -> Numbered:
        readings.begin(
            connection, tenant="acme", project_id=project, job_id="job-1", reading=reading
        )
        return numbers.give(connection, ADA, project, "texts.import", "job-1", NOW.timestamp())

    found = await database.write(left)
    shown = await platform.files.reading(found, "acme")
    assert shown is not None
    assert (shown.fault is None) == (status == "pending")
    for other in ("pending", "failed"):
        page = await platform.operations(ADA, {"status": other}, **PAGE)
        assert page.total == (other == status)
