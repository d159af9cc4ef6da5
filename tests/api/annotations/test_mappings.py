"""Mappings: fields of files by other names, said once and used by name."""

from __future__ import annotations

import json
from typing import Any

from tests.api.annotations.place import BOSS, PROJECTS, Place, by
from tests.api.annotations.test_exporting import documents, exported, start
from tests.api.annotations.test_importing import ended, lines, send

REVIEWS = {
    "content": "review.body",
    "key": {"template": "{source}-{nr}"},
    "labels": {"constant": ["imported"]},
}


async def test_a_mapping_is_used_by_its_name_in_both_directions(place: Place) -> None:
    made = await place.add("mappings", name="reviews", mapping=REVIEWS, who=by("manager"))
    assert (made["mapping"], made["created_by"]) == (REVIEWS, "manager")
    data = lines({"review": {"body": "Good."}, "source": "web", "nr": 7})
    operation = await send(place, data, field_mapping="reviews")
    assert (await ended(place, operation))["succeeded"] == 1
    text = documents(await exported(place))[-1]
    assert (text.content, text.key, text.labels) == ("Good.", "web-7", ("imported",))

    out = {"body": "content", "all": {"path": "labels"}}
    await place.add("mappings", name="out", mapping=out)
    written = json.loads((await exported(place, "jsonl", field_mapping="out")).splitlines()[-1])
    assert (written["body"], written["all"], "content" in written) == ("Good.", ["imported"], False)


async def test_an_operation_keeps_the_mapping_that_its_name_stood_for(place: Place) -> None:
    made = await place.add("mappings", name="out", mapping={"a": "content"})
    operation = await start(place, field_mapping="out")
    path = f"{place.path}/mappings/{made['mapping_id']}"
    changed = await place.ask("PATCH", path, {"mapping": {"b": "content"}, "version": 1})
    assert (changed["mapping"], changed["version"]) == ({"b": "content"}, 2)
    await ended(place, operation)
    async with place.shop.client.get(operation["links"]["download"], headers=BOSS) as response:
        assert "a" in json.loads(await response.read())


async def test_what_is_no_mapping_is_refused_where_it_is_wrong(place: Place) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"name": "x", "mapping": {"a": {"paths": "b"}}}, "/mapping/a"),
        ({"name": "x", "mapping": {"a/b": 7}}, "/mapping/a~1b"),
        ({"name": "x", "mapping": {"": "b"}}, "/mapping/"),
        ({"name": "x", "mapping": {f"f{n}": "b" for n in range(101)}}, "/mapping"),
        ({"name": "{x", "mapping": {}}, "/name"),
        ({"name": "x"}, "/mapping"),
    ]
    for body, pointer in wrong:
        refused = await place.ask("POST", f"{place.path}/mappings", body, status=422)
        assert refused["pointer"] == pointer
    await place.add("mappings", name="x", mapping={})
    refused = await place.add("mappings", name="x", mapping={}, status=409)
    assert refused["code"] == "record_refused"
    for answer in (
        await start(place, field_mapping="none", status=422),
        await send(place, lines({"content": "x"}), field_mapping="none", status=422),
    ):
        assert (answer["code"], answer["pointer"]) == ("invalid", "/field_mapping")


async def test_a_mapping_is_its_projects_and_its_managers(place: Place) -> None:
    made = await place.add("mappings", name="x", mapping={"a": "content"})
    assert (await place.get("mappings", by("viewer")))["total"] == 1
    for role in ("viewer", "annotator"):
        refused = await place.add("mappings", name="y", mapping={}, who=by(role), status=403)
        assert refused["code"] == "role_lacking"
    project = await place.ask("POST", PROJECTS, {"name": "other"}, status=201)
    other = Place(place.shop, f"{PROJECTS}/{project['project_id']}")
    await other.add("texts", content="x")
    await start(other, field_mapping="x", status=422)
    await other.add("mappings", name="own", mapping={})
    text = (await other.get("texts"))["items"][0]["text_id"]
    await other.ask("DELETE", f"{other.path}/texts/{text}")
    await other.ask("DELETE", other.path)
    path = f"{place.path}/mappings/{made['mapping_id']}"
    await place.ask("DELETE", path, who=by("annotator"), status=403)
    await place.ask("DELETE", path, who=by("manager"))
    assert (await place.get("mappings"))["total"] == 0
