"""Jobs: what is said of the routes that make jobs and tell them what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from api import jobs, plans, submit
from api.openapi import answers
from api.openapi.common import (
    COMMAND,
    IF_MATCH,
    INSISTING,
    KEY,
    PREFER,
    RUNS,
    of_job,
    repeated,
)
from api.openapi.telling import WORD, Answer, Body, Schema, Told, query, whole
from api.ports import Verb
from api.requests import NewBatch, NewJob
from domain.commands import Adjustment, Editing
from domain.options import MAX_CHUNK, Start

JOB = "/api/v1/jobs/{job_id}"
_LABELS = [{"project_id": 1, "name": "CITY"}, {"project_id": 1, "name": "RIVER"}]
_LINES = '{"project_id": 1, "name": "CITY"}\n{"project_id": 1, "name": "RIVER"}\n'
_CREATE = "annotations.create_labels"

FOLLOWING = of_job(
    "showJob",
    "pauseJob",
    "resumeJob",
    "cancelJob",
    "retryJob",
    "undoJob",
    "approveJob",
    "rejectJob",
    "adjustJob",
    "editItems",
    "appendItems",
    "sealJob",
    "listItems",
    "listErrors",
    "readEvents",
    "showProgress",
    "previewUndo",
    "showPlan",
    "archiveJob",
)
"""What can follow a submit."""


def _accepted(
    about: str, *, links: Mapping[str, Mapping[str, str]] | None = None
) -> Mapping[int, Answer]:
    """What a command is answered with, and when its client has waited for the end."""
    done = Answer(about="With `Prefer: wait`: the job, at rest.", model=answers.Job, located=True)
    told = Answer(about=about, model=answers.Job, located=True, links=links or {})
    return {202: told, 200: done}


_NDJSON_ONLY = "With NDJSON only; in JSON the body says it."
_TAGS: Schema = {"type": "string", "minLength": 1, "maxLength": 100}

_SUBMIT: Mapping[tuple[str, str], Told] = {
    ("POST", "/api/v1/jobs"): Told(
        name="submitJob",
        tag="Submit",
        parameters=(
            KEY,
            PREFER,
            query("operation", f"The kind of the job. {_NDJSON_ONLY}", WORD),
            query("params", f"Its params, as JSON. {_NDJSON_ONLY}", WORD),
            query("name", f"Its name. {_NDJSON_ONLY}"),
            query("priority", f"10 goes first. {_NDJSON_ONLY}", whole(0, 10)),
            query(
                "chunk_size",
                f"How many items are worked as one, at most. {_NDJSON_ONLY}",
                {"anyOf": [whole(1, MAX_CHUNK), {"const": "auto"}]},
            ),
            query(
                "start",
                f"When the first chunk may run. {_NDJSON_ONLY}",
                {"enum": [start.value for start in Start]},
            ),
            query("options", f"Its options, as JSON. {_NDJSON_ONLY}", WORD),
            repeated("tag", f"A tag. {_NDJSON_ONLY}", _TAGS),
        ),
        body=Body(
            model=NewJob,
            required=True,
            lines=_LINES,
            examples={
                "whole": {"operation": _CREATE, "items": _LABELS, "name": "Gazetteer"},
                "draft": {"operation": _CREATE, "draft": True},
                "dry run": {
                    "operation": _CREATE,
                    "items": _LABELS,
                    "options": {"dry_run": True},
                },
                "selected": {
                    "operation": "annotations.update_labels",
                    "select": {
                        "table": "labels",
                        "where": {"op": "equals", "column": "project_id", "value": 1},
                        "each": {"color": "#ff0000"},
                    },
                },
            },
        ),
        answers=_accepted("The job is accepted, and stored.", links=FOLLOWING),
        problems=(*COMMAND, *RUNS),
    ),
    ("POST", "/api/v1/batches"): Told(
        name="submitBatch",
        tag="Submit",
        parameters=(KEY, PREFER),
        body=Body(
            model=NewBatch,
            required=True,
            examples={
                "two steps": {
                    "name": "Gazetteer",
                    "steps": [
                        {"name": "labels", "operation": _CREATE, "items": _LABELS},
                        {
                            "name": "again",
                            "operation": "annotations.delete_labels",
                            "after": [{"step": "labels", "consume": {"id": "id"}}],
                        },
                    ],
                }
            },
        ),
        answers=_accepted("All of its jobs are accepted.", links=FOLLOWING),
        problems=(*COMMAND, *RUNS),
    ),
    ("POST", f"{JOB}/items"): Told(
        name="appendItems",
        tag="Submit",
        parameters=(
            query("part", "Which part this is.", whole(0, 1_000_000), required=True, example=0),
        ),
        body=Body(
            model={"type": "array", "items": {}},
            required=True,
            lines=_LINES,
            examples={"two items": _LABELS},
        ),
        answers={
            202: Answer(
                about="The part has arrived.",
                model=answers.Appended,
                links=of_job("sealJob", "editItems", "showJob"),
            )
        },
        problems=(*COMMAND, *RUNS),
    ),
    ("POST", f"{JOB}/seal"): Told(
        name="sealJob",
        tag="Submit",
        parameters=(KEY, IF_MATCH, PREFER),
        body=Body(model=submit.Seal, examples={"counted": {"items": 2}}),
        answers=_accepted("The job has all of its items.", links=of_job("showJob")),
        problems=(*COMMAND, *RUNS, *INSISTING),
    ),
    ("POST", f"{JOB}/edit"): Told(
        name="editItems",
        tag="Submit",
        parameters=(KEY, IF_MATCH, PREFER),
        body=Body(
            model=Editing,
            examples={
                "one other, one less": {
                    "edits": [{"item": 0, "body": {"project_id": 1, "name": "TOWN"}}],
                    "drop": [1],
                    "reason": "sold out",
                }
            },
        ),
        answers=_accepted("The draft has other items."),
        problems=(*COMMAND, *RUNS, *INSISTING),
    ),
    ("POST", f"{JOB}/apply"): Told(
        name="applyPlan",
        tag="Submit",
        parameters=(KEY, PREFER),
        body=Body(model=plans.Application, examples={"as it is": {}}),
        answers=_accepted("A new job does what was planned.", links=of_job("showJob")),
        problems=(*COMMAND, *RUNS),
    ),
}

_WHY = {"reason": "the editors are at work"}
_VERBS: Mapping[Verb, tuple[str, type[BaseModel], Mapping[str, Any]]] = {
    "pause": ("Stop; what is in flight takes no effect any more.", jobs.Reason, {"why": _WHY}),
    "resume": ("Go on after a pause.", jobs.Reason, {"why": _WHY}),
    "cancel": (
        "Stop for good; what was done stays, or is put back.",
        jobs.Cancel,
        {"why": _WHY, "put back": {"roll_back": True}, "in flight ends": {"graceful": True}},
    ),
    "retry": (
        "Work items again: the failed ones, or those that are chosen.",
        jobs.Retry,
        {
            "all that failed": {},
            "some": {"items": [0]},
            "edited": {"edits": [{"item": 0, "body": {"project_id": 1, "name": "TOWN"}}]},
            "left over": {"unattempted": True},
        },
    ),
    "undo": (
        "Put back what the job has changed; of an undone job, what the undo has.",
        jobs.Undo,
        {"all": {}, "a part": {"items": [0]}, "over others": {"force": True, "reason": "wrong"}},
    ),
    "approve": ("Let a job start that awaits approval.", jobs.Reason, {"why": _WHY}),
    "reject": ("End a job that awaits approval.", jobs.Reason, {"why": _WHY}),
    "hold": ("Keep a job from being shredded and archived.", jobs.Reason, {"why": _WHY}),
    "release": ("End a hold.", jobs.Reason, {"why": _WHY}),
    "shred": (
        "Make what was sent unreadable, for good.",
        jobs.Reason,
        {"why": {"reason": "a customer has asked for it"}},
    ),
    "archive": ("Put a job at rest away, for good.", jobs.Reason, {"why": _WHY}),
}


def _verb(verb: Verb, about: str, body: type[BaseModel], examples: Mapping[str, Any]) -> Told:
    return Told(
        name=f"{verb}Job",
        tag="Control",
        about=about,
        parameters=(KEY, IF_MATCH, PREFER),
        body=Body(model=body, examples=examples),
        answers=_accepted("It is stored; the job says how it is.", links=of_job("showJob")),
        problems=(*COMMAND, *RUNS, *INSISTING, "own_job"),
    )


CONTROL: Final[Mapping[tuple[str, str], Told]] = {
    **_SUBMIT,
    **{("POST", f"{JOB}/{verb}"): _verb(verb, *told) for verb, told in _VERBS.items()},
    ("POST", f"{JOB}/adjust"): Told(
        name="adjustJob",
        tag="Control",
        parameters=(KEY, IF_MATCH, PREFER),
        body=Body(
            model=Adjustment,
            examples={
                "slower": {"rate": 50, "concurrency": 4, "priority": 8},
                "without": {"lift": ["rate"], "reason": "the shop is open"},
            },
        ),
        answers=_accepted("The job goes by other caps."),
        problems=(*COMMAND, *RUNS, *INSISTING),
    ),
}
