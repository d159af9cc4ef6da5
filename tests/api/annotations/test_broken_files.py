"""A broken piece of a file is rejected, and the others come in; what is refused is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.annotations.place import Place
from tests.api.annotations.test_importing import ADA, ended, lines, send

IMPORT = "/api/v1/batch/image/import"
TEXTS = "/api/v1/batch/text/import"
GOOD: dict[str, Any] = {"id": 1, "file_name": "b.png", "width": 10, "height": 10}
BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}
COCO: dict[str, Any] = {
    "images": [GOOD],
    "annotations": [BOX],
    "categories": [{"id": 1, "name": "PERSON"}],
}


def task(file_name: str, value: Any = None, **region: Any) -> dict[str, Any]:
    """A task of Label Studio with a region, whose value may say something else."""
    place = {"x": 1, "y": 1, "width": 20, "height": 20, "rectanglelabels": ["PERSON"]}
    found = {
        "type": "rectanglelabels",
        "original_width": 10,
        "original_height": 10,
        "value": place | (value or {}),
    }
    return {"data": {"image": file_name}, "annotations": [{"result": [found | region]}]}


HALF = task("d.png", {"y": [[]]})
HALF["data"]["note"] = "\ud83d"
FILES: dict[str, tuple[Any, list[str]]] = {
    "an id": ({**COCO, "images": [GOOD, GOOD | {"id": "\ud83d"}]}, ["no_id"]),
    "an image": ({**COCO, "annotations": [BOX, BOX | {"image_id": "\ud83d"}]}, ["no_id"]),
    "a category": (
        {**COCO, "annotations": [BOX, BOX | {"id": 2, "category_id": "\ud83d"}]},
        ["no_id"],
    ),
    "an id of a region": ([task("c.png"), task("d.png", id={"a": 1})], []),
    "a note": ([task("c.png"), HALF], ["not_a_number", "not_text"]),
}


@pytest.mark.parametrize("what", FILES)
async def test_one_element_at_fault_costs_itself(place: Place, what: str) -> None:
    document, codes = FILES[what]
    operation = await send(place, json.dumps(document).encode(), "a.json", path=IMPORT)
    assert [each["code"] for each in operation["file"]["rejects"]] == codes
    assert (await ended(place, operation))["succeeded"] >= 1
    assert (await place.get("boxes"))["total"] >= 1


async def test_a_file_whose_list_has_no_name_is_refused(place: Place) -> None:
    data = json.dumps({"licenses": [{"id": 1}], **COCO}).encode()
    data = data.replace(b"licenses", b"licen\xffes")
    problem = await send(place, data, "a.json", path=IMPORT, status=422)
    assert "the name of the list that begins at line 1" in problem["detail"]
    assert problem["detail"].endswith("correct it")


@pytest.mark.parametrize("where", ["confidence_score", "metadata"])
async def test_a_number_without_bounds_costs_its_text(place: Place, where: str) -> None:
    number = "1" + "0" * 400
    value = number if where == "confidence_score" else f'{{"n": {number}}}'
    span = f'"start_char": 0, "end_char": 1, "label": "PERSON", "{where}": {value}'
    data = lines(ADA) + f'{{"content": "x", "annotations": [{{{span}}}]}}\n'.encode()
    operation = await send(place, data, path=TEXTS, auto_detect_labels="true")
    (told,) = operation["file"]["rejects"]
    assert (told["line"], told["code"], told["kept"]) == (2, "number_out_of_range", True)
    assert f"/annotations/0/{where}" in told["message"]
    assert (await ended(place, operation))["succeeded"] == 1
    assert (await place.get("texts"))["total"] == 2


@pytest.mark.parametrize("in_background", ["false", "true"])
async def test_a_table_in_another_encoding_than_was_said_is_refused(
    place: Place, in_background: str
) -> None:
    data = "Überschrift;Länge\nä;5\n".encode("latin-1")
    said = {"encoding": "utf-8", "in_background": in_background}
    if in_background == "false":
        detail = (await send(place, data, "a.csv", path=TEXTS, status=422, **said))["detail"]
    else:
        operation = await send(place, data, "a.csv", path=TEXTS, **said)
        detail = (await ended(place, operation))["reason"]
    assert "no column is the content" in detail
    assert r"\udcdcberschrift" in detail


async def test_an_export_with_a_label_called_data_comes_in_as_it_went_out(place: Place) -> None:
    span = {"start_char": 0, "end_char": 3, "label": "data"}
    data = json.dumps([{"content": "Ada", "annotations": [span], "metadata": {"data": {}}}])
    operation = await send(place, data.encode(), "a.json", path=TEXTS, auto_detect_labels="true")
    assert (operation["file"]["format"], operation["file"]["annotations"]) == ("json", 1)
    assert (await ended(place, operation))["succeeded"] == 1
    assert (await place.get("annotations"))["total"] == 1
