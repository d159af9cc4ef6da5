"""Records of the platform, one by one: what they look like, who may write them, who has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.annotations.place import BOSS, PROJECTS, ROLES, TEXT, Place, by
from tests.api.proofs import bearer

SPAN = {"text_id": 1, "start_char": 0, "end_char": 3, "label": "PERSON"}
NEW: dict[str, dict[str, Any]] = {
    "texts": {"content": "Another one."},
    "labels": {"name": "DATE", "hotkey": "d", "order": 7, "colour": "#ff0000"},
    "members": {"subject": "eve", "role": "viewer"},
    "images": {"file_name": "b.png", "width": 10, "height": 20},
    "annotations": {**SPAN, "confidence_score": 0.5, "metadata": {"why": "it is a name"}},
    "boxes": {"image_id": 1, "label_id": 2, "bbox": [1, 2, 3.5, 4], "polygon": None},
    "rules": {
        "name": "capital",
        "definition": {"kind": "regex", "field": "selected_text", "pattern": "^[A-Z]"},
        "severity": "warning",
        "labels": ["PERSON"],
    },
    "thresholds": {"threshold": 0.5, "severities": {"cut_word": "error", "long_span": "off"}},
}
CHANGED: dict[str, dict[str, Any]] = {
    "texts": {"metadata": {"page": 3}},
    "labels": {"hotkey": None},
    "members": {"role": "annotator"},
    "images": {"width": 11},
    "annotations": {"end_char": 9},
    "boxes": {"bbox": [0, 0, 640, 480], "polygon": [[0, 0], [9, 0], [9, 9]]},
    "rules": {
        "definition": {"kind": "range", "field": "length", "maximum": 40.0},
        "enabled": False,
    },
    "thresholds": {"allow_overlaps": False},
}
KEYS = {
    "texts": "text_id",
    "labels": "label_id",
    "members": "member_id",
    "images": "image_id",
    "rules": "rule_id",
    "thresholds": "threshold_id",
}
TABLES = {"rules": "validation_rules", "thresholds": "validation_thresholds"}
"""Where records are not called as their table."""
NEEDED = {"annotations": "annotator", "boxes": "annotator"}


async def test_a_list_is_filtered_by_no_empty_name(place: Place) -> None:
    refused = await place.ask("GET", f"{place.path}/texts", params={"created_by": ""}, status=400)
    assert (refused["code"], refused["pointer"]) == ("bad_parameter", "/created_by")
    assert (await place.get("texts", q=""))["total"] == 1


@pytest.mark.parametrize("kind", NEW)
async def test_a_record_is_made_read_changed_and_deleted(place: Place, kind: str) -> None:
    before = (await place.get(kind))["total"]
    made = await place.add(kind, **NEW[kind])
    path = f"{place.path}/{kind}/{made[KEYS.get(kind, 'id')]}"
    shown = await place.ask("GET", path)
    assert shown == made
    assert {name: made.get(name) for name in NEW[kind] if name != "label"} == {
        name: value for name, value in NEW[kind].items() if name != "label"
    }
    assert (made["version"], made["project_id"], made["created_by"]) == (1, place.number, "boss")
    changed = await place.ask("PATCH", path, CHANGED[kind])
    assert {name: changed[name] for name in CHANGED[kind]} == CHANGED[kind]
    assert (changed["version"], changed["updated_by"]) == (2, "boss")
    page = await place.get(kind, limit=1, offset=before)
    assert (page["total"], page["limit"], page["offset"]) == (before + 1, 1, before)
    assert page["items"][0][KEYS.get(kind, "id")] == made[KEYS.get(kind, "id")]
    assert await place.ask("DELETE", path) == {
        KEYS.get(kind, "id"): made[KEYS.get(kind, "id")],
        "deleted": True,
    }
    await place.ask("GET", path, status=404)
    record = f"/api/v1/records/{TABLES.get(kind, kind)}/{made[KEYS.get(kind, 'id')]}/history"
    past = (await place.ask("GET", record))["items"]
    assert [(each["version"], each["by"]["actor"], each["by"]["job_id"]) for each in past] == [
        (3, "boss", None),
        (2, "boss", None),
        (1, "boss", None),
    ]


async def test_a_span_is_filled_in_and_must_be_where_it_says(place: Place) -> None:
    made = await place.add("annotations", **SPAN)
    assert (made["selected_text"], made["label_id"]) == ("Ada", 1)
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"end_char": 99}, "/end_char", "span_out_of_range"),
        ({"selected_text": "Eve"}, "/selected_text", "text_mismatch"),
        ({"label": "DATE"}, "/label", "label_not_found"),
        ({"text_id": 9}, "/text_id", "text_not_found"),
    ]
    for more, pointer, rule in wrong:
        problem = await place.add("annotations", **{**SPAN, **more}, status=422)
        assert (problem["code"], problem["pointer"]) == ("edit_refused", pointer)
        assert problem["detail"].startswith(rule)
    assert (await place.get("annotations"))["total"] == 1
    problem = await place.add("boxes", image_id=1, label_id=1, bbox=[600, 0, 41, 9], status=422)
    assert problem["pointer"] == "/bbox"


async def test_a_rule_that_cannot_be_applied_is_refused_where_it_is_wrong(place: Place) -> None:
    regex = {"kind": "regex", "field": "selected_text", "pattern": "(?<=a)b"}
    wrong: list[tuple[dict[str, Any], str, str]] = [
        (regex, "/definition/pattern", "RE2 does not take the pattern"),
        ({"kind": "expression", "expression": "a.b"}, "/definition/expression", "Attribute"),
        ({"kind": "range", "maximum": 1}, "/definition/field", "required"),
        ({"kind": "range", "field": "height"}, "/definition/field", "there is no field"),
        ({"kind": "allowed", "field": "label", "values": []}, "/definition/values", "at least 1"),
        ({"kind": "magic"}, "/definition", "magic"),
    ]
    for definition, pointer, says in wrong:
        problem = await place.add("rules", name="wrong", definition=definition, status=422)
        assert (problem["code"], problem["pointer"]) == ("invalid", pointer)
        assert says in problem["detail"]
    made = await place.add("rules", name="right", definition=regex | {"pattern": "b"})
    path = f"{place.path}/rules/{made['rule_id']}"
    problem = await place.ask("PATCH", path, {"definition": regex}, status=422)
    assert problem["pointer"] == "/definition/pattern"
    assert (await place.ask("GET", path)) == made
    problem = await place.add("thresholds", severities={"cut_word": "grave"}, status=422)
    assert problem["pointer"] == "/severities/cut_word"


async def test_rules_and_thresholds_hold_from_the_next_annotation_on(place: Place) -> None:
    await place.add("thresholds", threshold=0.9, status=201)
    shown = (await place.get("thresholds"))["items"][0]
    assert (shown["threshold"], shown["max_span"], shown["severities"]) == (0.9, 1000, {})
    await place.add("thresholds", threshold=0.9, status=409)
    problem = await place.add("annotations", **{**SPAN, "end_char": 2}, status=422)
    assert problem["detail"].startswith("below_threshold")
    capital = {"kind": "regex", "field": "selected_text", "pattern": "^[a-z]"}
    rule = await place.add("rules", name="small", definition=capital)
    problem = await place.add("annotations", **SPAN, status=422)
    assert problem["detail"].startswith("custom.small")
    path = f"{place.path}/rules/{rule['rule_id']}"
    assert (await place.ask("PATCH", path, {"enabled": False}))["version"] == 2
    await place.add("annotations", **SPAN)


async def test_a_change_is_meant_for_the_version_that_was_seen(place: Place) -> None:
    made = await place.add("annotations", **SPAN)
    path = f"{place.path}/annotations/{made['id']}"
    seen = {"If-Match": '"1"'}
    await place.ask("PATCH", path, {"confidence_score": 0.9}, headers=seen)
    for asked in (
        {"method": "PATCH", "body": {"confidence_score": 0.1}, "headers": seen},
        {"method": "PATCH", "body": {"confidence_score": 0.1, "version": 1}},
        {"method": "DELETE", "headers": seen},
        {"method": "DELETE", "body": {"version": 1}},
    ):
        problem = await place.ask(path=path, status=412, **asked)
        assert problem["code"] == "version_mismatch"
    assert (await place.ask("GET", path))["confidence_score"] == 0.9
    await place.ask("DELETE", path, {"version": 2})


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"vresion": 1}, "/vresion"),
        ({"version": "1"}, "/version"),
        ({"version": 0}, "/version"),
        ([1], ""),
    ],
)
async def test_a_deletion_says_nothing_but_the_version(
    place: Place, body: Any, pointer: str
) -> None:
    for path in (f"{place.path}/texts/1", place.path):
        problem = await place.ask("DELETE", path, body, status=422)
        assert (problem["code"], problem.get("pointer", "")) == ("invalid", pointer)
    assert (await place.get("texts"))["total"] == 1
    for nothing in ({}, {"version": None}):
        made = await place.add("texts", content="Another one.")
        await place.ask("DELETE", f"{place.path}/texts/{made['text_id']}", nothing)


async def test_lists_are_narrowed(place: Place) -> None:
    for start, end, score, label in (
        (0, 3, 0.2, "PERSON"),
        (13, 20, 0.8, "PERSON"),
        (4, 9, None, "PLACE"),
    ):
        span = {"text_id": 1, "start_char": start, "end_char": end, "label": label}
        await place.add("annotations", **span, confidence_score=score, who=by("annotator"))
    for query, count in (
        ({"label_id": 1}, 2),
        ({"text_id": 2}, 0),
        ({"confidence_min": 0.5}, 1),
        ({"confidence_max": 0.8, "confidence_min": "2e-1"}, 2),
        ({"created_by": "annotator"}, 3),
        ({"created_by": "boss"}, 0),
        ({"created_after": "2020-01-01"}, 3),
        ({"created_before": "2020-01-01"}, 0),
    ):
        assert (await place.get("annotations", **query))["total"] == count, query
    assert (await place.get("texts", q="WROTE"))["items"][0]["excerpt"] == TEXT
    assert (await place.get("members", role="manager"))["total"] == 1
    for query in ({"q": "x"}, {"limit": 0}, {"limit": 501}, {"confidence_min": "nan"}):
        problem = await place.ask("GET", f"{place.path}/annotations", status=400, params=query)
        assert problem["code"] == "bad_parameter"
    await place.ask("GET", f"{place.path}/texts", status=400, params={"q": "a\0b"})


async def test_labels_stand_in_their_order_and_then_by_age(place: Place) -> None:
    await place.add("labels", name="A", order=3)
    await place.add("labels", name="B", order=1)
    names = [label["name"] for label in (await place.get("labels"))["items"]]
    assert names == ["PERSON", "PLACE", "B", "A"]
    for more in ({"name": "PERSON"}, {"name": "C", "hotkey": "x"}, {"name": "D", "hotkey": "x"}):
        status = 201 if more["name"] == "C" else 409
        await place.add("labels", status=status, **more)


async def test_each_role_writes_what_it_may_and_reads_all(place: Place) -> None:
    for kind, new in NEW.items():
        least = ROLES.index(NEEDED.get(kind, "manager"))
        for rank, role in enumerate(ROLES):
            who = by(role)
            assert (await place.get(kind, who=who))["limit"] == 100
            if rank < least:
                problem = await place.add(kind, status=403, who=who, **new)
                assert problem["code"] == "role_lacking"
                continue
            made = await place.add(kind, who=who, **new)
            path = f"{place.path}/{kind}/{made[KEYS.get(kind, 'id')]}"
            for lower in ROLES[:least]:
                await place.ask("PATCH", path, CHANGED[kind], status=403, who=by(lower))
                await place.ask("DELETE", path, status=403, who=by(lower))
            await place.ask("DELETE", path, who=who)
    await place.ask("PATCH", place.path, {"name": "x"}, status=403, who=by("manager"))
    assert (await place.ask("PATCH", place.path, {"name": "x"}, who=by("admin")))["name"] == "x"


async def test_nobody_makes_somebody_more_than_they_are(place: Place) -> None:
    manager = by("manager")
    await place.add("members", subject="eve", role="admin", status=403, who=manager)
    members = {each["role"]: each for each in (await place.get("members"))["items"]}
    path = f"{place.path}/members/"
    own = f"{path}{members['manager']['member_id']}"
    await place.ask("PATCH", own, {"role": "admin"}, status=403, who=manager)
    boss = f"{path}{members['admin']['member_id']}"
    await place.ask("PATCH", boss, {"role": "viewer"}, status=403, who=manager)
    await place.ask("DELETE", boss, status=403, who=manager)


@pytest.mark.parametrize(
    "who", [by("stranger"), bearer("acme", "editor", actor="x"), by("admin", "other")]
)
async def test_a_project_that_one_may_not_see_is_not_there(place: Place, who: Any) -> None:
    nothing = f"{PROJECTS}/999"
    for method, more, body in (
        ("GET", "", None),
        ("PATCH", "", {"name": "x"}),
        ("DELETE", "", None),
        ("GET", "/texts", None),
        ("GET", "/texts/1", None),
        ("POST", "/annotations", SPAN),
    ):
        told = await place.ask(method, place.path + more, body, status=404, who=who)
        other = await place.ask(method, nothing + more, body, status=404, who=who)
        assert told["detail"].replace(f" {place.number};", " 999;") == other["detail"]
    assert (await place.ask("GET", PROJECTS, who=who))["items"] == []


async def test_what_belongs_to_another_project_is_not_reached_from_this_one(place: Place) -> None:
    other = (await place.ask("POST", PROJECTS, {"name": "other"}, status=201))["project_id"]
    path = f"{PROJECTS}/{other}"
    for kind, key in (("texts", 1), ("labels", 1), ("images", 1), ("members", 1)):
        for method, body in (("GET", None), ("PATCH", {}), ("DELETE", None)):
            await place.ask(method, f"{path}/{kind}/{key}", body, status=404)
    await place.ask("POST", f"{path}/annotations", SPAN, status=422)
    box = NEW["boxes"]
    await place.ask("POST", f"{path}/boxes", box, status=422)


async def test_a_project_is_made_by_who_may_submit_and_deleted_when_it_is_empty(
    place: Place,
) -> None:
    problem = await place.ask("POST", PROJECTS, {"name": "x"}, status=403, who=by("viewer"))
    assert problem["code"] == "permission_lacking"
    editor = bearer("acme", "editor", actor="ed")
    made = await place.ask("POST", PROJECTS, {"name": "x"}, status=201, who=editor)
    path = f"{PROJECTS}/{made['project_id']}"
    members = await place.ask("GET", f"{path}/members", who=editor)
    assert [(each["subject"], each["role"]) for each in members["items"]] == [("ed", "admin")]
    text = await place.ask("POST", f"{path}/texts", {"content": "x"}, status=201, who=editor)
    problem = await place.ask("DELETE", path, status=409, who=editor)
    assert problem["code"] == "record_refused"
    assert (await place.ask("GET", f"{path}/members", who=editor))["total"] == 1
    await place.ask("DELETE", f"{path}/texts/{text['text_id']}", who=editor)
    await place.ask("DELETE", path, who=editor)
    await place.ask("GET", path, status=404, who=BOSS)


async def test_offsets_may_count_what_a_browser_counts(place: Place) -> None:
    text = await place.add("texts", content="😀 Ada 😀")
    span = {"text_id": text["text_id"], "label": "PERSON", "offsets": "utf16"}
    made = await place.add("annotations", **span, start_char=3, end_char=6)
    assert (made["start_char"], made["end_char"], made["selected_text"]) == (2, 5, "Ada")
    path = f"{place.path}/annotations/{made['id']}"
    changed = await place.ask("PATCH", path, {"end_char": 9, "offsets": "utf16"})
    assert (changed["end_char"], changed["selected_text"]) == (7, "Ada 😀")
    problem = await place.ask("PATCH", path, {"end_char": 8, "offsets": "utf16"}, status=422)
    assert (problem["code"], problem["pointer"]) == ("edit_refused", "/end_char")
    for wrong in ({"offsets": "bytes"}, {"offsets": None}):
        problem = await place.ask("PATCH", path, wrong, status=422)
        assert problem["pointer"] == "/offsets"
