"""Exporting: what a project has comes out as a file, and into another project again."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import threading
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from itertools import zip_longest
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import Connection, delete
from structlog.testing import capture_logs

from domain.errors import FileGone
from domain.job import Job
from domain.permissions import Permission
from domain.systems.annotations.export_terms import written
from domain.systems.annotations.formats.contract import ReadOptions, Subject
from domain.systems.annotations.formats.documents import TextDocument
from domain.systems.annotations.formats.losses import differences
from domain.systems.annotations.formats.registry import FORMATS
from domain.systems.annotations.formats.spill import Spill
from domain.systems.annotations.formats.workbook import SHARED, Workbook
from streams.callers import Caller
from streams.clock import SystemClock
from streams.stores import job_files
from streams.stores.job_files import JobFile
from streams.stores.job_parts import parts_after
from streams.stores.schema_files import job_parts
from streams.systems.annotations import exports
from streams.systems.annotations.exports import Exports
from streams.systems.annotations.numbers import Numbered
from tests.api.annotations.place import BOSS, PROJECTS, TEXT, Place, by
from tests.api.annotations.test_importing import ADA, ROSA, ended, lines, send
from tests.api.proofs import bearer

EXPORT = "/api/v1/batch/export"
TEXT_FORMATS = [
    form.name for form in FORMATS if form.subject is Subject.TEXT and form.write is not None
]
HOSTILE = {
    "content": '=1+1\n-5 "quoted", @SUM(A1);\N{SNAKE} e\N{COMBINING ACUTE ACCENT}',
    "key": "-5",
    "labels": ["=cmd"],
    "metadata": {"n": -5, "deep": [{"a": None}]},
    "annotations": [
        {"start_char": 0, "end_char": 4, "label": "-5", "confidence_score": 0.25},
        {"start_char": 5, "end_char": 7, "label": "+x", "metadata": {"why": "=2"}},
    ],
}


async def start(place: Place, form: str = "jsonl", *, status: int = 202, **fields: Any) -> Any:
    """What is answered to an export."""
    who, headers = fields.pop("who", BOSS), fields.pop("headers", {})
    body = {"project_id": place.number, "format": form} | fields
    return await place.ask("POST", EXPORT, body, status=status, who=who, headers=headers)


async def fetched(
    place: Place, operation: Any, status: int = 200, who: Any = BOSS, **headers: str
) -> tuple[bytes, Any]:
    """The file of an export, or the problem in its place, with the headers."""
    path = operation["links"]["download"]
    async with place.shop.client.get(path, headers={**who, **headers}) as response:
        data = await response.read()
        assert response.status == status, data
        return data, response.headers


async def exported(place: Place, form: str = "jsonl", **fields: Any) -> bytes:
    """The file of an export that goes well."""
    operation = await start(place, form, **fields)
    done = await ended(place, operation)
    assert done["status"] == "completed"
    return (await fetched(place, operation))[0]


async def report(place: Place, operation: Any) -> Any:
    return (await place.ask("GET", operation["links"]["export"]))["export"]


async def another(place: Place) -> Place:
    """A second project."""
    project = await place.ask("POST", PROJECTS, {"name": "copy"}, status=201)
    return Place(place.shop, f"{PROJECTS}/{project['project_id']}")


def documents(data: bytes) -> list[TextDocument]:
    """The texts of a file of JSON lines."""
    read = written("jsonl").read(io.BytesIO(data), ReadOptions())
    return [each for each in read if isinstance(each, TextDocument)]


@pytest.fixture
async def full(place: Place) -> Place:
    """The project with three more texts, of which one is hard to write."""
    await ended(place, await send(place, lines(ADA, HOSTILE, ROSA), auto_detect_labels=True))
    return place


async def test_a_file_has_all_texts_in_order_and_every_header(full: Place) -> None:
    operation = await start(full, chunk_size=1, name="for the archive")
    assert operation["type"] == "annotations.export"
    assert {"download", "export"} <= operation["links"].keys()
    done = await ended(full, operation)
    assert (done["status"], done["succeeded"], done["total"]) == ("completed", 4, 4)
    data, headers = await fetched(full, operation)
    documents = [json.loads(line) for line in data.splitlines()]
    assert [each["content"] for each in documents] == [
        TEXT,
        ADA["content"],
        HOSTILE["content"],
        ROSA["content"],
    ]
    assert documents[1]["key"] == "letter-1"
    assert documents[2]["labels"] == ["=cmd"]
    assert [each["selected_text"] for each in documents[1]["annotations"]] == ["Ada", "Charles"]
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    name = f"letters-{operation['operation_id']}.jsonl"
    assert headers["Content-Disposition"].startswith(f'attachment; filename="{name}"')
    part, headers = await fetched(full, operation, 206, Range="bytes=5-14")
    assert (part, headers["Content-Range"]) == (data[5:15], f"bytes 5-14/{len(data)}")
    assert (await fetched(full, operation, 304, **{"If-None-Match": headers["ETag"]}))[0] == b""
    told = await report(full, operation)
    assert (told["documents"], told["annotations"], told["complete"]) == (4, 5, True)
    assert (told["losses"], told["file"]["size"], told["file"]["name"]) == ([], len(data), name)


async def test_what_is_exported_comes_in_again_or_is_named_before(full: Place) -> None:
    before = documents(await exported(full))
    for form in TEXT_FORMATS:
        checked = await start(full, form, dry_run=True)
        assert (await ended(full, checked))["dry_run"]
        lost = await report(full, checked)
        assert (lost["documents"], lost["annotations"], lost["file"]) == (4, 5, None)
        copy = await another(full)
        data = await exported(full, form)
        name = f"x{written(form).suffix}"
        brought = await send(copy, data, name, format=form, auto_detect_labels=True)
        assert (await ended(copy, brought))["succeeded"] == 4
        counted = Counter(
            loss.code
            for one, other in zip(before, documents(await exported(copy)), strict=True)
            for loss in differences(one, other)
        )
        assert {each["code"]: each["documents"] for each in lost["losses"]} == counted, form
        if form in ("csv", "json", "jsonl", "xlsx", "xml"):
            assert not counted


async def test_a_table_runs_nothing_and_minus_five_stays_a_number(full: Place) -> None:
    rows = list(csv.DictReader(io.StringIO((await exported(full, "csv")).decode(), newline="")))
    hard = next(row for row in rows if row["content"].startswith("'=1+1"))
    assert (hard["key"], hard["label"], hard["confidence_score"]) == ("-5", "-5", "0.25")
    for row in rows:
        for cell in row.values():
            assert cell[:1] not in ("=", "+", "@", "\t"), cell
            assert not cell.startswith("-") or cell == "-5"
    for form in ("csv", "xlsx"):
        copy = await another(full)
        data = await exported(full, form)
        await ended(copy, await send(copy, data, f"x.{form}", auto_detect_labels=True))
        again = next(each for each in documents(await exported(copy)) if each.key == "-5")
        assert [each.label for each in again.spans] == ["-5", "+x"]
        assert again.metadata == HOSTILE["metadata"]


FILTERED: list[tuple[dict[str, Any], dict[str, list[str]]]] = [
        ({"confidence_min": 0.3}, {ADA["content"]: ["Ada"]}),
        ({"confidence_max": 0.3}, {HOSTILE["content"]: ["=1+1"]}),
        ({"created_by": "nobody"}, {}),
        ({"created_before": "2020-01-01T00:00:00Z"}, {}),
        ({"text_ids": [4, 2, 4]}, {ADA["content"]: ["Ada", "Charles"], ROSA["content"]: ["Rosa"]}),
        ({"text_id": 4, "created_by": "boss"}, {ROSA["content"]: ["Rosa"]}),
        ({"label_id": 1, "created_after": "2020-01-01T00:00:00Z"},
         {ADA["content"]: ["Ada"], ROSA["content"]: ["Rosa"]}),
        ({"label_ids": [3, 99]}, {ADA["content"]: ["Charles"]}),
]  # fmt: skip


async def test_filters_choose_annotations(full: Place) -> None:
    for filters, expected in FILTERED:
        data = await exported(full, filters=filters, empty_texts=False)
        assert {
            each["content"]: [mark["selected_text"] for mark in each["annotations"]]
            for each in map(json.loads, data.splitlines())
        } == expected


async def test_texts_without_an_exported_annotation_are_in_the_file_unless_told(
    full: Place,
) -> None:
    operation = await start(full, filters={"created_by": "nobody"})
    await ended(full, operation)
    assert [each.spans for each in documents((await fetched(full, operation))[0])] == [()] * 4
    operation = await start(full, filters={"created_by": "nobody"}, empty_texts=False)
    done = await ended(full, operation)
    assert (done["status"], done["skipped"]) == ("completed", 4)
    assert (await fetched(full, operation))[0] == b""
    assert (await report(full, operation))["left_out"] == 4


async def edited(place: Place, content: str) -> None:
    """The text of the project with three annotations, and changed since."""
    for start_char, end_char in ((0, 3), (4, 9), (13, 20)):
        fields = {"start_char": start_char, "end_char": end_char, "label": "PERSON"}
        await place.add("annotations", text_id=1, **fields)
    await place.ask("PATCH", f"{place.path}/texts/1", {"content": content})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("Charles.", []),
        ("Ada is with Charles.", ["Ada"]),
        ("Ada wrote to Charles. He answered.", ["Ada", "wrote", "Charles"]),
    ],
)
async def test_an_annotation_whose_words_have_gone_is_left_out_and_said(
    place: Place, content: str, words: list[str]
) -> None:
    await edited(place, content)
    for form in TEXT_FORMATS:
        operation = await start(place, form)
        await ended(place, operation)
        told = await report(place, operation)
        lost = {each["code"]: each["documents"] for each in told["losses"]}
        assert lost.get("text_mismatch", 0) == (len(words) < 3), form
        assert told["annotations"] == len(words)
        data, _ = await fetched(place, operation)
        copy = await another(place)
        name = f"x{written(form).suffix}"
        brought = await send(copy, data, name, format=form, auto_detect_labels=True)
        assert (await ended(copy, brought))["succeeded"] == 1
        (text,) = documents(await exported(copy))
        assert [text.content[each.start : each.end] for each in text.spans] == words, form


async def test_a_text_of_which_no_annotation_is_left_is_said_as_well(place: Place) -> None:
    await edited(place, "He answered.")
    operation = await start(place, empty_texts=False)
    done = await ended(place, operation)
    assert (done["status"], done["skipped"]) == ("completed", 1)
    told = await report(place, operation)
    assert (told["documents"], told["left_out"]) == (0, 1)
    (lost,) = told["losses"]
    assert (lost["code"], lost["documents"]) == ("text_mismatch", 1)
    assert "changed" in lost["message"]


async def test_a_span_as_long_as_a_text_may_be_comes_in_again(place: Place) -> None:
    whole = {"start_char": 0, "end_char": 150_000, "label": "PERSON"}
    long = {"content": "a" * 150_000, "annotations": [whole, whole | {"start_char": 1}]}
    first = await ended(place, await send(place, lines(long)))
    copy = await another(place)
    brought = await send(copy, await exported(place), auto_detect_labels=True)
    second = await ended(copy, brought)
    assert (first["succeeded"], second["succeeded"]) == (1, 2)
    (text,) = documents(await exported(copy, empty_texts=False))
    assert [(each.start, each.end) for each in text.spans] == [(0, 150_000), (1, 150_000)]


async def test_only_what_the_rules_of_the_project_let_pass(place: Place) -> None:
    demands = [{"project_id": place.number, "severities": {"blank_span": "error"}}]
    created = "annotations.create_validation_thresholds"
    job = {"operation": created, "items": demands}
    await place.shop.settled(await place.ask("POST", "/api/v1/jobs", job, status=202), headers=BOSS)
    marks = [{"text_id": 1, "label_id": 2, "start_char": at, "end_char": at + 1} for at in (0, 3)]
    spec = {"project_id": place.number, "annotations": marks, "validate_before_create": False}
    made = await place.ask("POST", "/api/v1/batch/annotations/create", spec, status=202)
    assert (await ended(place, made))["succeeded"] == 2
    for validity, words in (("valid", ["A"]), ("invalid", [" "])):
        (text,) = documents(await exported(place, filters={"validity": validity}))
        assert [text.content[each.start : each.end] for each in text.spans] == words


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"format": "no such"}, "/format"),
    ({"format": "pascal-voc"}, "/format"),
    ({"format": "csv", "scheme": "bio"}, "/scheme"),
    ({"format": "conll", "scheme": "bilbo"}, "/scheme"),
    ({"format": "csv", "field_mapping": {"a": 7}}, "/field_mapping/a"),
    ({"format": "conll", "field_mapping": {"a": "key"}}, "/field_mapping"),
    ({"format": "csv", "filters": {"text_id": 1, "text_ids": [1]}}, "/filters/text_id"),
    ({"format": "csv", "filters": {"confidence_min": 2}}, "/filters/confidence_min"),
    ({"format": "csv", "filters": {"colour": "red"}}, "/filters/colour"),
    ({"format": "csv", "chunk_size": 0}, "/chunk_size"),
]


async def test_what_cannot_be_exported_is_refused_at_once(place: Place) -> None:
    for fields, pointer in REFUSED:
        body = {"project_id": place.number} | fields
        refused = await place.ask("POST", EXPORT, body, status=422)
        assert refused["pointer"] == pointer
    assert await place.shop.jobs() == set()


async def test_an_export_of_nothing_is_made_when_it_is_meant(place: Place) -> None:
    empty = await another(place)
    refused = await start(empty, status=422)
    assert (refused["code"], refused["pointer"]) == ("selection_unconfirmed", "/confirm")
    operation = await start(empty, "json", confirm="none")
    assert (await ended(empty, operation))["status"] == "completed"
    assert json.loads((await fetched(empty, operation))[0]) == []


async def test_fields_are_called_as_a_mapping_says(full: Place) -> None:
    mapping = {"text": "content", "source": {"constant": "letters"}, "id": {"template": "#{key}"}}
    data = await exported(full, "json", field_mapping=mapping)
    first = json.loads(data)[1]
    assert (first["text"], first["source"], first["id"]) == (ADA["content"], "letters", "#letter-1")
    table = await exported(full, "csv", field_mapping={"Brief": "content"})
    assert "Brief" in table.decode().partition("\r\n")[0].split(",")


PATHS = {
    "year": "text_metadata.year",
    "who": {"template": "{text_metadata.who.name}!"},
    "sure": "metadata.sure",
    "first": "labels.0",
    "all": {"template": "{text_metadata}"},
    "none": "text_metadata.absent",
}


@pytest.mark.parametrize("form", ["csv", "xlsx"])
async def test_a_path_into_metadata_is_a_column_of_a_table(place: Place, form: str) -> None:
    metadata = {"year": 1843, "who": {"name": "Ada"}}
    mark = {"start_char": 0, "end_char": 3, "label": "PERSON", "metadata": {"sure": [0.5]}}
    marks = [mark, {**mark, "start_char": 1, "metadata": {}}]
    text = {"content": "Ada", "labels": ["=a"], "metadata": metadata, "annotations": marks}
    await ended(place, await send(place, lines(text)))
    filters = {"text_id": 2}
    data = await exported(place, form, field_mapping=PATHS, filters=filters)
    first, second = _cells(form, data)
    assert {name: first[name] for name in PATHS} == {
        "year": "1843",
        "who": "Ada!",
        "sure": "[0.5]",
        "first": "'=a",
        "all": '{"year":1843,"who":{"name":"Ada"}}',
        "none": "",
    }
    assert [second[name] for name in ("year", "sure", "none")] == ["", "", ""]
    assert json.loads(first["text_metadata"]) == metadata
    assert json.loads(first["labels"]) == ["=a"]


def _cells(form: str, data: bytes) -> list[dict[str, str]]:
    """The rows of a table, by the names of its columns."""
    if form == "csv":
        return list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    with Spill(SHARED) as spill:
        book = Workbook(io.BytesIO(data), ReadOptions().bounds, spill)
        (sheet,) = book.sheets
        names, *rows = (row.cells for row in book.rows(sheet))
        return [dict(zip_longest(names, row, fillvalue="")) for row in rows]


async def test_tags_are_of_the_scheme(full: Place) -> None:
    for scheme, person in (("iob1", "I-PERSON"), ("bio", "B-PERSON"), ("bioes", "S-PERSON")):
        rows = (await exported(full, "conll", scheme=scheme)).decode().splitlines()
        assert person in {row.rsplit(" ", 1)[-1] for row in rows if row}


async def test_who_may_export_and_fetch(full: Place) -> None:
    for role in ("viewer", "annotator"):
        assert (await start(full, status=403, who=by(role)))["code"] == "role_lacking"
    operation = await start(full, who=by("manager"))
    await ended(full, operation)
    for role in ("viewer", "annotator"):
        await fetched(full, operation, 403, by(role))
        await full.ask("GET", operation["links"]["export"], status=403, who=by(role))
    await fetched(full, operation, 404, bearer("other", "admin", actor="eve"))
    assert (await fetched(full, operation, who=by("manager")))[0]


async def test_there_is_nothing_to_undo_and_a_dry_run_makes_no_file(full: Place) -> None:
    operation = await start(full, dry_run=True)
    await ended(full, operation)
    problem = json.loads((await fetched(full, operation, 409))[0])
    assert (problem["code"], "dry run" in problem["detail"]) == ("file_unfinished", True)
    done = await start(full)
    await ended(full, done)
    refused = await full.ask("POST", f"/api/v1/jobs/{done['job_id']}/undo", {}, status=409)
    assert (refused["code"], "only reads" in refused["detail"]) == ("not_reversible", True)
    refused = await start(full, status=409, rollback_on_error=True)
    assert refused["code"] == "not_reversible"


async def test_a_repeated_export_is_one_job(full: Place) -> None:
    key = {"Idempotency-Key": "monday"}
    first = await start(full, headers=key)
    assert (await start(full, headers=key))["operation_id"] == first["operation_id"]
    assert (await start(full, "csv", headers=key, status=409))["code"] == "idempotency_conflict"


async def test_an_export_goes_with_what_it_was_made_of(full: Place) -> None:
    operation = await start(full)
    await ended(full, operation)
    await fetched(full, operation)
    shred = f"/api/v1/jobs/{operation['job_id']}/shred"
    await full.ask("POST", shred, {"reason": "somebody asked"}, status=202)
    assert json.loads((await fetched(full, operation, 410))[0])["code"] == "file_gone"


async def test_what_is_no_export_has_no_file(full: Place) -> None:
    path = "/api/v1/batch/operations/1"
    for name in ("download", "export"):
        refused = await full.ask("GET", f"{path}/{name}", status=404)
        assert refused["code"] == "record_not_found"


async def by_hand(place: Place, **job: Any) -> tuple[Any, str]:
    """An export that was submitted as a job of the engine, and where its file would be."""
    params = {"project_id": place.number, "format": "jsonl"}
    body = {"operation": "annotations.export", "params": params} | job
    made = await place.ask("POST", "/api/v1/jobs", body, status=202)
    caller = Caller("acme", "boss", frozenset(Permission))
    platform = place.shop.engine.annotations
    number = await platform.number(caller, place.number, "annotations.export", made["job_id"])
    return made, f"/api/v1/batch/operations/{number.operation_id}/download"


async def test_what_is_not_whole_is_never_offered(full: Place) -> None:
    draft, path = await by_hand(full, draft=True)
    refused = await full.ask("GET", path, status=409)
    assert (refused["code"], "draft" in refused["detail"]) == ("file_unfinished", True)
    await full.ask("POST", f"/api/v1/jobs/{draft['job_id']}/cancel", {}, status=202)
    refused = await full.ask("GET", path, status=409)
    assert (refused["code"], "cancelled" in refused["detail"]) == ("file_unfinished", True)
    half, path = await by_hand(full, items=[{"id": 1}, {"id": "x"}, {"id": 2}])
    await full.shop.settled(half, headers=BOSS)
    refused = await full.ask("GET", path, status=409)
    assert (refused["code"], "retry" in refused["detail"]) == ("file_unfinished", True)


async def test_who_dies_over_a_file_is_followed_by_the_next_one(full: Place) -> None:
    expected = await exported(full, "json")
    operation = await start(full, "json")
    await ended(full, operation)
    file = JobFile(
        *(operation["job_id"], "export", "acme", full.number, "half.json", "application/json"),
        *('{"labels": []}', 1.0),
    )
    database = full.shop.engine.database

    def begin(connection: Connection) -> None:
        job_files.begin(connection, file)
        job_files.add(connection, file, 0, [expected])

    await database.write(begin)
    assert (await report(full, operation))["file"] is None
    several = await asyncio.gather(*(fetched(full, operation) for _ in range(3)))
    assert {data for data, _ in several} == {expected}
    assert await database.read(lambda c: parts_after(c, operation["job_id"], -1, 9)) == []


class InAMonth(SystemClock):
    """The time of this machine, a month ahead."""

    def now(self) -> datetime:
        return super().now() + timedelta(days=31)


async def test_of_what_was_removed_meanwhile_nothing_is_offered(full: Place) -> None:
    operation = await start(full, chunk_size=1)
    await ended(full, operation)
    job = await full.shop.engine.queries.job("acme", operation["job_id"])
    number = Numbered(1, full.number, job.id, "annotations.export", "boss", 1.0)
    later = Exports(full.shop.engine.database, InAMonth())
    with pytest.raises(FileGone, match="30 days"):
        await later.file(number, job)
    removed = job_parts.c.position == 2
    await full.shop.engine.database.write(lambda c: c.execute(delete(job_parts).where(removed)))
    refused = json.loads((await fetched(full, operation, 410))[0])
    assert refused["code"] == "file_gone"
    assert (await report(full, operation))["file"] is None


async def test_the_slower_of_two_processes_takes_the_file_of_the_other(
    full: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = await start(full, chunk_size=1)
    await ended(full, operation)
    engine = full.shop.engine
    job = await engine.queries.job("acme", operation["job_id"])
    number = Numbered(1, full.number, job.id, "annotations.export", "boss", 1.0)
    held = Held(monkeypatch)
    slower = asyncio.ensure_future(Exports(engine.database, SystemClock()).file(number, job))
    await asyncio.to_thread(held.begun.wait, 20)
    data, _ = await fetched(full, operation)
    held.let_go.set()
    file = await slower
    assert file.size == len(data)
    assert (await fetched(full, operation))[0] == data
    more = partial(job_files.add, file=file, first=1, data=[b"more"])
    assert not await engine.database.write(more)


async def test_of_what_fails_over_a_file_no_row_is_logged(
    full: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = await start(full)
    await ended(full, operation)
    engine = full.shop.engine
    job = await engine.queries.job("acme", operation["job_id"])
    number = Numbered(1, full.number, job.id, "annotations.export", "boss", 1.0)
    refused = ValueError("no number\nDETAIL:  Failing row contains (canary).")
    monkeypatch.setattr(exports, "parts_after", mock.Mock(side_effect=refused))
    with capture_logs() as logged, pytest.raises(ValueError, match="no number"):
        await Exports(engine.database, SystemClock()).file(number, job)

    entries = [entry for entry in logged if entry["event"] == "export_not_made"]
    assert [entry["error"] for entry in entries] == ["no number"]


class Held:
    """Who is the first to read parts reads one, and no more before that is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self._first: int | None = None
        monkeypatch.setattr(exports, "PARTS_AT_ONCE", 1)
        monkeypatch.setattr(exports, "parts_after", self._parts_after)

    def _parts_after(self, *args: Any, **more: Any) -> list[tuple[int, bytes]]:
        me = threading.get_ident()
        if self._first is None:
            self._first = me
        elif self._first == me:
            self.begun.set()
            assert self.let_go.wait(20), "nobody has let it go"
        return parts_after(*args, **more)


async def test_who_looked_before_the_end_of_another_request_takes_its_file(
    full: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = await start(full, chunk_size=1)
    await ended(full, operation)
    real, looked, go = Exports.known, asyncio.Event(), asyncio.Event()

    async def known(self: Exports, job: Job) -> JobFile | None:
        found = await real(self, job)
        if not looked.is_set():
            looked.set()
            await go.wait()
        return found

    monkeypatch.setattr(Exports, "known", known)
    late = asyncio.ensure_future(fetched(full, operation))
    await looked.wait()
    data, _ = await fetched(full, operation)
    go.set()
    assert (await late)[0] == data
    assert (await fetched(full, operation))[0] == data
