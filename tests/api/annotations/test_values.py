"""Values of records: what JSON, or a database, has no place for comes in nowhere.

What an earlier release has taken all the same is shown, changed and exported.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Connection, update

from domain.systems.annotations import tables
from domain.systems.annotations.formats.contract import Subject
from domain.systems.annotations.formats.registry import FORMATS
from tests.api.annotations.place import BOSS, TEXT, Place
from tests.api.annotations.test_exporting import exported
from tests.api.annotations.test_records import SPAN

NDJSON = {**BOSS, "Content-Type": "application/x-ndjson"}
BIG = 2**64
ODD = f'{{"n":NaN,"far":[-Infinity],"big":{BIG}}}'
WRITTEN = [(form.name, form.subject) for form in FORMATS if form.write is not None]


async def worked(
    place: Place, operation: str, *items: str, params: dict[str, Any] | None = None
) -> list[Any]:
    """The items of a job that is sent as lines, when it is done."""
    given = {"project_id": place.number} if params is None else params
    query = {"operation": operation, "params": json.dumps(given)}
    body = "".join(f"{item}\n" for item in items).encode()
    async with place.shop.client.post(
        "/api/v1/jobs", params=query, data=body, headers=NDJSON
    ) as response:
        assert response.status == 202, await response.text()
        job = await response.json()
    await place.shop.settled(job, headers=BOSS)
    return list((await place.ask("GET", f"/api/v1/jobs/{job['job_id']}/items"))["items"])


def spans(*metadata: str) -> list[str]:
    """Annotations as lines, each with other metadata."""
    span = '{"text_id":1,"start_char":0,"end_char":3,"label_id":1,"metadata":'
    return [f"{span}{each}}}" for each in metadata]


async def put(place: Place, metadata: str = ODD) -> None:
    """A record of each kind that has metadata, with these."""
    await place.add("annotations", **SPAN)
    await place.add("boxes", image_id=1, label_id=1, bbox=[1, 2, 3, 4])

    def write(connection: Connection) -> None:
        for table in (tables.texts, tables.images, tables.annotations, tables.boxes):
            connection.execute(update(table).values(metadata=metadata))

    await place.shop.engine.database.write(write)


async def test_numbers_that_json_has_not_are_refused_where_they_stand(place: Place) -> None:
    wrong = [
        ('{"n":NaN}', "/n"),
        ('{"deep":[{"a/b":[0,-Infinity]}]}', "/deep/0/a~1b/1"),
        ('{"n":1e999}', "/n"),
        (f'{{"n":{2**64}}}', "/n"),
        (f'{{"n":[{-(2**63) - 1}]}}', "/n/0"),
    ]
    good = f'{{"n":[{2**64 - 1},{-(2**63)},1e308,"NaN"]}}'
    items = await worked(place, "annotations.create", *spans(*(text for text, _ in wrong), good))
    for item, (_, at) in zip(items, wrong, strict=False):
        assert (item["status"], item["error"]["code"]) == ("failed", "invalid")
        assert item["error"]["pointer"] == "/metadata"
        assert f"{at}: " in item["error"]["message"]
    assert items[-1]["status"] == "succeeded"
    (half,) = await worked(place, "annotations.create", *spans('{"n":"\\ud800"}'))
    assert half["error"]["code"] == "not_json"
    mapping = f'{{"project_id":{place.number},"name":"m","mapping":{{"x":{{"constant":NaN}}}}}}'
    (constant,) = await worked(place, "annotations.create_mappings", mapping, params={})
    assert constant["error"]["pointer"] == "/mapping/x"
    assert (await place.get("annotations"))["items"][0]["metadata"] == json.loads(good)


@pytest.mark.parametrize("kind", ["texts", "images", "annotations", "boxes"])
async def test_what_is_there_already_is_shown_and_changed(place: Place, kind: str) -> None:
    await put(place)
    shown = {"n": None, "far": [None], "big": BIG}
    assert (await place.get(kind))["items"][0]["metadata"] == shown
    path = f"{place.path}/{kind}/1"
    assert (await place.ask("GET", path))["metadata"] == shown
    changed = await place.ask("PATCH", path, {"metadata": {"n": 1}})
    assert changed["metadata"] == {"n": 1}


@pytest.mark.parametrize("kind", ["texts", "images", "annotations", "boxes"])
async def test_a_change_that_is_made_is_answered_whatever_the_record_has(
    place: Place, kind: str
) -> None:
    await put(place, f'{{"big":{BIG}}}')
    change = {
        "texts": {"content": TEXT},
        "images": {"width": 641},
        "annotations": {"confidence_score": 0.5},
        "boxes": {"confidence_score": 0.5},
    }[kind]
    changed = await place.ask("PATCH", f"{place.path}/{kind}/1", change)
    assert (changed["version"], changed["metadata"]) == (2, {"big": BIG})


@pytest.mark.parametrize(("form", "subject"), WRITTEN)
async def test_what_is_there_already_poisons_no_export(
    place: Place, form: str, subject: Subject
) -> None:
    await put(place)
    data = await exported(place, form)
    if subject is Subject.TEXT and form != "xlsx":
        assert b"Ada" in data
    assert b"NaN" not in data
    assert b"Infinity" not in data


@pytest.mark.parametrize("validity", ["valid", "invalid"])
async def test_what_is_there_already_is_judged_by_the_rules(place: Place, validity: str) -> None:
    await put(place, '{"n":NaN}')
    data = await exported(place, filters={"validity": validity})
    found = json.loads(data)["annotations"]
    assert [each.get("metadata") for each in found] == [{"n": None}] * (validity == "valid")


NUL = "a\0b"


@pytest.mark.parametrize(
    ("kind", "field", "fields"),
    [
        ("texts", "content", {}),
        ("labels", "name", {}),
        ("labels", "colour", {"name": "x"}),
        ("labels", "hotkey", {"name": "x"}),
        ("images", "file_name", {"width": 1, "height": 1}),
        ("members", "subject", {"role": "viewer"}),
        ("mappings", "name", {"mapping": {}}),
        ("annotations", "label", {name: SPAN[name] for name in SPAN if name != "label"}),
    ],
)
async def test_a_zero_is_no_character_of_a_text_or_a_name(
    place: Place, kind: str, field: str, fields: dict[str, Any]
) -> None:
    problem = await place.add(kind, **fields, **{field: NUL}, status=422)
    assert (problem["code"], problem["pointer"]) == ("invalid", f"/{field}")
    assert "U+0000" in problem["detail"]


@pytest.mark.parametrize("field", ["name", "description"])
async def test_a_zero_is_no_character_of_what_a_project_is_called(place: Place, field: str) -> None:
    path = place.path
    problem = await place.ask("PATCH", path, {field: NUL}, status=422)
    assert (problem["code"], problem["pointer"]) == ("invalid", f"/{field}")


async def test_a_zero_comes_in_by_no_job(place: Place) -> None:
    item = {"content": TEXT, "annotations": []}
    wrong = {"content": NUL}, {**item, "key": NUL}, {**item, "labels": [NUL]}
    lines = [json.dumps(each) for each in (*wrong, item)]
    *failed, done = await worked(place, "texts.import", *lines)
    pointers = [each["error"]["pointer"] for each in failed]
    assert pointers == ["/content", "/key", "/labels/0"]
    assert done["status"] == "succeeded"
