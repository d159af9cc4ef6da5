"""Execution: run an operation on the items of one chunk.

Called by :mod:`streams.worker`. Whatever an operation does, each item gets exactly one
result; an exception is a failure of the item at fault, found by halving when the
operation works whole chunks. Faults of the database are no results: they pass through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from domain.errors import PluginInvalid, ResultInvalid, Unavailable
from domain.operation import Context, Operation
from domain.outcomes import Done, Failed, Restored, Result, UndoResult
from domain.returned import results_of, undone_of, verdict_of

Parsed = BaseModel | Failed
Infrastructure = Callable[[BaseException], bool]
"""Whether an exception is a fault of the database, for which no handler is to blame."""

NOT_JSON, INVALID = "not_json", "invalid"
OF_THE_ITEM = frozenset({NOT_JSON, INVALID})
"""Codes of items that their model does not take."""
MAX_MESSAGE = 500
MAX_ISSUES = 20
"""Faults of one item that are told of."""

THROWN: tuple[type[BaseException], ...] = (BaseException,)
"""What a handler may raise, which is a failure of its item: also what would end its task or the
whole process (SystemExit, KeyboardInterrupt, a cancellation), as nobody asked that of a handler."""


def _never(_error: BaseException) -> bool:
    """Where there is no database."""
    return False


def parse_items(operation: Operation, lines: Sequence[bytes]) -> list[Parsed]:
    """Each line as the operation's item model, or the failure that it is.

    A model may have code of the plug-in, which fails its item alone, whatever it raises.
    """
    validate = operation.item.__pydantic_validator__.validate_json
    parsed: list[Parsed] = []
    for line in lines:
        try:
            parsed.append(validate(line))
        except ValidationError as error:
            parsed.append(invalid_item(error))
        except THROWN as error:
            if isinstance(error, Unavailable):
                raise
            parsed.append(failure_of(error))
    return parsed


def invalid_item(error: ValidationError) -> Failed:
    """What is wrong with an item, by its first fault; the details list the first few of all."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    first = faults[0]
    code = NOT_JSON if first["type"] == "json_invalid" else INVALID
    others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    issues = [
        {
            "rule": "schema",
            "layer": "schema",
            "severity": "error",
            "pointer": pointer_of(fault["loc"]),
            "message": f"{fault['msg']}; correct the item",
        }
        for fault in faults[:MAX_ISSUES]
    ]
    details = {"issues": issues, "score": 0.0}
    return Failed(code, f"{first['msg']}{others}", pointer_of(first["loc"]), details=details)


def pointer_of(place: Iterable[int | str]) -> str:
    """The JSON pointer (RFC 6901) to a place in an item."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)


def work_chunk(
    operation: Operation,
    context: Context,
    parsed: Sequence[Parsed],
    infrastructure: Infrastructure = _never,
) -> list[Result]:
    """One result an item, in order. ``infrastructure`` exceptions pass through."""
    results: list[Result | None] = [item if isinstance(item, Failed) else None for item in parsed]
    _validate(operation, context, parsed, results, infrastructure)
    good = [index for index, result in enumerate(results) if result is None]
    if good:
        _apply(operation, context, parsed, results, good, infrastructure)
    return [result for result in results if result is not None]


def check_chunk(
    operation: Operation,
    context: Context,
    parsed: Sequence[Parsed],
    infrastructure: Infrastructure = _never,
) -> list[Result]:
    """As ``work_chunk``, for an operation that may not be applied: only validated."""
    results: list[Result | None] = [item if isinstance(item, Failed) else None for item in parsed]
    _validate(operation, context, parsed, results, infrastructure)
    return [Done() if result is None else result for result in results]


def failure_of(error: BaseException) -> Failed:
    """An exception as the failure of an item.

    What a handler finds invalid is not said to be its item: it may be an answer of somebody else.
    """
    if isinstance(error, PluginInvalid):
        return Failed("plugin_invalid", _short(error.message))
    if isinstance(error, TimeoutError):
        return Failed("timeout", "the operation took too long", retryable=True)
    return Failed("handler_error", words_of(error), retryable=True)


def words_of(error: BaseException) -> str:
    """What an exception says, cut short; to say it may be code of the plug-in as well."""
    kind = type(error).__name__
    try:
        said = f"{kind}: {error}"
    except THROWN as another:
        said = f"{kind}, and to say more raises {type(another).__name__}"
    return _short(said)


def _short(message: str) -> str:
    # A file name may hold what is no UTF-8, and no ledger could keep it.
    return message[:MAX_MESSAGE].encode("utf-8", "replace").decode()


def invert_items(
    operation: Operation,
    context: Context,
    items: Sequence[tuple[int, BaseModel, Any]],
    infrastructure: Infrastructure = _never,
) -> dict[int, UndoResult]:
    """Undo items by the operation's inverse, given ``(position, item, result)``, last first.

    ``infrastructure`` exceptions pass through.
    """
    if operation.inverse is None:
        raise PluginInvalid(f"{operation.kind} has no inverse")
    undone: dict[int, UndoResult] = {}
    for position, item, result in reversed(items):
        try:
            with context.store.savepoint():
                returned = operation.inverse(_at(context, [position]), item, result)
                undone[position] = undone_of(operation, returned)
        except THROWN as error:
            if _passes(error, infrastructure):
                raise
            undone[position] = failure_of(error)
    return undone


def item_document(line: bytes) -> Any:
    """An item as it was sent; the text itself when it is no JSON."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return line.decode("utf-8", "replace")


def was_restored(result: UndoResult) -> bool:
    """Whether an undo took effect."""
    return isinstance(result, Restored)


def _validate(
    operation: Operation,
    context: Context,
    parsed: Sequence[Parsed],
    results: list[Result | None],
    infrastructure: Infrastructure,
) -> None:
    if operation.validate is None:
        return
    for index, item in enumerate(parsed):
        if results[index] is None:
            try:
                returned = operation.validate(_at(context, [context.positions[index]]), item)
                results[index] = verdict_of(operation, returned)
            except THROWN as error:
                if _passes(error, infrastructure):
                    raise
                results[index] = failure_of(error)


def _apply(
    operation: Operation,
    context: Context,
    parsed: Sequence[Parsed],
    results: list[Result | None],
    indexes: Sequence[int],
    infrastructure: Infrastructure,
) -> None:
    """Apply to the items at ``indexes``; on an exception, halve until it is found."""
    size = 1 if operation.per == "item" else len(indexes)
    groups = [indexes[start : start + size] for start in range(0, len(indexes), size)][::-1]
    while groups:
        group = groups.pop()
        try:
            found = _apply_group(operation, context, parsed, group)
        except THROWN as error:
            if _passes(error, infrastructure):
                raise
            if len(group) == 1 or _is_of_all(error):
                found = [failure_of(error)] * len(group)
            else:
                middle = len(group) // 2
                groups += [group[middle:], group[:middle]]
                continue
        for index, result in zip(group, found, strict=True):
            results[index] = result


def _passes(error: BaseException, infrastructure: Infrastructure) -> bool:
    """Whether it is no failure of an item."""
    return isinstance(error, Unavailable) or infrastructure(error)


def _is_of_all(error: BaseException) -> bool:
    """Whether no item is to blame: the operation itself is wrong."""
    return isinstance(error, PluginInvalid) and not isinstance(error, ResultInvalid)


def _apply_group(
    operation: Operation, context: Context, parsed: Sequence[Parsed], group: Sequence[int]
) -> list[Result]:
    if len(group) == len(context.positions):
        at = context
    else:
        at = _at(context, [context.positions[index] for index in group])
    given: Any = [parsed[index] for index in group]
    if operation.per == "item":
        given = given[0]
    with context.store.savepoint():
        return results_of(operation, operation.apply(at, given), len(group))


def _at(context: Context, positions: Sequence[int]) -> Context:
    return replace(context, positions=positions)
