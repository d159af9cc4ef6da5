"""Operation: the contract between the engine and whoever writes one.

A new operation is a pydantic model for an item and a function::

    class Price(BaseModel):
        id: int
        amount: Decimal


    @operation("shop.reprice", item=Price)
    def reprice(ctx: Context, item: Price) -> Result:
        ...
        return Done({"id": item.id})

The function returns one of :class:`~domain.outcomes.Done`, ``Failed``, ``Skipped``; an
exception is a failure of that item, never of its neighbours.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from domain.callables import is_async, takes, yields
from domain.errors import PluginInvalid
from domain.options import Backoff
from domain.outcomes import Failed, UndoResult
from domain.ports import Clock
from domain.records import Parts, Records, RecordTable


class NoParams(BaseModel):
    """Parameters of an operation that has none; refuses any."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _unheard() -> None:
    """The heartbeat of a call that is not left to itself: it ends with whoever waits for it."""


class Reversible(StrEnum):
    """How a job of the operation can be undone."""

    BEFORE_IMAGE = "before_image"
    INVERSE = "inverse"
    COMPENSATION = "compensation"
    NO = "no"


MAX_KIND = 200
"""Characters of a kind: as many as commands and messages take, and fewer than a topic's name."""
SYSTEM = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
"""A system's name, which is part of a topic's on Kafka; its workers and its queue are named so."""
PROVIDER = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}"
PATIENCE = Backoff(attempts=5, delay=1.0, factor=2.0, cap=30.0)
"""How often a compensation is tried, unless its operation says otherwise."""


@dataclass(frozen=True, slots=True)
class Context:
    """What an operation may know and use while it works a chunk or an item.

    ``deadline`` is in seconds of ``clock.monotonic()``; ``positions`` are the items'
    places in the job, one an item that the function is given. ``heartbeat`` is for a function that
    takes long in a thread, which nobody can stop: it raises concurrent.futures.CancelledError once
    nobody waits for the call any more. The engine keeps the lease of a call without it.
    ``records`` is ``None`` in a slow or a ``cpu_bound`` operation, during whose calls no
    transaction is open; so is ``parts``, where what is made of the items is kept.
    ``taking_back`` is set while an effect outside of the database is compensated.
    """

    job_id: str
    tenant: str
    actor: str
    params: Any
    chunk: int
    attempt: int
    positions: Sequence[int]
    deadline: float
    clock: Clock
    records: Records | None = None
    heartbeat: Callable[[], None] = _unheard
    taking_back: bool = False
    parts: Parts | None = None

    @property
    def position(self) -> int:
        """The item's place in the job, for a function that is given one item."""
        return self.positions[0]

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at the same item; send it along with outside effects.

        A compensation has one of its own, which is the same for every attempt at it: whoever
        has seen the effect's key would else take it for the effect once more.
        """
        key = self.key_of(self.position)
        return f"{key}:undo" if self.taking_back else key

    def key_of(self, position: int) -> str:
        """The idempotency key of the effect of the item at ``position``."""
        return f"{self.job_id}:{position}"

    @property
    def store(self) -> Records:
        """The records port; raises PluginInvalid where no transaction is open, hence none is."""
        if self.records is None:
            raise PluginInvalid(
                "a slow or cpu_bound operation has no records: no transaction is open"
            )
        return self.records

    @property
    def made(self) -> Parts:
        """Where to keep what is made of the items; raises PluginInvalid where nothing is kept."""
        if self.parts is None:
            raise PluginInvalid("nothing is kept here: no chunk of a job is being worked")
        return self.parts


Apply = Callable[[Context, Any], Any | Awaitable[Any]]
Validate = Callable[[Context, Any], Failed | None]
Inverse = Callable[[Context, Any, Any], UndoResult]
Compensate = Callable[[Context, Any, Any], UndoResult | Awaitable[UndoResult]]
"""Takes back what an item has done outside of the database; is given the item and its result."""


@dataclass(frozen=True)
class Operation:
    """A registered kind of work; made by :func:`operation`.

    ``per`` tells whether ``apply`` is given one item or all items of a chunk (then it
    returns as many results). ``timeout`` is in seconds, for a chunk, or for an item of a
    slow operation; ``concurrency`` is how many items of a slow operation run at once.
    ``independent`` promises that no two items write to the same record, so that all workers
    may take chunks of a job at once; else they are worked one after the other, in the order
    in which the items were submitted.
    ``codes`` are those of its failures, as far as it says them; a job of a ``destructive`` one
    waits for approval where jobs do. A job of it can be asked for by a filter on the records of
    the table ``selectable``: then its items have an ``id``, and maybe a ``version``.
    ``outside`` names its effects outside of the database, as ``mail``; ``compensate`` takes
    those of an item back, and is tried as often as ``patience`` says. ``provider`` is whom it
    calls: operations that name the same one share its limits. One that is ``read_only`` writes no
    record: there is nothing to undo, and a dry run of it goes through all of it. ``formerly`` are
    kinds by which jobs that are stored may still call it.
    """

    kind: str
    item: type[BaseModel]
    apply: Apply
    params: type[BaseModel] = NoParams
    per: Literal["item", "chunk"] = "item"
    validate: Validate | None = None
    inverse: Inverse | None = None
    reversible: Reversible = Reversible.BEFORE_IMAGE
    slow: bool = False
    cpu_bound: bool = False
    concurrency: int = 64
    timeout: float = 60.0
    independent: bool = False
    destructive: bool = False
    tables: tuple[RecordTable, ...] = ()
    selectable: RecordTable | None = None
    codes: frozenset[str] = frozenset()
    description: str = ""
    outside: tuple[str, ...] = ()
    compensate: Compensate | None = None
    patience: Backoff = PATIENCE
    provider: str = ""
    read_only: bool = False
    formerly: tuple[str, ...] = ()

    @property
    def system(self) -> str:
        """The part of the kind before its first dot; names the work topic."""
        return self.kind.split(".", 1)[0]

    @property
    def waits(self) -> bool:
        """Whether its items are worked outside of any transaction, several at once."""
        return self.slow or self.cpu_bound

    @property
    def in_order(self) -> bool:
        """Whether the chunks of a job follow one another."""
        return not (self.independent or self.waits)

    @property
    def only_writes_records(self) -> bool:
        """Whether all that it does is records that can be put back."""
        writes = self.reversible is Reversible.BEFORE_IMAGE
        return writes and not self.waits and not self.outside

    @property
    def may_be_rehearsed(self) -> bool:
        """Whether a rollback leaves nothing of it, so that a dry run may apply it."""
        return self.read_only or self.only_writes_records

    @property
    def restores_records(self) -> bool:
        """Whether an undo puts records back by before-image."""
        return self.reversible not in (Reversible.INVERSE, Reversible.NO)

    @property
    def compensating(self) -> Operation | None:
        """Its compensation as an operation that waits; it is given an item with its result."""
        compensate = self.compensate
        if compensate is None:
            return None
        return replace(
            self,
            kind=f"{self.kind}.compensation",
            apply=_paired(compensate),
            per="item",
            validate=None,
            slow=True,
            cpu_bound=False,
        )

    def within(self, seconds: float | None) -> Operation:
        """The same, with less time for an item where a job gives it less."""
        if seconds is None or seconds >= self.timeout:
            return self
        return replace(self, timeout=seconds)

    @property
    def is_async(self) -> bool:
        """Whether ``apply`` is a coroutine function, or an object that is called as one."""
        return is_async(self.apply)


def operation(  # noqa: PLR0913 - a declaration; each has a default
    kind: str,
    *,
    item: type[BaseModel],
    params: type[BaseModel] = NoParams,
    per: Literal["item", "chunk"] = "item",
    validate: Validate | None = None,
    inverse: Inverse | None = None,
    reversible: Reversible | None = None,
    slow: bool = False,
    cpu_bound: bool = False,
    concurrency: int = 64,
    timeout: float = 60.0,
    independent: bool = False,
    destructive: bool = False,
    tables: Sequence[RecordTable] = (),
    selectable: RecordTable | None = None,
    codes: Iterable[str] = (),
    outside: Iterable[str] = (),
    compensate: Compensate | None = None,
    patience: Backoff = PATIENCE,
    provider: str = "",
    read_only: bool = False,
    formerly: Iterable[str] = (),
) -> Callable[[Apply], Operation]:
    """Declare an operation; the decorated name becomes an :class:`Operation`.

    Without ``reversible``: by ``inverse`` when there is one; by ``compensate`` when there
    is one and no transaction is open during calls, else along with the before-images; what is
    slow or ``cpu_bound``, or has effects ``outside``, and has neither is not reversible, nor is
    what only reads; all others by before-image. Raises PluginInvalid when the declaration
    contradicts itself.
    """
    effects = _names(kind, "outside", outside)
    may_fail_by = frozenset(_names(kind, "codes", codes))
    former = _names(kind, "formerly", formerly)
    if reversible is None:
        found = _reversible(inverse, compensate, waits=slow or cpu_bound, outside=effects)
        reversible = Reversible.NO if read_only else found

    def declare(apply: Apply) -> Operation:
        declared = Operation(
            kind=kind,
            item=item,
            apply=apply,
            params=params,
            per=per,
            validate=validate,
            inverse=inverse,
            reversible=reversible,
            slow=slow,
            cpu_bound=cpu_bound,
            concurrency=concurrency,
            timeout=timeout,
            independent=independent,
            destructive=destructive,
            tables=tuple(tables),
            selectable=selectable,
            codes=may_fail_by,
            description=inspect.getdoc(apply) or "",
            outside=effects,
            compensate=compensate,
            patience=patience,
            provider=provider,
            read_only=read_only,
            formerly=former,
        )
        check(declared)
        return declared

    return declare


def _reversible(
    inverse: Inverse | None,
    compensate: Compensate | None,
    *,
    waits: bool,
    outside: Sequence[str],
) -> Reversible:
    if inverse is not None:
        return Reversible.INVERSE
    if compensate is not None:
        return Reversible.COMPENSATION if waits else Reversible.BEFORE_IMAGE
    return Reversible.NO if waits or outside else Reversible.BEFORE_IMAGE


def _names(kind: str, field: str, given: Iterable[str]) -> tuple[str, ...]:
    """Names as they are given; a text alone would be taken letter by letter."""
    if isinstance(given, str):
        raise PluginInvalid(
            f"{kind}: {field} is one text where names are wanted; write {field}=[{given!r}]"
        )
    return tuple(given)


def _paired(compensate: Compensate) -> Apply:
    """A compensation as a function of an item with its result; a coroutine stays one."""
    if is_async(compensate):

        async def wait(context: Context, pair: Any) -> Any:
            return await compensate(context, *pair)

        return wait
    return lambda context, pair: compensate(context, *pair)


def check(declared: Operation) -> None:
    """Raise PluginInvalid, naming the field and the remedy, when a declaration is wrong."""
    _check_names(declared)
    _check_models(declared)
    _check_functions(declared)
    _check_waiting(declared)
    name = declared.kind
    if declared.reversible is Reversible.INVERSE and declared.inverse is None:
        raise PluginInvalid(f"{name}: reversible by inverse, but no inverse is given")
    _check_outside(declared)
    if declared.read_only:
        _check_read_only(declared)
    if declared.timeout <= 0 or not math.isfinite(declared.timeout) or declared.concurrency < 1:
        raise PluginInvalid(f"{name}: timeout and concurrency must be positive, and finite")


def _check_names(declared: Operation) -> None:
    name = declared.kind
    _check_kind("kind", name)
    if not re.fullmatch(SYSTEM, declared.system):
        raise PluginInvalid(
            f"kind {name!r}: {declared.system!r} is part of a topic's name on Kafka; write it with "
            "a to z, A to Z, digits and _, 100 characters at most"
        )
    _names(name, "outside", declared.outside)
    _names(name, "codes", declared.codes)
    # Not their system: one by which jobs are stored may be renamed for that very reason.
    for former in _names(name, "formerly", declared.formerly):
        _check_kind(f"{name}: formerly", former)
    if declared.provider and not re.fullmatch(PROVIDER, declared.provider):
        raise PluginInvalid(f"{name}: provider {declared.provider!r} must be a word, as openai")


def _check_kind(field: str, kind: str) -> None:
    system, dot, verb = kind.partition(".")
    if not (dot and system.isidentifier() and verb.replace(".", "_").isidentifier()):
        raise PluginInvalid(f"{field} {kind!r} must read system.verb, as in shop.reprice")
    if len(kind) > MAX_KIND:
        raise PluginInvalid(
            f"{field} {kind[:40]!r}... has {len(kind)} characters; use at most {MAX_KIND}"
        )


def _check_models(declared: Operation) -> None:
    name = declared.kind
    models: dict[str, Any] = {"item": declared.item, "params": declared.params}
    for field, model in models.items():
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise PluginInvalid(f"{name}: {field} {model!r} is no model; derive one from BaseModel")
    if declared.selectable is not None and "id" not in declared.item.model_fields:
        raise PluginInvalid(f"{name}: a record becomes an item by its id; give the item one")
    if declared.per not in ("item", "chunk"):
        raise PluginInvalid(f"{name}: per is {declared.per!r}; use 'item' or 'chunk'")


def _check_functions(declared: Operation) -> None:
    name = declared.kind
    _check_function(name, "the function", declared.apply, "ctx", "item")
    if declared.validate is not None:
        _check_function(name, "validate", declared.validate, "ctx", "item")
    if declared.inverse is not None:
        _check_function(name, "inverse", declared.inverse, "ctx", "item", "result")
    if declared.compensate is not None:
        _check_function(name, "compensate", declared.compensate, "ctx", "item", "result")
    if is_async(declared.validate):
        raise PluginInvalid(f"{name}: validate waits for nothing; make it sync")
    if is_async(declared.inverse):
        raise PluginInvalid(
            f"{name}: an inverse runs in the transaction of a chunk; make it sync, or use "
            "compensate"
        )


def _check_function(name: str, field: str, function: Any, *given: str) -> None:
    """Raise PluginInvalid for what cannot be called as it will be, or returns no result."""
    if not callable(function):
        raise PluginInvalid(f"{name}: {field} is {function!r}; give it a function")
    if yields(function):
        raise PluginInvalid(f"{name}: {field} yields, which is no result; let it return one")
    if not takes(function, len(given)):
        raise PluginInvalid(f"{name}: {field} is called as ({', '.join(given)}); let it take these")


def _check_waiting(declared: Operation) -> None:
    name = declared.kind
    if declared.waits and declared.per == "chunk":
        raise PluginInvalid(
            f"{name}: a slow or cpu_bound operation works item by item; use per='item'"
        )
    if declared.waits and declared.reversible is Reversible.BEFORE_IMAGE:
        raise PluginInvalid(
            f"{name}: a slow or cpu_bound operation writes no records; give it an inverse, or "
            "compensate, or leave reversible out"
        )
    if declared.cpu_bound:
        _check_cpu_bound(declared)
    elif declared.is_async and not declared.slow:
        raise PluginInvalid(f"{name}: an async function waits; declare it slow=True")


def _check_cpu_bound(declared: Operation) -> None:
    """Raise PluginInvalid where no other process can call it by its name."""
    if declared.is_async:
        raise PluginInvalid(
            f"{declared.kind}: an async function waits and is not cpu_bound; make it sync, or "
            "declare it slow=True alone"
        )
    if not getattr(declared.apply, "__qualname__", "").isidentifier():
        raise PluginInvalid(
            f"{declared.kind}: another process finds a cpu_bound function by its name; declare it "
            "with def at a module's top level"
        )


def _check_read_only(declared: Operation) -> None:
    """Raise PluginInvalid where it does more than read."""
    does = bool(declared.tables or declared.outside or declared.waits)
    is_taken_back = declared.inverse is not None or declared.compensate is not None
    if does or is_taken_back or declared.reversible is not Reversible.NO:
        raise PluginInvalid(
            f"{declared.kind}: what only reads writes no tables, does nothing outside, does not "
            "wait and has no undo; leave that out, or leave read_only out"
        )


def _check_outside(declared: Operation) -> None:
    name, reversible = declared.kind, declared.reversible
    if declared.compensate is None:
        if reversible is Reversible.COMPENSATION:
            raise PluginInvalid(f"{name}: reversible by compensation, but none is given")
        if declared.outside and reversible is Reversible.BEFORE_IMAGE:
            raise PluginInvalid(
                f"{name}: before-images do not take back {' and '.join(declared.outside)}; give it "
                "compensate, or leave reversible out"
            )
        return
    if not declared.outside:
        raise PluginInvalid(f"{name}: say what compensate takes back, as outside=['mail']")
    if declared.inverse is not None or not declared.restores_records:
        raise PluginInvalid(
            f"{name}: it is undone by before-images and compensate, or by an inverse; leave one out"
        )
