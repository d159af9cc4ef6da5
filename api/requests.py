"""Requests: bodies that are read in pieces, as one model; and what can stand in a query.

Items are checked by their operation when they are worked, not when they are sent: here they
are anything.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from domain.commands import MAX_PARAMS_BYTES, JobSpec, Tag
from domain.options import JobOptions, Priority
from domain.record_filter import RecordSelection
from domain.steps import MAX_STEPS, Step
from domain.values import Value

_ITEMS = Field(description="What the job is about; each as its operation wants it.")


class NewJob(Value):
    """A job: with ``items``, or with ``select``, or as a ``draft`` whose items follow.

    A job that takes its items from the results of another one (``options.after``) has none of
    these.
    """

    operation: Annotated[
        str, Field(min_length=1, max_length=200, description="A kind of GET /api/v1/operations.")
    ]
    items: Annotated[tuple[Any, ...] | None, _ITEMS] = None
    draft: bool = False
    select: RecordSelection | None = None
    params: Annotated[
        dict[str, Any], Field(description=f"Of the operation; at most {MAX_PARAMS_BYTES} bytes.")
    ] = {}  # noqa: RUF012 - pydantic copies it
    options: JobOptions = JobOptions()
    name: Annotated[str, Field(max_length=4000)] = ""
    tags: Annotated[tuple[Tag, ...], Field(max_length=50)] = ()
    priority: Priority = 5


class Batch(Value):
    """The body of a batch, without the items of its steps."""

    name: Annotated[str, Field(max_length=4000)] = ""
    tags: Annotated[tuple[Tag, ...], Field(max_length=50)] = ()
    priority: Priority = 5
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=MAX_STEPS)]


class NewStep(Step):
    """A step of a batch with its items; without any when it consumes those of another."""

    items: Annotated[tuple[Any, ...] | None, _ITEMS] = None


class NewBatch(Batch):
    """Jobs that come after one another."""

    steps: Annotated[tuple[NewStep, ...], Field(min_length=1, max_length=MAX_STEPS)]


SPOKEN_OF_ELSEWHERE = frozenset(JobSpec.model_fields) - frozenset(NewJob.model_fields)
"""Fields of a job that its submitter does not give: batches have steps, and steps a parent."""
