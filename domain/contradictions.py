"""Contradictions: options and selections of which no part is wrong, and the whole is. Pure.

They are refused, not unreadable: whoever sent them is told, whichever way they came.
"""

from __future__ import annotations

from collections.abc import Collection

from domain.commands import BatchUndo, Editing, JobSpec, Selection, UndoJob, UndoSelection
from domain.errors import InvalidCommand
from domain.options import (
    Backoff,
    Duplicates,
    JobOptions,
    Limit,
    OnError,
    Reaction,
    RetryPolicy,
    Start,
)
from domain.schedule import check_schedule

ENGINE_CODES = frozenset(
    {
        "changed_since_plan",
        "changed_since_prepared",
        "handler_error",
        "internal",
        "invalid",
        "not_json",
        "plugin_invalid",
        "timeout",
        "worker_died",
    }
)
"""The codes of failures that the engine itself gives."""


def check_options(options: JobOptions, codes: Collection[str]) -> None:
    """Raise InvalidCommand for options that contradict one another, or can do nothing.

    ``codes`` are those that the operation declares; any may be named when there is none.
    """
    if options.retry is not None:
        _check_retry(options.retry)
    if options.stop_on_error and options.tolerate:
        raise InvalidCommand(
            "stop_on_error tolerates no failure; leave it out, or tolerate",
            pointer="/options/stop_on_error",
        )
    if options.on_error is OnError.ROLL_BACK and not any(
        limit.then is Reaction.FAIL for limit in options.limits
    ):
        raise InvalidCommand(
            "every limit pauses the job, so it never rolls back; let one fail it",
            pointer="/options/on_error",
        )
    if options.dry_run and options.plan is not None:
        raise InvalidCommand(
            "a job is either a dry run or does what one has planned; leave dry_run or plan out",
            pointer="/options/plan",
        )
    check_schedule(options)
    _check_after(options)
    _check_key(options)
    if options.atomic:
        _check_atomic(options)
    for number, limit in enumerate(options.tolerate):
        _check_limit(limit, f"/options/tolerate/{number}")
    unknown = options.codes - ENGINE_CODES - set(codes) if codes else frozenset()
    if unknown:
        known = ", ".join(sorted({*codes, *ENGINE_CODES}))
        raise InvalidCommand(
            f"no item fails with {min(unknown)!r}; the codes of this operation are {known}",
            pointer="/options",
        )


def _check_key(options: JobOptions) -> None:
    if options.key is None and options.duplicates is not Duplicates.REFUSE:
        raise InvalidCommand(
            "duplicates are told by a key; say key, as /id, or leave duplicates out",
            pointer="/options/duplicates",
        )
    if options.key is not None and options.start is Start.EAGER:
        raise InvalidCommand(
            "which items are called the same is known when all are there; leave start: eager or "
            "key out",
            pointer="/options/key",
        )
    if options.key is not None and options.consumed is not None:
        raise InvalidCommand(
            "the items are results of another job, and each is one of its own; leave key or "
            "consume out",
            pointer="/options/key",
        )


def require_may_be_empty(spec: JobSpec) -> None:
    """Raise InvalidCommand for a job without items, unless its filter may match none."""
    if spec.select is None:
        raise InvalidCommand("a job needs at least one item; send some", pointer="/items")
    spec.select.require_confirmed(0)


def check_named(said: Selection | UndoSelection) -> None:
    """Raise InvalidCommand for a list that was said and names nothing.

    Whoever has computed it wants none of them; left out, it would be all.
    """
    for name in sorted(said.model_fields_set):
        if getattr(said, name) == ():
            raise InvalidCommand(
                f"{name} names nothing; name some, or leave it out, which means all of them",
                pointer=f"/{name}",
            )


def check_meant(select: Selection | UndoSelection) -> None:
    """Raise InvalidCommand for a selection that a producer has sent, and that selects nothing."""
    if select == type(select)():
        check_named(select)


def check_selection(select: Selection) -> None:
    """Raise InvalidCommand when items are chosen, or changed, in more than one way."""
    ways = [bool(select.items), select.by_error, select.unattempted, bool(select.edits)]
    if ways.count(True) > 1:
        raise InvalidCommand(
            "items, codes with signatures, unattempted, and edits are four ways to choose; use one",
            pointer="/items",
        )
    if select.edits and select.patch is not None:
        raise InvalidCommand("edits give whole bodies; leave patch out", pointer="/patch")
    if len({edit.item for edit in select.edits}) < len(select.edits):
        raise InvalidCommand("an item is edited twice; say it once", pointer="/edits")


def check_editing(editing: Editing) -> None:
    """Raise InvalidCommand for an edit that changes nothing, or an item in two ways."""
    edited = [edit.item for edit in editing.edits]
    if not edited and not editing.drop:
        raise InvalidCommand("nothing is to be changed; say edits or drop", pointer="/edits")
    if len(set(edited)) < len(edited):
        raise InvalidCommand("an item is edited twice; say it once", pointer="/edits")
    both = set(edited).intersection(editing.drop)
    if both:
        raise InvalidCommand(
            f"item {min(both)} is edited and dropped at once; say one of them", pointer="/drop"
        )


def check_undo(select: UndoSelection, *, force: bool, reason: str) -> None:
    """Raise InvalidCommand for an undo of more than one kind of part, or forced without why."""
    if [bool(select.items), bool(select.chunks), bool(select.records)].count(True) > 1:
        raise InvalidCommand(
            "items, chunks and records are three ways to choose; use one", pointer="/items"
        )
    if force and not reason.strip():
        raise InvalidCommand(
            "force overwrites what others have written since; say why in reason", pointer="/reason"
        )


def check_plain(spec: JobSpec) -> None:
    """Raise InvalidCommand for a job that says of itself what only a batch says of its jobs."""
    if spec.steps:
        raise InvalidCommand("jobs with steps are batches; submit one", pointer="/steps")
    if spec.parent is not None:
        raise InvalidCommand("a parent is given to the jobs of a batch only", pointer="/parent")


def check_fed(options: JobOptions) -> None:
    """Raise InvalidCommand for a job that brings items and takes them from another job."""
    consumed = options.consumed
    if consumed is not None:
        raise InvalidCommand(
            f"the items are the results of job {consumed.job_id}; leave items or consume out",
            pointer="/items",
        )


def _check_after(options: JobOptions) -> None:
    if options.after and options.start is Start.EAGER:
        raise InvalidCommand(
            "a draft that starts before its seal waits for no job; leave start or after out",
            pointer="/options/start",
        )
    seen: set[str] = set()
    for number, after in enumerate(options.after):
        if after.job_id in seen:
            raise InvalidCommand(
                f"job {after.job_id} is named twice; say it once",
                pointer=f"/options/after/{number}/job_id",
            )
        seen.add(after.job_id)
    if sum(bool(after.consume) for after in options.after) > 1:
        raise InvalidCommand(
            "a job takes its items from one job; leave consume out of the others",
            pointer="/options/after",
        )


def _check_atomic(options: JobOptions) -> None:
    pointer = "/options/atomic"
    if options.dry_run:
        raise InvalidCommand(
            "a dry run changes nothing, atomic or not; leave one of them out", pointer=pointer
        )
    if options.plan is not None:
        raise InvalidCommand(
            "an atomic job compares what it has prepared itself; leave atomic or plan out",
            pointer=pointer,
        )
    if options.on_error is OnError.ROLL_BACK:
        raise InvalidCommand(
            "nothing of an atomic job stands when an item fails; leave on_error or atomic out",
            pointer=pointer,
        )


def check_no_batch(wanted: BatchUndo) -> None:
    """Raise InvalidCommand for an undo that names parts of a batch, of a job that is none."""
    for field, name in wanted:
        if name is not None:
            raise InvalidCommand(
                "the job is no batch; choose items, chunks or records", pointer=f"/{field}"
            )


def check_batch_undo(command: UndoJob) -> None:
    """Raise InvalidCommand for an undo of a batch that names parts of a job, or two parts of it."""
    if not command.select.whole:
        raise InvalidCommand(
            "a batch has no items of its own; ask the undo of its jobs", pointer="/items"
        )
    if command.batch.to is not None and command.batch.branch is not None:
        raise InvalidCommand("to and branch are two ways to choose; use one", pointer="/branch")


def _check_retry(retry: RetryPolicy) -> None:
    _check_backoff(retry, "/options/retry")
    for code, backoff in retry.codes.items():
        _check_backoff(backoff, f"/options/retry/codes/{code}")
    if max(retry.attempts, *(each.attempts for each in retry.codes.values()), 1) == 1:
        raise InvalidCommand(
            "with attempts 1 nothing is tried again; raise it, or leave retry out",
            pointer="/options/retry/attempts",
        )


def _check_backoff(backoff: Backoff, pointer: str) -> None:
    if backoff.cap < backoff.delay:
        raise InvalidCommand(
            f"cap ({backoff.cap:g} s) is below delay ({backoff.delay:g} s); raise it",
            pointer=f"{pointer}/cap",
        )


def _check_limit(limit: Limit, pointer: str) -> None:
    if (limit.failed is None) == (limit.percent is None):
        raise InvalidCommand(
            "a limit is either failed (items) or percent; say one of them", pointer=pointer
        )
    out_of_reach = (limit.percent or 0) >= 100 or (
        limit.window is not None and limit.failed is not None and limit.failed >= limit.window
    )
    if out_of_reach:
        raise InvalidCommand(f"the limit is never hit ({limit}); lower it", pointer=pointer)
