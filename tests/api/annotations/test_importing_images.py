"""Importing images: what real files of boxes have, what comes back, and what is never opened."""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile
from typing import Any

import pytest

from tests.api.annotations.place import Place, by
from tests.api.annotations.test_importing import IMPORT, download, ended, lines, send
from tests.formats.images import annotation, coco, packed
from tests.formats.test_archives import named
from tests.formats.test_archives import packed as packed_as
from tests.formats.test_pascal_voc import corners, thing, voc

IMAGES = "/api/v1/batch/image/import"
SIZES = [("a.jpg", 100, 80), ("b.jpg", 100, 80), ("street/c.jpg", 640.0, 480)]
MASK = {"size": [80, 100], "counts": [0, 100, 7900]}


def data_set(*annotations: Any) -> bytes:
    """Ids with gaps, a category 0 that something uses, and one that nothing does."""
    return coco(
        images=[
            {"id": 10 * number, "file_name": name, "width": width, "height": height}
            for number, (name, width, height) in enumerate(SIZES)
        ],
        annotations=list(annotations),
        categories=[{"id": 0, "name": "person"}, {"id": 7, "name": "dog"}, {"id": 9, "name": "x"}],
    )


def one(number: int, **fields: Any) -> dict[str, Any]:
    return annotation(**({"id": number, "image_id": 0, "category_id": 0} | fields))


REAL = data_set(
    one(1, bbox=[10.5, 20.25, 30, 40], iscrowd=0),
    one(2, category_id=7, bbox=[90, 70, 20, 20], score=0.5),
    one(3, bbox=[200, 200, 5, 5]),
    one(4, iscrowd=1, segmentation=MASK, bbox=[0, 0, 2, 80]),
    one(4, bbox=[1, 1, 2, 2]),
    one(6, image_id=20, segmentation=[[1, 2, 30, 2, 30, 40]], bbox=None),
    one(7, image_id=99),
    one(8, category_id=5),
)
MIXED = b"0 0.5 0.5 0.2 0.25\n1 0 0 0.5 0 0.5 0.5\n"
REJECTED = {"duplicate_id", "box_outside_image", "unknown_image", "unknown_category"}


async def all_of(place: Place, kind: str) -> list[Any]:
    return list((await place.get(kind, limit=500))["items"])


async def boxes_of(place: Place) -> dict[str, list[Any]]:
    """Label and place of the boxes of each image of the project, by its file name."""
    names = {each["image_id"]: each["file_name"] for each in await all_of(place, "images")}
    labels = {each["label_id"]: each["name"] for each in await all_of(place, "labels")}
    found: dict[str, list[Any]] = {name: [] for name in names.values()}
    for each in await all_of(place, "boxes"):
        found[names[each["image_id"]]].append([labels[each["label_id"]], *each["bbox"]])
    return found


async def test_a_data_set_comes_in_and_what_is_corrected_is_added_to_its_images(
    place: Place,
) -> None:
    # The route of the platform takes whatever format the file has.
    operation = await send(place, REAL, "instances.json", auto_detect_labels=True, chunk_size=1)
    file = operation["file"]
    assert (operation["type"], file["subject"], file["format"], file["encoding"]) == (
        "annotations.import_images",
        "image",
        "coco",
        None,
    )
    assert (file["accepted"], file["annotations"], file["rejected"]) == (3, 4, 4)
    assert set(file["codes"]) == REJECTED
    assert {each["file"] for each in file["rejects"]} == {"annotations"}
    done = await ended(place, operation)
    assert (done["status"], done["succeeded"]) == ("completed", 3)
    assert await boxes_of(place) == {
        "a.png": [],
        "a.jpg": [
            ["person", 10.5, 20.25, 30, 40],
            ["dog", 90, 70, 10, 10],
            ["person", 0, 0, 2, 80],
        ],
        "b.jpg": [],
        "street/c.jpg": [["person", 1, 2, 29, 38]],
    }
    cut, crowd, outlined = (await all_of(place, "boxes"))[1:]
    assert (cut["confidence_score"], cut["metadata"]) == (0.5, {"unclipped": [90, 70, 20, 20]})
    assert crowd["metadata"]["rle"] == MASK
    assert crowd["metadata"]["_file"] == {"crowd": True}
    assert outlined["polygon"] == [[1, 2], [30, 2], [30, 40]]
    labels = [each["name"] for each in await all_of(place, "labels")]
    assert labels == ["PERSON", "PLACE", "person", "dog"]
    (image,) = [each for each in await all_of(place, "images") if "street" in each["file_name"]]
    assert (image["width"], image["metadata"]) == (640, {"_file": {"key": "20"}})

    rejects, headers = await download(place, operation)
    assert headers["Content-Type"] == "application/json"
    corrected = json.loads(rejects)
    outside, twice, nowhere, nothing = sorted(
        corrected["annotations"], key=lambda each: (each["id"], each["image_id"])
    )
    outside["bbox"], twice["id"], nowhere["image_id"], nothing["category_id"] = (
        [2, 2, 5, 5],
        5,
        0,
        7,
    )
    again = await send(place, json.dumps(corrected).encode(), "rejects.json", path=IMAGES)
    assert (again["file"]["accepted"], again["file"]["rejected"]) == (1, 0)
    assert (await ended(place, again))["succeeded"] == 1
    assert len((await boxes_of(place))["a.jpg"]) == 3 + 4
    # All of it once more changes nothing.
    once_more = await ended(place, await send(place, REAL, "instances.json", path=IMAGES))
    assert (once_more["status"], once_more["skipped"]) == ("completed", 3)
    assert sum(map(len, (await boxes_of(place)).values())) == 4 + 4


async def test_an_archive_of_rows_and_its_rejects(place: Place, tmp_path: Any) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("0 0.5 0.5 0.1 0.1\n")
    sizes = lines({"file_name": "a.jpg", "width": 100, "height": 80, "labels": "labels/a.txt"})
    archive = packed(
        {
            "data.yaml": f"path: {tmp_path}\ntrain: {secret}\nnames: [cat, dog]\n".encode(),
            "images.jsonl": sizes,
            "labels/a.txt": MIXED + b"9 0.5 0.5 0.1 0.1\nnonsense\n",
            "labels/README.txt": b"Made by us.\n",
            "labels/notes.txt": b"Nothing but words.\n",
            "labels/deep.py": b"print()\n",
        }
    )
    operation = await send(place, archive, "set.zip", path=IMAGES, auto_detect_labels=True)
    file = operation["file"]
    assert (file["format"], file["accepted"], file["annotations"]) == ("yolo", 1, 2)
    assert [(each["file"], each["line"], each["code"]) for each in file["rejects"]] == [
        ("labels/a.txt", 3, "unknown_class"),
        ("labels/a.txt", 4, "row_width"),
        ("labels/notes.txt", 1, "not_labels"),
    ]
    await ended(place, operation)
    expected = [["cat", 40, 30, 20, 20], ["dog", 0, 0, 50, 40]]
    assert (await boxes_of(place))["a.jpg"] == expected
    assert (await all_of(place, "boxes"))[1]["polygon"] == [[0, 0], [50, 0], [50, 40]]

    rejects, headers = await download(place, operation)
    assert headers["Content-Type"] == "application/zip"
    assert 'filename="rejects.zip"' in headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(rejects)) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    assert files["labels/a.txt"] == b"9 0.5 0.5 0.1 0.1\nnonsense\n"
    files["labels/a.txt"] = b"1 0.5 0.5 0.1 0.1\n"
    del files["labels/notes.txt"]
    again = await send(place, packed(files), "rejects.zip", path=IMAGES)
    assert (await ended(place, again))["succeeded"] == 1
    assert (await boxes_of(place))["a.jpg"] == [*expected, ["dog", 45, 36, 10, 8]]


async def test_pascal_voc_by_itself_and_in_an_archive(place: Place) -> None:
    turned = corners(("xmax", 30), ("xmin", 11), ("ymin", 60), ("ymax", 21))
    broken = corners(("xmin", "x"), ("ymin", 21), ("xmax", 30), ("ymax", 60))
    alone = await send(place, voc(thing(turned), thing(broken)), "a.xml", auto_detect_labels=True)
    assert (alone["file"]["format"], alone["file"]["codes"]) == ("pascal-voc", {"not_a_number": 1})
    await ended(place, alone)
    assert (await boxes_of(place))["a.jpg"] == [["dog", 10, 20, 20, 40]]
    rejects, headers = await download(place, alone)
    assert headers["Content-Type"] == "application/xml"
    mended = rejects.replace(b"<xmin>x</xmin>", b"<xmin>1</xmin>")
    several = packed({"Annotations/a.xml": mended, "Annotations/b.xml": b"<annotation"})
    again = await send(place, several, "voc.zip", path=IMAGES, scheme="zero_based")
    assert (again["file"]["accepted"], again["file"]["codes"]) == (1, {"not_xml": 1})
    await ended(place, again)
    assert (await boxes_of(place))["a.jpg"][1:] == [["dog", 1, 21, 29, 39]]
    rejects, headers = await download(place, again)
    assert (headers["Content-Type"], rejects[:2]) == ("application/zip", b"PK")
    refused = await send(place, several, "voc.zip", path=IMAGES, scheme="iob1", status=422)
    assert (refused["code"], "zero_based" in refused["detail"]) == ("file_refused", True)


async def test_undo_names_the_box_that_others_have_edited_and_a_label_can_come_later(
    place: Place,
) -> None:
    await place.add("labels", name="person")
    done = await ended(place, operation := await send(place, REAL, "x.json", chunk_size=1))
    assert (done["status"], done["failed"], done["succeeded"]) == ("completed_with_errors", 1, 2)
    errors = await place.ask("GET", f"/api/v1/jobs/{operation['job_id']}/errors")
    assert (errors["items"][0]["code"], len(await all_of(place, "images"))) == (
        "label_not_found",
        3,
    )
    await place.add("labels", name="dog")
    await place.ask("POST", f"/api/v1/jobs/{operation['job_id']}/retry", {}, status=202)
    assert (await ended(place, operation))["succeeded"] == 3
    edited = next(each for each in await all_of(place, "boxes") if each["polygon"])
    path = f"{place.path}/boxes/{edited['id']}"
    await place.ask("PATCH", path, {"confidence_score": 1}, who=by("annotator"))
    await place.ask("POST", f"/api/v1/jobs/{operation['job_id']}/undo", {}, status=202)
    undone = await ended(place, operation)
    assert (undone["status"], undone["conflict"], undone["rolled_back"]) == ("rolled_back", 1, 2)
    items = await place.ask("GET", f"/api/v1/jobs/{operation['job_id']}/items?status=conflict")
    assert f"boxes/{edited['id']}" in json.dumps(items)
    assert "annotator" in json.dumps(items)
    left = await boxes_of(place)
    assert left == {"a.png": [], "street/c.jpg": [["person", 1, 2, 29, 38]]}


async def test_what_is_tried_rolled_back_or_refused_leaves_nothing(place: Place) -> None:
    await place.add("labels", name="person")
    good = data_set(one(1), one(2, image_id=10))
    tried = await ended(place, await send(place, good, "x.json", path=IMAGES, dry_run=True))
    assert (tried["status"], tried["dry_run"]) == ("completed", True)
    half = data_set(one(1), one(2, image_id=10, category_id=7))
    failed = await ended(place, await send(place, half, "x.json", rollback_on_error=True))
    assert (failed["status"], failed["failed"]) == ("rolled_back", 1)
    assert [each["file_name"] for each in await all_of(place, "images")] == ["a.png"]
    there = coco(images=[{"id": 1, "file_name": "a.png", "width": 640, "height": 480}])
    refusing = {"existing_images": "refuse", "path": IMAGES}
    refused = await ended(place, operation := await send(place, there, "x.json", **refusing))
    assert (refused["status"], refused["failed"]) == ("failed", 1)
    errors = await place.ask("GET", f"/api/v1/jobs/{operation['job_id']}/errors")
    assert errors["items"][0]["code"] == "image_exists"
    problem = await send(place, lines({"content": "x"}), path=IMAGES, format="jsonl", status=422)
    assert (problem["code"], "no images" in problem["detail"]) == ("file_refused", True)
    await send(place, good, "x.json", path=IMAGES, who=by("annotator"), status=403)
    await send(place, good, "x.json", path=IMAGES, existing_images="keep", status=422)


ROWS = b"0 0.5 0.5 0.1 0.1\n"
NAMES = ("data.yaml", b"names: [cat]\n")
LINK = named("labels/a.txt", stat.S_IFLNK | 0o777)


def _many() -> bytes:
    """60,000 members: one of them, listed so many times."""
    archive = packed({"labels/a.txt": ROWS})
    start, end = archive.rindex(b"PK\x01\x02"), archive.rindex(b"PK\x05\x06")
    many = bytearray(archive[:start] + archive[start:end] * 60_000 + archive[end:])
    many[-22 + 8 : -22 + 16] = struct.pack("<HHL", 60_000, 60_000, 60_000 * (end - start))
    return bytes(many)


async def test_hostile_archives_are_refused_whole_and_never_followed(
    place: Place, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inner = packed({"labels/b.txt": ROWS})
    hostile = {
        "../": packed_as(NAMES, (named("../labels/a.txt"), ROWS)).getvalue(),
        "absolute": packed_as(NAMES, (named(f"{tmp_path}/labels/a.txt"), ROWS)).getvalue(),
        "a link": packed_as(NAMES, (LINK, b"/etc/passwd")).getvalue(),
        "nested": packed_as(NAMES, ("labels/a.txt", ROWS), ("inner.zip", inner)).getvalue(),
        "1000:1": packed_as(NAMES, ("labels/a.txt", bytes(20_000_000))).getvalue(),
        "60,000": _many(),
    }
    for what, archive in hostile.items():
        for path in (IMPORT, IMAGES):
            problem = await send(place, archive, "set.zip", path=path, format="yolo", status=422)
            assert (problem["code"], problem["pointer"]) == ("file_refused", "/file"), what
    assert await place.shop.jobs() == set()
    assert [each for each in tmp_path.rglob("*") if "labels" in each.name] == []


async def test_label_studio_by_its_one_name_and_by_a_mapping(place: Place) -> None:
    region = {"x": 10, "y": 20, "width": 30, "height": 40, "rectanglelabels": ["dog"]}
    result = {"type": "rectanglelabels", "value": region}
    brush = {"type": "brushlabels", "value": {"rle": [1], "brushlabels": ["dog"]}}
    task = {
        "id": 1,
        "data": {"pic": "s3://bucket/a.jpg", "w": 200},
        "annotations": [{"result": [result, brush]}],
    }
    operation = await send(
        place,
        json.dumps([task]).encode(),
        "tasks.json",
        format="labelstudio",
        auto_detect_labels=True,
        field_mapping={"file_name": "pic", "width": "w", "height": {"constant": 100}},
    )
    file = operation["file"]
    assert (file["format"], file["accepted"], file["codes"]) == (
        "labelstudio-images",
        1,
        {"no_box": 1},
    )
    await ended(place, operation)
    assert (await boxes_of(place))["bucket/a.jpg"] == [["dog", 20, 20, 60, 40]]
    (rejected,) = json.loads((await download(place, operation))[0])
    rejected["annotations"][0]["result"] = [
        {**result, "value": region | {"x": 50}, "original_width": 200, "original_height": 100}
    ]
    mapping = {"file_name": "pic"}
    again = json.dumps([rejected]).encode()
    await ended(place, await send(place, again, "rest.json", path=IMAGES, field_mapping=mapping))
    assert (await boxes_of(place))["bucket/a.jpg"][1:] == [["dog", 100, 20, 60, 40]]
