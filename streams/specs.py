"""Specs: what a job is to do, checked against its operation before anything is stored."""

from __future__ import annotations

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from domain.commands import MAX_PARAMS_BYTES, JobSpec, OpenJob, SubmitJob, UploadedItems
from domain.contradictions import check_options, check_plain
from domain.errors import InvalidCommand
from domain.operation import Operation
from domain.options import MAX_ATOMIC_BYTES, MAX_ATOMIC_ITEMS, JobOptions, OnError
from domain.registry import Registry
from streams.undoing import require_undo


def check_spec(registry: Registry, spec: JobSpec) -> None:
    """Raise UnknownOperation or InvalidCommand, which points at the parameter at fault."""
    check_plain(spec)
    check_work(registry, spec)


def check_work(registry: Registry, spec: JobSpec) -> None:
    """As ``check_spec``, also of a job that belongs to a batch."""
    operation = registry.get(spec.operation)
    check_options(spec.options, operation.codes)
    if spec.options.on_error is OnError.ROLL_BACK:
        require_undo(operation)
    if spec.options.atomic and not operation.only_writes_records:
        raise InvalidCommand(
            f"{operation.kind} does more than write records, so it cannot be taken back as a "
            "whole; leave atomic out, or use on_error roll_back",
            pointer="/options/atomic",
        )
    _check_item_timeout(operation, spec.options)
    size = len(orjson.dumps(spec.params))
    if size > MAX_PARAMS_BYTES:
        raise InvalidCommand(
            f"the params have {size} bytes, {MAX_PARAMS_BYTES} are possible; make them items, or "
            "store them elsewhere and send a reference",
            pointer="/params",
        )
    try:
        operation.params.model_validate(spec.params)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        pointer = "/params" + "".join(f"/{part}" for part in first["loc"])
        raise InvalidCommand(f"{pointer}: {_words(operation, first)}", pointer=pointer) from error


def _words(operation: Operation, fault: ErrorDetails) -> str:
    """What is wrong with a parameter, and what there is in place of one that there is not."""
    if fault["type"] != "extra_forbidden" or len(fault["loc"]) > 1:
        return fault["msg"].removeprefix("Value error, ")
    possible = ", ".join(sorted(operation.params.model_fields)) or "none"
    words = f"{operation.kind} has no such parameter; possible: {possible}"
    of_items = fault["loc"][0] in operation.item.model_fields
    return f"{words}; its items have such a field" if of_items else words


def check_frozen(command: SubmitJob | OpenJob) -> None:
    """Raise InvalidCommand for a selection of which nobody has looked up the records."""
    uploaded = isinstance(command, SubmitJob) and isinstance(command.source, UploadedItems)
    if command.spec.select is not None and not uploaded:
        raise InvalidCommand(
            "records are looked up by the API (POST /api/v1/jobs with select); send items here",
            pointer="/spec/select",
        )


def check_whole(spec: JobSpec, items: int, size: int) -> None:
    """Raise InvalidCommand for an atomic job that is more than one transaction may hold."""
    if not fits_whole(spec, items, size):
        raise InvalidCommand(
            f"an atomic job holds at most {most_of_whole()}, these are {items} and {size}; submit "
            "several, or use on_error roll_back",
            pointer="/items",
        )


def fits_whole(spec: JobSpec, items: int, size: int) -> bool:
    """Whether one transaction may hold so much of a job, or need not hold all of it."""
    fits = items <= MAX_ATOMIC_ITEMS and size <= MAX_ATOMIC_BYTES
    return fits or not spec.options.atomic


def most_of_whole() -> str:
    """How much an atomic job may hold, in words."""
    return f"{MAX_ATOMIC_ITEMS} items and {MAX_ATOMIC_BYTES} bytes"


def _check_item_timeout(operation: Operation, options: JobOptions) -> None:
    seconds, pointer = options.item_timeout, "/options/item_timeout"
    if seconds is None:
        return
    if not operation.waits:
        raise InvalidCommand(
            f"{operation.kind} is not slow: its items share a transaction, which only the "
            "operation's own timeout ends; leave item_timeout out",
            pointer=pointer,
        )
    if seconds > operation.timeout:
        raise InvalidCommand(
            f"{operation.kind} gives an item {operation.timeout:g} s, a job may give it less; "
            "lower item_timeout",
            pointer=pointer,
        )
