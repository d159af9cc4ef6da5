"""Execution: run an operation on the items of one chunk.

Called by :mod:`streams.worker`. Whatever an operation does, each item gets exactly one
result; an exception is a failure of the item at fault, found by halving when the
operation works whole chunks. Faults of the database are no results: they pass through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from domain.errors import PluginInvalid, ResultInvalid, Unavailable
from domain.operation import Context, Operation, Validate
from domain.outcomes import Done, Failed, Restored, Result, UndoResult
from domain.pointers import pointer_of, way_in
from domain.records import Call, Leaves, Records, Traces
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


class _WithoutEffectError(Exception):
    """Ends the scope of a call that has written for items which took no effect."""


def _never(_error: BaseException) -> bool:
    """Where there is no database."""
    return False


Again = Callable[[Sequence[int]], Sequence[Parsed]]
"""Reads items anew, by their places among those that were sent."""


@dataclass(frozen=True, slots=True)
class Items:
    """Items as their model takes them, and how to read them ``again``.

    A handler may change what it is given. Whatever is worked once more, a half of a chunk or a
    whole transaction, is to begin with what was sent, and not with what was left of it.
    """

    parsed: Sequence[Parsed]
    again: Again

    def __len__(self) -> int:
        return len(self.parsed)

    def __iter__(self) -> Iterator[Parsed]:
        return iter(self.parsed)

    def chosen(self, places: Sequence[int]) -> Items:
        """Some of them."""
        return Items(
            [self.parsed[place] for place in places],
            lambda some: self.again([places[place] for place in some]),
        )

    def anew(self) -> Items:
        """All of them, as they were sent."""
        return Items(self.again(range(len(self.parsed))), self.again)


NO_ITEMS = Items((), lambda _: ())


def parse_items(operation: Operation, lines: Sequence[bytes]) -> Items:
    """Each line as the operation's item model, or the failure that it is.

    A model may have code of the plug-in, which fails its item alone, whatever it raises.
    """
    return Items(
        _parsed(operation, lines),
        lambda places: _parsed(operation, [lines[place] for place in places]),
    )


def _parsed(operation: Operation, lines: Sequence[bytes]) -> list[Parsed]:
    validate = operation.item.__pydantic_validator__.validate_json
    parsed: list[Parsed] = []
    for line in lines:
        try:
            parsed.append(validate(line))
        except ValidationError as error:
            parsed.append(invalid_item(error, _document(line)))
        except THROWN as error:
            if isinstance(error, Unavailable):
                raise
            parsed.append(failure_of(error))
    return parsed


def _document(line: bytes) -> Any:
    """An item as its model has read it, with numbers that no other reader takes."""
    try:
        return from_json(line)
    except ValueError:
        return None


def invalid_item(error: ValidationError, sent: Any = None) -> Failed:
    """What is wrong with an item, by its first fault; the details list the first few of all.

    Pointers are into what was ``sent``: without it, they name alternatives of unions as well.
    """
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    first = faults[0]
    code = NOT_JSON if first["type"] == "json_invalid" else INVALID
    others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    issues = [
        {
            "rule": "schema",
            "layer": "schema",
            "severity": "error",
            "pointer": _pointer(fault, sent),
            "message": f"{fault['msg']}; correct the item",
        }
        for fault in faults[:MAX_ISSUES]
    ]
    details = {"issues": issues, "score": 0.0}
    return Failed(code, f"{first['msg']}{others}", _pointer(first, sent), details=details)


def _pointer(fault: ErrorDetails, sent: Any) -> str:
    place = fault["loc"]
    return pointer_of(place if sent is None else way_in(sent, place, fault["type"]))


def placed(failed: Failed, position: int) -> Failed:
    """A failure whose issues say which item of the job they are about."""
    if failed.details is None:
        return failed
    issues = [{**issue, "item": position} for issue in failed.details["issues"]]
    return replace(failed, details={**failed.details, "issues": issues})


def work_chunk(
    operation: Operation,
    context: Context,
    items: Items,
    infrastructure: Infrastructure = _never,
) -> list[Result]:
    """One result an item, in order. ``infrastructure`` exceptions pass through."""
    chunk = _Chunk(operation, context, items, infrastructure)
    chunk.validate()
    chunk.apply()
    return [result for result in chunk.results if result is not None]


def check_chunk(
    operation: Operation,
    context: Context,
    items: Items,
    infrastructure: Infrastructure = _never,
) -> list[Result]:
    """As ``work_chunk``, for an operation that may not be applied: only validated."""
    chunk = _Chunk(operation, context, items, infrastructure)
    chunk.validate()
    return [Done() if result is None else result for result in chunk.results]


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
        inverse = partial(operation.inverse, _at(context, [position]), item, result)
        try:
            undone[position] = _inverted(operation, context.store, position, inverse)
        except THROWN as error:
            if _passes(error, infrastructure):
                raise
            undone[position] = failure_of(error)
    return undone


def _inverted(
    operation: Operation, store: Records, position: int, inverse: Callable[[], object]
) -> UndoResult:
    """What the inverse says of an item; what it has written for one that stays is taken back."""
    call = Call([position], Leaves.RECORDS, alone=position)
    undone: UndoResult = Restored()
    with suppress(_WithoutEffectError), store.savepoint(), store.during(call) as traces:
        undone = undone_of(operation, inverse())
        if not was_restored(undone) and traces():
            raise _WithoutEffectError
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


class _Chunk:
    """Items at work; ``results`` has one for each of which it is known what becomes of it."""

    def __init__(
        self,
        operation: Operation,
        context: Context,
        items: Items,
        infrastructure: Infrastructure,
    ) -> None:
        self._operation = operation
        self._context = context
        self._items = items
        self._infrastructure = infrastructure
        self._given = list(items)
        """What handlers are given, who may change it."""
        self.results: list[Result | None] = [
            placed(item, position) if isinstance(item, Failed) else None
            for item, position in zip(items, context.positions, strict=True)
        ]

    def validate(self) -> None:
        """Have each item validated that can be read."""
        left = self._left(range(len(self._given)))
        for index, verdict in zip(left, self._verdicts(left), strict=True):
            self.results[index] = verdict

    def apply(self) -> None:
        """Apply to what is left; on an exception, halve until it is found."""
        indexes = self._left(range(len(self._given)))
        size = 1 if self._operation.per == "item" else max(len(indexes), 1)
        groups = [indexes[start : start + size] for start in range(0, len(indexes), size)][::-1]
        while groups:
            group = groups.pop()
            try:
                found = self._apply_group(group)
            except THROWN as error:
                if _passes(error, self._infrastructure):
                    raise
                if len(group) > 1 and not _is_of_all(error):
                    again = self._anew(group)
                    middle = len(again) // 2
                    groups += [half for half in (again[middle:], again[:middle]) if half]
                    continue
                found = [failure_of(error)] * len(group)
            for index, result in zip(group, found, strict=True):
                self.results[index] = result

    def _left(self, indexes: Sequence[int]) -> list[int]:
        return [index for index in indexes if self.results[index] is None]

    def _verdicts(self, indexes: Sequence[int]) -> list[Failed | None]:
        validate, records = self._operation.validate, self._context.records
        if validate is None:
            return [None] * len(indexes)
        with nullcontext() if records is None else records.during(Call()):
            return [self._verdict(validate, index) for index in indexes]

    def _verdict(self, validate: Validate, index: int) -> Failed | None:
        try:
            at = _at(self._context, [self._context.positions[index]])
            return verdict_of(self._operation, validate(at, self._given[index]))
        except THROWN as error:
            if _passes(error, self._infrastructure):
                raise
            return failure_of(error)

    def _apply_group(self, group: Sequence[int]) -> list[Result]:
        """The results of one call; what it has written for items without effect is taken back.

        Nobody knows how to take back but some of what a call has written: several are halved.
        """
        context = self._context
        if len(group) != len(context.positions):
            context = _at(context, [context.positions[index] for index in group])
        given: Any = [self._given[index] for index in group]
        one = self._operation.per == "item"
        results: list[Result] = []
        try:
            with context.store.savepoint(), context.store.during(self._call(context)) as traces:
                returned = self._operation.apply(context, given[0] if one else given)
                results = results_of(self._operation, returned, len(group))
                _require_effect(context.positions, results, traces)
        except _WithoutEffectError:
            if len(group) > 1:
                raise
        return results

    def _call(self, context: Context) -> Call:
        leaves = Leaves.PARTS if self._operation.read_only else Leaves.RECORDS
        if self._operation.per == "item":
            return Call(context.positions, leaves, alone=context.position)
        return Call(context.positions, leaves)

    def _anew(self, group: Sequence[int]) -> list[int]:
        """Read items as they were sent, as a handler has had them; returns those that can be.

        ``validate`` may change them as well, and is called again for nothing else: what it has
        said, when no item was applied yet, still holds.
        """
        for index, item in zip(group, self._items.again(group), strict=True):
            self._given[index] = item
            if isinstance(item, Failed):
                self.results[index] = placed(item, self._context.positions[index])
        left = self._left(group)
        self._verdicts(left)
        return left


def _require_effect(positions: Sequence[int], results: Sequence[Result], traces: Traces) -> None:
    """Raise _WithoutEffectError when something was written for an item that took no effect."""
    idle = [p for p, result in zip(positions, results, strict=True) if not isinstance(result, Done)]
    if idle and not traces().isdisjoint(idle):
        raise _WithoutEffectError


def _passes(error: BaseException, infrastructure: Infrastructure) -> bool:
    """Whether it is no failure of an item."""
    return isinstance(error, Unavailable) or infrastructure(error)


def _is_of_all(error: BaseException) -> bool:
    """Whether no item is to blame: the operation itself is wrong."""
    return isinstance(error, PluginInvalid) and not isinstance(error, ResultInvalid)


def _at(context: Context, positions: Sequence[int]) -> Context:
    return replace(context, positions=positions)
