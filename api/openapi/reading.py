"""Reading: what is said of the routes that tell of jobs, items and records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from api.fields import OF_ITEM, OF_JOB, OF_LISTED
from api.items import STATUSES
from api.jobs import MAX_POINTS
from api.models import Nothing
from api.openapi import answers, installation
from api.openapi.common import CURSOR, LIMIT, fields, of_job, repeated
from api.openapi.jobs import JOB
from api.openapi.telling import MOMENT, WORD, Answer, Body, Told, one_of, query, whole
from api.openapi.watching import EVENTS_OF_JOB, NOT_SHOWN, SHOWN_OF_JOB
from api.parameters import MAX_VERSION
from api.records import MAX_PAGE as MAX_VERSIONS
from api.records import PAGE as VERSIONS
from api.streaming import CSV, NDJSON
from domain.compensation import Stage
from domain.events import JobStatus
from domain.options import MAX_ITEMS
from streams.diffs import Change
from streams.stores.read_model import MAX_PAGE, SORTS

_RECORD = "/api/v1/records/{table}/{record_id}"
_POINTER = {"type": "string", "pattern": "^/"}
_ITEM = '{"position":0,"status":"succeeded","result":{"id":7},"score":null}\n'
_POSITIONS = {"type": "integer", "minimum": 0, "maximum": MAX_ITEMS}
_RUNS = (
    query("at", "The job as it was at this version.", whole(1, MAX_VERSION)),
    query("generation", "The job before the undo of this number.", whole(0, MAX_VERSION)),
    query("other_at", "The other as it was at this version.", whole(1, MAX_VERSION)),
    query("other_generation", "The other before the undo of this number.", whole(0, MAX_VERSION)),
    query("key", "A JSON pointer to what items are called; pairs them by it.", _POINTER),
)

_JOBS: Mapping[tuple[str, str], Told] = {
    ("GET", "/api/v1/jobs"): Told(
        name="listJobs",
        tag="Jobs",
        parameters=(
            repeated("status", "Jobs in this status.", one_of(*(each.value for each in JobStatus))),
            query("operation", "Jobs of this kind.", WORD),
            query("system", "Jobs of the operations of this system.", WORD),
            query("tag", "Jobs with this tag.", WORD),
            query("q", "Jobs with this in their name, in upper or lower case."),
            query("created_after", "Jobs that are younger.", MOMENT),
            query("created_before", "Jobs that are older.", MOMENT),
            query(
                "sort",
                "By what they are sorted; a minus before it is for descending.",
                {**one_of(*SORTS, *(f"-{name}" for name in SORTS)), "default": "-created_at"},
            ),
            query("cursor", "The `next_cursor` of the page before, under the same `sort`.", WORD),
            query("limit", "How many a page has at most.", whole(1, MAX_PAGE, 50), example=20),
            fields(OF_LISTED),
        ),
        answers={
            200: Answer(
                about="A page.",
                model=answers.Jobs,
                part=answers.ListedJob,
                links={"showJob": {"job_id": "$response.body#/items/0/job_id"}},
            )
        },
        problems=("invalid",),
    ),
    ("GET", JOB): Told(
        name="showJob",
        tag="Jobs",
        parameters=(
            query("at", "The job as it was at this version.", whole(1, MAX_VERSION)),
            fields(OF_JOB),
        ),
        answers={200: Answer(about="The job.", model=answers.Job, part=answers.Job)},
        problems=("invalid",),
    ),
    ("GET", f"{JOB}/events"): Told(
        name="readEvents",
        tag="Jobs",
        parameters=EVENTS_OF_JOB,
        answers=SHOWN_OF_JOB,
        problems=NOT_SHOWN,
        ticket=True,
    ),
    ("GET", f"{JOB}/hashes"): Told(
        name="listHashes",
        tag="Jobs",
        parameters=(
            query("after", "Behind this version.", whole(0, MAX_VERSION, 0)),
            LIMIT,
        ),
        answers={200: Answer(about="A page.", model=answers.Hashes)},
    ),
    ("GET", f"{JOB}/verification"): Told(
        name="verifyJob",
        tag="Jobs",
        answers={200: Answer(about="What was found.", model=answers.Verification)},
    ),
    ("POST", f"{JOB}/ticket"): Told(
        name="issueTicket",
        tag="Jobs",
        body=Body(model=Nothing, examples={"nothing": {}}),
        answers={201: Answer(about="A ticket, good once.", model=answers.Ticket)},
        problems=("tickets_not_asked_for",),
    ),
    ("GET", f"{JOB}/progress"): Told(
        name="showProgress",
        tag="Jobs",
        parameters=(
            query("points", "At so many moments at most.", whole(2, MAX_POINTS, MAX_POINTS)),
        ),
        answers={200: Answer(about="The course of the job.", model=answers.Course)},
    ),
}

_ITEMS: Mapping[tuple[str, str], Told] = {
    ("GET", f"{JOB}/items"): Told(
        name="listItems",
        tag="Items",
        parameters=(
            repeated("status", "Items that stand so.", one_of(*STATUSES)),
            query("code", "Items that failed with this code; one that the job can have.", WORD),
            query(
                "record",
                "Items that wrote to this record, whatever became of them.",
                {"type": "string", "pattern": "^[^/]{1,100}/[0-9]{1,19}$"},
                example="labels/9",
            ),
            query("key", "Items that are called so: a JSON value, or a string as it is."),
            query(
                "format",
                "In place of `Accept`; `items` is what was sent, and nothing else.",
                one_of("json", "ndjson", "csv", "items"),
            ),
            query("include", "`item` adds what was sent.", one_of("item")),
            fields(OF_ITEM),
            query(
                "cursor",
                "The `next_cursor` of the page before: the position of the last item seen.",
                whole(0, MAX_ITEMS),
            ),
            query(
                "limit",
                "How many a page has, of JSON at most 1,000 or 4 MB; or how many are streamed.",
                whole(1, MAX_ITEMS),
                example=20,
            ),
        ),
        answers={
            200: Answer(
                about="A page as JSON, or all of them in one stream.",
                model=answers.Items,
                part=answers.Item,
                others={NDJSON: _ITEM, CSV: "position,status,code\r\n0,succeeded,\r\n"},
                links={
                    "showItem": {
                        "job_id": "$request.path.job_id",
                        "position": "$response.body#/items/0/position",
                    }
                },
            )
        },
        problems=("not_acceptable", "archived", "invalid"),
    ),
    ("GET", f"{JOB}/items/{{position}}"): Told(
        name="showItem",
        tag="Items",
        answers={200: Answer(about="The item.", model=answers.ItemPast)},
        problems=("item_not_found", "archived", "invalid"),
    ),
    ("GET", f"{JOB}/errors"): Told(
        name="listErrors",
        tag="Items",
        answers={200: Answer(about="The groups, the largest first.", model=answers.ErrorGroups)},
        problems=("archived", "invalid"),
    ),
    ("GET", f"{JOB}/issues"): Told(
        name="summarizeIssues",
        tag="Items",
        answers={
            200: Answer(about="Counts by rule, the most frequent first.", model=answers.Issues)
        },
        problems=("archived", "invalid"),
    ),
    ("GET", f"{JOB}/diff/{{other}}"): Told(
        name="compareJobs",
        tag="Items",
        parameters=(
            *_RUNS,
            repeated("change", "Items that differ so.", one_of(*(each.value for each in Change))),
            query("format", "In place of `Accept`.", one_of("json", "ndjson")),
            query("cursor", "The `next_cursor` of the page before.", whole(0, MAX_ITEMS)),
            query(
                "limit",
                "How many a page has, of JSON 1,000 at most; or how many are streamed.",
                whole(1, MAX_ITEMS),
                example=20,
            ),
        ),
        answers={
            200: Answer(
                about="A page as JSON, or all of them in one stream.",
                model=answers.Differences,
                others={NDJSON: '{"position":0,"change":"status","this":null,"other":null}\n'},
            )
        },
        problems=("not_acceptable", "archived", "invalid", "wrong_state"),
    ),
    ("GET", f"{JOB}/diff/{{other}}/summary"): Told(
        name="summarizeComparison",
        tag="Items",
        parameters=_RUNS,
        answers={200: Answer(about="The counts.", model=answers.DifferenceSummary)},
        problems=("archived", "invalid", "wrong_state"),
    ),
}

READING: Final[Mapping[tuple[str, str], Told]] = {
    **_JOBS,
    **_ITEMS,
    ("GET", f"{JOB}/plan"): Told(
        name="showPlan",
        tag="Plans and undos",
        answers={
            200: Answer(
                about="The plan.",
                model=answers.FoundPlan,
                links={"applyPlan": {"job_id": "$response.body#/job_id"}},
            )
        },
        problems=("wrong_state", "archived"),
    ),
    ("GET", f"{JOB}/undo-preview"): Told(
        name="previewUndo",
        tag="Plans and undos",
        parameters=(
            repeated("item", "Of this position.", _POSITIONS),
            repeated("chunk", "Of this chunk.", _POSITIONS),
            repeated(
                "record",
                "Of what wrote to this record.",
                {"type": "string", "maxLength": 200, "pattern": "^[^/]+/[0-9]{1,19}$"},
            ),
            query("force", "Over what others have written since.", one_of("true", "false")),
            CURSOR,
            LIMIT,
        ),
        answers={
            200: Answer(
                about="The counts, and a page of what would stay.",
                model=answers.UndoPreview,
                links=of_job("undoJob"),
            )
        },
        problems=("invalid", "wrong_state", "not_reversible", "archived", "unknown_operation"),
    ),
    ("GET", f"{JOB}/compensations"): Told(
        name="listCompensations",
        tag="Plans and undos",
        parameters=(
            repeated("stage", "Those that are so far.", one_of(*(each.value for each in Stage))),
            CURSOR,
            LIMIT,
        ),
        answers={200: Answer(about="A page.", model=answers.Compensations)},
        problems=("archived", "invalid"),
    ),
    ("GET", f"{_RECORD}/history"): Told(
        name="showHistory",
        tag="Records",
        parameters=(
            query("include", "`values` adds all that a version has left.", one_of("values")),
            query("cursor", "The `next_cursor` of the page before.", whole(1, MAX_VERSION)),
            query(
                "limit",
                "How many a page has at most.",
                whole(1, MAX_VERSIONS, VERSIONS),
                example=20,
            ),
        ),
        answers={200: Answer(about="A page, the latest first.", model=installation.RecordHistory)},
        problems=("record_not_found", "invalid"),
    ),
    ("GET", f"{_RECORD}/blame"): Told(
        name="showBlame",
        tag="Records",
        answers={200: Answer(about="The record's columns.", model=installation.Blame)},
        problems=("record_not_found", "invalid"),
    ),
}
