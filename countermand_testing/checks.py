"""Checks: what every operation has to keep, each on benches of its own.

Each check raises ContractBrokenError, whose message says what was seen and what to do.
:func:`checks_for` leaves out those that do not concern an operation.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from pydantic import BaseModel, ValidationError

from countermand_testing.bench import Bench
from countermand_testing.case import Case, told
from countermand_testing.faults import Crash, Faults
from countermand_testing.malformed import malformed
from domain.execution import OF_THE_ITEM
from domain.operation import Operation, Reversible
from domain.outcomes import Done, ItemStatus
from streams.failpoints import Failpoint
from streams.items import ItemView

Check = Callable[[Case], None]
SMALL = 2
"""Items in a chunk, so that a case of few items has several."""
UNEXPECTED = frozenset({"handler_error", "plugin_invalid", "timeout", "worker_died", "internal"})

TROUBLE = Faults(
    crashes=(
        Crash(Failpoint.AFTER_CLAIM, 2),
        Crash(Failpoint.AFTER_HANDLER, 2),
        Crash(Failpoint.BEFORE_ITEM_RESULTS, 2),
        Crash(Failpoint.BEFORE_EFFECT_COMMIT, 2),
        Crash(Failpoint.AFTER_EFFECT_COMMIT, 3),
    ),
    lost=0.1,
    repeated=0.2,
    rebalanced=0.1,
)
TROUBLED_UNDO = Faults(
    crashes=(
        Crash(Failpoint.AFTER_CLAIM, 2),
        Crash(Failpoint.AFTER_COMPENSATION, 2),
        # What writes records only is undone in one transaction, however many chunks there are.
        Crash(Failpoint.BEFORE_UNDO_COMMIT, 1),
        Crash(Failpoint.AFTER_UNDO_COMMIT, 1),
    ),
    lost=0.1,
    repeated=0.2,
    rebalanced=0.1,
)


def check_declaration(case: Case) -> None:
    """The schemas that callers are shown agree with the examples in them and with the items."""
    operation = case.operation
    for what, model in (("item", operation.item), ("params", operation.params)):
        schema = model.model_json_schema()
        for example in schema.get("examples", []):
            problem = _problem(model, example)
            case.require(
                not problem,
                f"the example {example!r} in its schema of {what} is refused by its own model: "
                f"{problem}; mend the example or the model",
            )
    for item in case.items:
        problem = _problem(operation.item, item)
        case.require(not problem, f"item {item!r} of the case is not of its model: {problem}")


def check_results(case: Case) -> None:
    """Results are JSON documents just as they are, and each item has one."""
    returned: list[Any] = []
    operation = case.operation
    seen = operation if operation.cpu_bound else _spied(operation, returned)
    spied = case.with_operation(seen)
    with spied.bench() as bench:
        spied.prepare(bench)
        job = spied.run(bench)
        views = job.items
    case.require(len(views) == len(case.items), f"{len(case.items)} items, {len(views)} results")
    for document in (result.result for result in returned if isinstance(result, Done)):
        case.require(
            _is_json(document),
            f"its result {document!r} is no JSON document and would be stored as something else; "
            "return dicts with text as keys, lists, text, finite numbers, booleans and None",
        )


def check_failures(case: Case) -> None:
    """Items that it refuses fail, with a code and words, and with a code that it declares."""
    with case.bench() as bench:
        case.prepare(bench)
        before = case.world(bench)
        views = bench.run(case.kind, case.failing, params=case.params).items
        after = case.world(bench)
    declared = case.operation.codes
    for item, view in zip(case.failing, views, strict=True):
        error = view.error
        if error is None:
            case.require(False, f"item {item!r} should fail, and is {view.status}")
            continue
        case.require(
            error.code not in UNEXPECTED,
            f"item {item!r} fails by {error.code} ({error.message}); return Failed with a code",
        )
        case.require(
            not declared or error.code in declared | OF_THE_ITEM,
            f"item {item!r} fails by {error.code}, which its codes ({', '.join(sorted(declared))}) "
            "do not have; add it, as callers may only name declared codes in their options",
        )
    case.require_same(after, before, "items that fail must leave nothing")


def check_malformed(case: Case) -> None:
    """Items that are malformed fail alone, and none by an exception of the operation."""
    wrong = malformed(case.operation.item, list(case.items), Random(case.seed))  # noqa: S311 - repeatable
    with case.bench() as bench:
        case.prepare(bench)
        views = bench.run(case.kind, wrong, params=case.params).items
        for item, view in zip(wrong, views, strict=True):
            code = view.error.code if view.error else ""
            case.require(
                code not in UNEXPECTED,
                f"the malformed item {item!r} ends in {code} "
                f"({view.error and view.error.message}); narrow the model, or validate it",
            )
    with case.bench() as bench:
        case.prepare(bench)
        refused = [item for item in wrong if _problem(case.operation.item, item)]
        sent = [*refused, *case.items]
        views = bench.run(case.kind, sent, params=case.params).items
        mixed = case.world(bench, ids=False)
    good = [view for view in views[len(refused) :] if view.status is not ItemStatus.SUCCEEDED]
    case.require(not good, f"good items among malformed ones should succeed: {good[:2]}")
    case.require_same(mixed, _quiet(case, ids=False), "malformed neighbours must change nothing")


def check_dry_run(case: Case) -> None:
    """A dry run leaves nothing, and says what then happens."""
    with case.bench() as bench:
        case.prepare(bench)
        before = case.world(bench)
        options = {"dry_run": True}
        dry = bench.run(case.kind, case.items, params=case.params, options=options)
        case.require_same(
            case.world(bench),
            before,
            "a dry run must leave nothing; name effects outside of the database in outside=[...], "
            "and have none in validate",
        )
        wrong = [view for view in dry.items if view.status is not ItemStatus.PLANNED]
        case.require(not wrong, f"a dry run of items that succeed should say so: {wrong[:2]}")


def check_chunks(case: Case) -> None:
    """How items are cut into chunks changes neither their effect nor their results."""
    _require_chunks(case)
    whole, parts = (_run(case, chunk_size=size) for size in ("auto", SMALL))
    case.require_same(
        {"results": parts[1], **parts[0]},
        {"results": whole[1], **whole[0]},
        f"in chunks of {SMALL} all should be as in one; use ctx.positions for places in the job, "
        "and keep nothing between calls",
    )


def check_order(case: Case) -> None:
    """What is declared independent is: the order of its items does not matter."""
    shuffled = list(case.items)
    Random(case.seed + 1).shuffle(shuffled)  # noqa: S311 - repeatable
    other = replace(case, items=shuffled[::-1] if shuffled == list(case.items) else shuffled)
    case.require_same(
        _quiet(other, ids=False),
        _quiet(case, ids=False),
        "in another order the same should come out; items of a job that meet in a record are "
        "not independent=True",
    )


def check_redelivery(case: Case) -> None:
    """Deaths, lost and repeated messages and other workers change nothing of what comes out."""
    _require_chunks(case)
    ids = case.operation.in_order
    with case.bench() as bench:
        case.prepare(bench)
        case.run(bench, TROUBLE, chunk_size=SMALL)
        troubled = case.world(bench, ids=ids)
        _require_deaths(case, bench)
    case.require_same(
        troubled,
        _quiet(case, ids=ids, chunk_size=SMALL),
        "worked again after a worker's death, an item must not show twice; keep nothing between "
        "calls, send ctx.idempotency_key along with effects outside, and give the case no two "
        "items of a record of which the later one wins, as one whose worker dies comes later",
    )


def check_undo(case: Case) -> None:
    """Undo puts everything back; where an undo has an undo, that restores what was done."""
    _check_undo(case, Faults(), "after an undo all should be as before")


def check_undo_redelivery(case: Case) -> None:
    """So it does when workers die over it and messages come twice or never."""
    _require_chunks(case)
    _check_undo(
        case,
        TROUBLED_UNDO,
        "after an undo in which workers died all should be as before; what takes back must bear "
        "being called again with the same ctx.idempotency_key",
    )


def check_cancellation(case: Case) -> None:
    """A job that is cancelled halfway ends, and what it has done until then can be undone."""
    _require_chunks(case)
    with case.bench() as bench:
        case.prepare(bench)
        before = case.world(bench, versions=False)
        options = {"chunk_size": SMALL, "concurrency": 1}
        job = bench.start(case.kind, case.items, params=case.params, options=options)
        while not job.counts.succeeded and bench.wait_for(bench.stages.step()):
            pass
        # What is slow is worked beside the stages, and may have only begun.
        case.require(
            job.counts.succeeded > 0 or job.status == "running",
            f"a job of items of which none has succeeded {told(job)}",
        )
        job.cancel().settle()
        case.require(job.status == "cancelled", f"once cancelled it is {job.status}")
        if case.operation.reversible is not Reversible.NO and job.counts.succeeded:
            job.undo()
            case.require_same(
                case.world(bench, versions=False),
                before,
                f"{job.counts.rolled_back} items of a cancelled job are undone, and all should be "
                "as before; what takes back must not count on the rest of the job",
            )


def check_stopping(case: Case) -> None:
    """A worker that is to stop is not held up by a call, and another one ends the job."""
    begun, operation = asyncio.Event(), case.operation

    async def noticed(context: Any, item: Any) -> Any:
        begun.set()
        return await operation.apply(context, item)

    watched = case.with_operation(replace(operation, apply=noticed))
    with watched.bench() as bench:
        watched.prepare(bench)
        job = bench.start(case.kind, case.items, params=case.params)
        while bench.wait_for(bench.stages.step()) and not bench.stages.is_calling:
            pass
        bench.wait_for(asyncio.wait_for(begun.wait(), operation.timeout))
        stopped = bench.wait_for(bench.stages.drain(case.patience))
        case.require(
            stopped,
            f"a worker could not stop within {case.patience:g} s; let asyncio.CancelledError pass",
        )
        job.settle()
        case.require(job.status == "completed", f"another worker left it {job.status}")


def checks_for(case: Case) -> list[Check]:
    """The checks that concern the operation of a case, in the order in which they tell most."""
    operation = case.operation
    undone = operation.reversible is not Reversible.NO
    concerned: list[tuple[Check, bool]] = [
        (check_declaration, True),
        (check_results, True),
        (check_failures, bool(case.failing)),
        (check_malformed, True),
        (check_dry_run, True),
        (check_chunks, True),
        (check_order, operation.independent),
        (check_redelivery, True),
        (check_undo, undone),
        (check_undo_redelivery, undone),
        (check_cancellation, True),
        (check_stopping, operation.slow and operation.is_async),
    ]
    return [check for check, concerns in concerned if concerns]


def _check_undo(case: Case, faults: Faults, what: str) -> None:
    with case.bench() as bench:
        case.prepare(bench)
        before = case.world(bench, versions=False)
        job = case.run(bench, chunk_size=SMALL)
        done = case.world(bench, versions=False)
        job.undo(faults)
        case.require_same(case.world(bench, versions=False), before, what)
        case.require(
            job.status == "rolled_back",
            f"{what}, and the job rolled_back; it is {job.status}: {_left(job.items)[:2]}",
        )
        if faults.crashes:
            _require_deaths(case, bench)
        if case.operation.reversible is Reversible.BEFORE_IMAGE and not case.operation.compensate:
            job.undo(faults)
            case.require_same(
                case.world(bench, versions=False), done, "the undo of an undo restores"
            )


def _require_chunks(case: Case) -> None:
    """What is in one chunk is worked as one: nothing can come between."""
    case.require(
        len(case.items) > SMALL,
        f"a case of {len(case.items)} items is one chunk at most, which shows nothing here; "
        "give it six or so",
    )


def _require_deaths(case: Case, bench: Bench) -> None:
    case.require(
        bench.stages.deaths > 0,
        "no worker has died over it, which shows nothing; give the case more items",
    )


def _left(views: list[ItemView]) -> list[ItemView]:
    return [view for view in views if view.status is not ItemStatus.ROLLED_BACK]


def _quiet(case: Case, *, ids: bool, **options: Any) -> dict[str, Any]:
    """The world after the case's job when nothing goes wrong."""
    with case.bench() as bench:
        case.prepare(bench)
        case.run(bench, **options)
        return case.world(bench, ids=ids)


def _run(case: Case, **options: Any) -> tuple[dict[str, Any], list[Any]]:
    ids = case.operation.in_order
    with case.bench() as bench:
        case.prepare(bench)
        job = case.run(bench, **options)
        return case.world(bench, ids=ids), [(view.result, view.score) for view in job.items]


def _spied(operation: Operation, returned: list[Any]) -> Operation:
    """The same operation; what it returns is noted as it is, before it is stored."""

    def note(found: Any) -> Any:
        returned.extend(found if isinstance(found, list | tuple) else [found])
        return found

    if operation.is_async:

        async def wait(context: Any, item: Any) -> Any:
            return note(await operation.apply(context, item))

        return replace(operation, apply=wait)
    return replace(operation, apply=lambda context, item: note(operation.apply(context, item)))


def _is_json(document: Any) -> bool:
    if isinstance(document, dict):
        return all(isinstance(key, str) and _is_json(value) for key, value in document.items())
    if isinstance(document, list | tuple):
        return all(map(_is_json, document))
    try:
        json.dumps(document, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _problem(model: type[BaseModel], document: Any) -> str:
    try:
        model.model_validate_json(json.dumps(document))
    except ValidationError as error:
        return str(error.errors(include_url=False)[0]["msg"])
    return ""
