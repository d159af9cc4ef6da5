"""Importing: what a file holds becomes texts with annotations, and what is rejected comes back."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import aiohttp
import pytest

from domain.systems.annotations.formats.workbook_writing import workbook
from tests.api.annotations.place import BOSS, Place, by
from tests.api.proofs import bearer
from tests.api.shop import Shop

IMPORT = "/api/v1/batch/text/import"
ADA = {
    "content": "Ada wrote to Charles.",
    "key": "letter-1",
    "annotations": [
        {"start_char": 0, "end_char": 3, "label": "PERSON", "confidence_score": 0.5},
        {"start_char": 13, "end_char": 20, "label": "RECIPIENT", "metadata": {"sure": True}},
    ],
}
BAD = {
    "content": "Grace answered.",
    "annotations": [{"start_char": 0, "end_char": 99, "label": "x"}],
}
ROSA = {
    "content": "\N{ROSE} Rosa read it.",
    "annotations": [{"start_char": 2, "end_char": 6, "label": "PERSON"}],
}


def lines(*documents: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in documents)


async def send(
    place: Place,
    data: bytes,
    name: str = "letters.jsonl",
    *,
    status: int = 202,
    who: Any = BOSS,
    headers: Any = None,
    path: str = IMPORT,
    **fields: Any,
) -> Any:
    """What is answered to an import."""
    form = aiohttp.FormData()
    # As a stream: bytes of more than a megabyte are sent so only.
    file = io.BytesIO(data)
    form.add_field("file", file, filename=name, content_type="application/octet-stream")
    for field, value in ({"project_id": place.number} | fields).items():
        form.add_field(field, value if isinstance(value, str) else json.dumps(value))
    return await place.ask("POST", path, status=status, who=who, data=form, headers=headers or {})


async def ended(place: Place, operation: Any) -> Any:
    """The operation when it does nothing more."""
    headers = {**BOSS, "Accept": "text/event-stream"}
    async with place.shop.client.get(operation["links"]["sse"], headers=headers) as response:
        await response.read()
    return await place.ask("GET", operation["links"]["status"])


async def download(
    place: Place, operation: Any, status: int = 200, **headers: str
) -> tuple[bytes, Any]:
    path = f"/api/v1/batch/operations/{operation['operation_id']}/rejects"
    async with place.shop.client.get(path, headers={**BOSS, **headers}) as response:
        assert response.status == status, await response.text()
        return await response.read(), response.headers


async def test_texts_come_in_with_annotations_and_the_rest_can_be_corrected(place: Place) -> None:
    data = lines(ADA) + b"{broken\n" + lines(BAD, ROSA)
    operation = await send(place, data, auto_detect_labels=True, chunk_size=1)
    found = operation["file"]
    assert (found["format"], found["encoding"]) == ("jsonl", "utf-8")
    assert (found["accepted"], found["annotations"], found["rejected"]) == (2, 3, 2)
    assert [(each["line"], each["code"]) for each in found["rejects"]] == [
        (2, "not_json"),
        (3, "span_out_of_range"),
    ]
    assert found["codes"] == {"not_json": 1, "span_out_of_range": 1}
    done = await ended(place, operation)
    assert (done["status"], done["type"], done["succeeded"]) == (
        "completed",
        "texts.import",
        2,
    )
    texts = await place.get("texts")
    assert [text["excerpt"] for text in texts["items"][1:]] == [ADA["content"], ROSA["content"]]
    assert texts["items"][1]["metadata"] == {"_file": {"key": "letter-1"}}
    marked = (await place.get("annotations"))["items"]
    assert [each["selected_text"] for each in marked] == ["Ada", "Charles", "Rosa"]
    assert (marked[0]["confidence_score"], marked[1]["metadata"]) == (0.5, {"sure": True})
    labels = (await place.get("labels"))["items"]
    assert [(each["name"], each["order"]) for each in labels] == [
        ("PERSON", 0),
        ("PLACE", 0),
        ("RECIPIENT", 1),
    ]
    about = await place.ask("GET", operation["links"]["import"])
    assert about == {"operation_id": operation["operation_id"], "file": found}

    rejected, headers = await download(place, operation)
    assert rejected == b"{broken\n" + lines(BAD)
    assert headers["Content-Disposition"].startswith('attachment; filename="rejects.jsonl"')
    corrected = rejected.replace(b"{broken", lines({"content": "Mended."}).strip())
    again = await send(place, corrected.replace(b"99", b"5"), auto_detect_labels=True)
    assert (again["file"]["accepted"], again["file"]["rejected"]) == (2, 0)
    assert (await ended(place, again))["status"] == "completed"
    assert (await place.get("texts"))["total"] == 5


async def test_an_import_is_undone_and_its_labels_stay(place: Place) -> None:
    operation = await send(place, lines(ADA, ROSA), auto_detect_labels=True)
    await ended(place, operation)
    await place.ask("POST", f"/api/v1/jobs/{operation['job_id']}/undo", {}, status=202)
    done = await ended(place, operation)
    assert (done["status"], done["rolled_back"]) == ("rolled_back", 2)
    assert ((await place.get("texts"))["total"], (await place.get("annotations"))["total"]) == (
        1,
        0,
    )
    assert (await place.get("labels"))["total"] == 3


async def test_what_others_have_annotated_since_stays(place: Place) -> None:
    operation = await send(place, lines(ADA, ROSA), auto_detect_labels=True)
    await ended(place, operation)
    span = {"start_char": 4, "end_char": 9, "label": "PERSON"}
    await place.add("annotations", text_id=2, **span, who=by("annotator"))
    await place.ask("POST", f"/api/v1/jobs/{operation['job_id']}/undo", {}, status=202)
    done = await ended(place, operation)
    assert (done["status"], done["conflict"], done["rolled_back"]) == ("rolled_back", 1, 1)
    assert [each["text_id"] for each in (await place.get("texts"))["items"]] == [1, 2]
    assert (await place.get("annotations"))["total"] == 3


async def test_a_table_in_another_dialect_and_encoding_by_a_mapping(place: Place) -> None:
    data = "Brief;von;bis;Art\r\nZo\xeb schrieb.;0;3;PERSON\r\nJos\xe9 las.;0;99;PERSON\r\n"
    mapping = {"content": "Brief", "start_char": "von", "end_char": "bis", "label": "Art"}
    operation = await send(place, data.encode("cp1252"), "briefe.csv", field_mapping=mapping)
    found = operation["file"]
    assert (found["format"], found["encoding"]) == ("csv", "cp1252")
    assert (found["accepted"], found["rejected"]) == (1, 1)
    assert (await ended(place, operation))["status"] == "completed"
    (marked,) = (await place.get("annotations"))["items"]
    assert marked["selected_text"] == "Zo\xeb"
    rejected, headers = await download(place, operation)
    assert rejected.decode("cp1252") == "Brief;von;bis;Art\r\nJos\xe9 las.;0;99;PERSON\r\n"
    assert headers["Content-Type"] == "text/csv"


async def test_labels_that_are_not_there_fail_their_texts_and_can_be_retried(place: Place) -> None:
    done = await ended(place, operation := await send(place, lines(ADA, ROSA)))
    assert (done["status"], done["failed"], done["succeeded"]) == ("completed_with_errors", 1, 1)
    errors = await place.ask("GET", f"/api/v1/jobs/{operation['job_id']}/errors")
    assert errors["items"][0]["code"] == "label_not_found"
    await place.add("labels", name="RECIPIENT")
    await place.ask("POST", f"/api/v1/jobs/{operation['job_id']}/retry", {}, status=202)
    done = await ended(place, operation)
    assert (done["status"], done["succeeded"]) == ("completed", 2)


async def test_a_repeated_import_is_one_job_with_one_file_of_rejects(place: Place) -> None:
    data, key = lines(ADA, BAD), {"Idempotency-Key": "monday"}
    first = await send(place, data, auto_detect_labels=True, headers=key)
    again = await send(place, data, auto_detect_labels=True, headers=key)
    assert again["operation_id"] == first["operation_id"]
    await ended(place, first)
    assert (await place.get("texts"))["total"] == 2
    assert (await download(place, first))[0] == lines(BAD)
    other = await send(place, lines(ROSA), headers=key, status=409)
    assert other["code"] == "idempotency_conflict"


@pytest.mark.parametrize(
    ("data", "fields", "code", "pointer"),
    [
        (b"", {}, "file_refused", "/file"),
        (b"PK\x03\x04 and so on", {}, "file_refused", "/file"),
        (lines(BAD) + b"{broken\n", {}, "file_refused", "/file"),
        (lines(ADA), {"format": "no such"}, "file_refused", "/file"),
        (lines(ADA), {"encoding": "ebcdic"}, "file_refused", "/file"),
        (lines(ADA), {"field_mapping": {"content": 7}}, "invalid", "/field_mapping"),
        (lines(ADA), {"field_mapping": [1]}, "invalid", "/field_mapping"),
        (lines(ADA), {"scheme": "bio"}, "invalid", "/scheme"),
        (lines(ADA), {"existing_images": "add"}, "invalid", "/existing_images"),
        (b"Ada B-X\n", {"field_mapping": {"key": "id"}}, "invalid", "/field_mapping"),
        (lines(ADA), {"chunk_size": "some"}, "invalid", "/chunk_size"),
        (lines(ADA), {"colour": "red"}, "invalid", "/colour"),
    ],
)
async def test_what_is_refused_whole_leaves_nothing_behind(
    place: Place, data: bytes, fields: dict[str, Any], code: str, pointer: str
) -> None:
    fields = {"auto_detect_labels": True} | fields
    refused = await send(place, data, status=422, **fields)
    assert (refused["code"], refused["pointer"]) == (code, pointer)
    assert await place.shop.jobs() == set()
    assert (await place.get("labels"))["total"] == 2


async def test_a_workbook_and_what_is_rejected_of_it(place: Place) -> None:
    header = ["content", "label", "start_char", "end_char"]
    rows = [[["Ada wrote.", "PERSON", 0, 3]], [["Grace answered.", "PERSON", 0, 99]]]
    operation = await send(place, b"".join(workbook(header, rows)), "letters.xlsx")
    found = operation["file"]
    assert (found["format"], found["encoding"], found["accepted"]) == ("xlsx", None, 1)
    assert [(each["line"], each["code"]) for each in found["rejects"]] == [(3, "span_out_of_range")]
    rejects, headers = await download(place, operation)
    assert headers["Content-Disposition"].startswith('attachment; filename="rejects.xlsx"')
    mended = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(rejects)) as old, zipfile.ZipFile(mended, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b">99<", b">5<"))
    again = await send(place, mended.getvalue(), "rejects.xlsx", format="xlsx")
    assert (await ended(place, again))["succeeded"] == 1
    marked = (await place.get("annotations"))["items"]
    assert [each["selected_text"] for each in marked] == ["Ada", "Grace"]


async def test_a_range_of_the_rejects_and_who_has_them_already(place: Place) -> None:
    operation = await send(place, lines(ADA, BAD))
    whole, headers = await download(place, operation)
    tag = headers["ETag"]
    part, headers = await download(place, operation, 206, Range="bytes=2-8")
    assert (part, headers["Content-Range"]) == (whole[2:9], f"bytes 2-8/{len(whole)}")
    assert (await download(place, operation, 206, Range="bytes=-5"))[0] == whole[-5:]
    stale = await download(place, operation, 200, Range="bytes=2-8", **{"If-Range": '"other"'})
    assert stale[0] == whole
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        assert (await download(place, operation, 304, **{"If-None-Match": known}))[0] == b""
    url, said = operation["links"]["rejects"], {**BOSS, "Range": "bytes=2-8"}
    async with place.shop.client.head(url, headers=said) as response:
        assert (response.status, response.content_length) == (200, len(whole))
    problem, headers = await download(place, operation, 416, Range="bytes=99999-")
    assert json.loads(problem)["code"] == "range_not_satisfiable"
    assert headers["Content-Range"] == f"bytes */{len(whole)}"


async def test_who_may_import_and_who_may_read_what_was_rejected(place: Place) -> None:
    for role in ("viewer", "annotator"):
        refused = await send(place, lines(ADA), status=403, who=by(role))
        assert refused["code"] == "role_lacking"
    operation = await send(place, lines(ADA, BAD), who=by("manager"))
    path = f"/api/v1/batch/operations/{operation['operation_id']}/rejects"
    await place.ask("GET", path, status=403, who=by("annotator"))
    stranger = bearer("other", "admin", actor="eve")
    assert (await place.ask("GET", path, status=404, who=stranger))["code"] == "record_not_found"
    await send(place, lines(ADA), status=404, who=stranger)


async def test_what_is_no_form_with_a_file(place: Place, shop: Shop) -> None:
    refused = await place.ask("POST", IMPORT, {"project_id": 1}, status=415)
    assert refused["code"] == "unsupported_media_type"
    form = aiohttp.FormData({"project_id": "1"})
    form.add_field("other", b"x", filename="x")
    refused = await place.ask("POST", IMPORT, status=422, data=form)
    assert (refused["code"], refused["pointer"]) == ("invalid", "/file")
    for body in (b"no parts", b"--x\r\n\r\n"):
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        refused = await place.ask("POST", IMPORT, status=400, data=body, headers=headers)
        assert refused["code"] == "malformed_body"
    headers = {"Content-Type": "multipart/form-data"}
    refused = await place.ask("POST", IMPORT, status=400, data=b"x", headers=headers)
    assert refused["code"] == "malformed_body"


async def test_what_was_rejected_goes_with_what_was_sent(place: Place) -> None:
    operation = await send(place, lines(ADA, BAD))
    await ended(place, operation)
    await download(place, operation)
    shred = f"/api/v1/jobs/{operation['job_id']}/shred"
    await place.ask("POST", shred, {"reason": "somebody asked"}, status=202)
    problem, _ = await download(place, operation, 404)
    assert json.loads(problem)["code"] == "record_not_found"
