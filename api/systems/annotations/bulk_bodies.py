"""Bulk bodies: what is sent to create, change or delete many annotations or boxes, as a job.

What clients say is the platform's own; pointers of what the engine refuses are turned back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nextafter
from typing import Annotated, Any, Final, Literal, Protocol, TypeVar

from pydantic import AwareDatetime, Field

from api.bodies import encode, malformed, parse
from api.models import checked, invalid
from api.submissions import item_blocks
from domain.commands import JobSpec
from domain.errors import SelectionUnconfirmed
from domain.options import (
    MAX_ATTEMPTS,
    MAX_CHUNK,
    Concurrency,
    JobOptions,
    OnError,
    Priority,
    RetryPolicy,
)
from domain.record_filter import And, Condition, Equals, Range, RecordSelection
from domain.systems.annotations.kinds import ANNOTATIONS, BOXES, Kind
from domain.systems.annotations.models import Id, Offsets, Score
from domain.values import Value

WORKERS: Final = 4
CHUNK: Final = 100
MAX_IDS: Final = 1_000_000
MAX_SET: Final = 50_000
"""It travels with the job, in one message."""

Actor = Annotated[str, Field(min_length=1, max_length=200)]
Ids = Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_IDS)]


class Bulk(Value):
    """What every bulk operation takes.

    ``max_workers`` is how many chunks are worked at once, over all worker processes.
    ``rollback_on_error``: with the first item that fails, all that was done is put back.
    ``retries`` is how often an item is tried again whose failure may pass. A ``dry_run`` says
    what would become of each item, and changes nothing.
    """

    project_id: Id
    rollback_on_error: bool = False
    max_workers: Concurrency = WORKERS
    chunk_size: Annotated[int, Field(ge=1, le=MAX_CHUNK)] | Literal["auto"] = CHUNK
    retries: Annotated[int, Field(ge=0, lt=MAX_ATTEMPTS)] = 0
    priority: Priority = 5
    dry_run: bool = False
    name: Annotated[str, Field(max_length=1000)] = ""


class Common(Value):
    """What both filters have: annotations or boxes of the project that meet all of this.

    They were made at ``created_after`` or later, and before ``created_before``.
    """

    label_id: Id | None = None
    confidence_min: Score | None = None
    confidence_max: Score | None = None
    created_by: Actor | None = None
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None


class Filter(Common):
    """Annotations of the project that meet all of this.

    They were made at ``created_after`` or later, and before ``created_before``.
    """

    text_id: Id | None = None


class BoxFilter(Common):
    """Boxes of the project that meet all of this.

    They were made at ``created_after`` or later, and before ``created_before``.
    """

    image_id: Id | None = None


class Creates(Bulk):
    """New annotations; without ``validate_before_create`` only what must hold is checked."""

    validate_before_create: bool = True
    offsets: Offsets = "code_points"


class Filtered(Bulk):
    """By a filter, which is frozen to the annotations that match when the job is submitted.

    ``confirm`` says that all, or none, are meant, where that is what matches.
    """

    filter: Common | None = None
    confirm: Literal["all", "none"] | None = None


class Changes(Filtered):
    """Other values: for each record its own (``updates``), or the same for all (``set``)."""

    set: Annotated[dict[str, Any], Field(min_length=1, max_length=20)] | None = None


class Deletions(Filtered):
    """The records of these ids, or those that match."""

    ids: Ids | None = None


class Updates(Changes):
    """Other values: for each annotation its own (``updates``), or the same for all (``set``)."""

    filter: Filter | None = None
    offsets: Offsets = "code_points"


class Deletes(Deletions):
    """The annotations of these ids, or those that match."""

    filter: Filter | None = None


class BoxUpdates(Changes):
    """Other values: for each box its own (``updates``), or the same for all (``set``)."""

    filter: BoxFilter | None = None


class BoxDeletes(Deletions):
    """The boxes of these ids, or those that match."""

    filter: BoxFilter | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job as the engine takes it; ``blocks`` are its items, unless it selects them."""

    project_id: int
    spec: JobSpec
    blocks: Sequence[bytes] | None


Body = TypeVar("Body", bound=Bulk)


class Understand(Protocol):
    """What makes a job of a body."""

    def __call__(self, text: bytes, depth: int) -> Wanted:
        """The job; raises RequestRefused that points to what is wrong."""
        ...


@dataclass(frozen=True)
class Bodies:
    """What is sent about one kind of records; ``params`` are those of its creation."""

    kind: Kind
    creation: type[Bulk]
    changes: type[Changes]
    deletions: type[Deletions]
    params: tuple[str, ...] = ()

    def creates(self, text: bytes, depth: int) -> Wanted:
        """The body of ``create``."""
        listed = self.kind.name
        body, items = _read(text, listed, self.creation, depth)
        if items is None:
            raise invalid(f"{listed} must be a list", f"/{listed}")
        params = {name: getattr(body, name) for name in self.params}
        spec = spec_of(body, self.kind.create.kind, **params, **_counting(body))
        return Wanted(body.project_id, spec, item_blocks(items, depth, f"/{listed}"))

    def updates(self, text: bytes, depth: int) -> Wanted:
        """The body of ``update``."""
        body, items = _read(text, "updates", self.changes, depth)
        kind = self.kind.update.kind
        if isinstance(items, list):
            if body.filter is not None or body.set is not None:
                raise invalid("updates say all by themselves; leave filter and set out", "/updates")
            blocks = item_blocks(items, depth, "/updates")
            return Wanted(body.project_id, spec_of(body, kind, **_counting(body)), blocks)
        if items is not None or body.filter is None or body.set is None:
            raise invalid("send updates as a list, or filter and set", "/updates")
        if len(encode(body.set, depth, "/set")) > MAX_SET:
            raise invalid(f"what is set for all may have {MAX_SET} bytes", "/set")
        return Wanted(body.project_id, self._selecting(body, kind, body.set), None)

    def deletes(self, text: bytes, depth: int) -> Wanted:
        """The body of ``delete``."""
        body, _ = _read(text, "", self.deletions, depth)
        kind = self.kind.delete.kind
        if (body.ids is None) == (body.filter is None):
            raise invalid("say either ids or filter", "/ids")
        if body.ids is None:
            return Wanted(body.project_id, self._selecting(body, kind, {}), None)
        items = [{"id": each} for each in body.ids]
        return Wanted(body.project_id, spec_of(body, kind), item_blocks(items, depth, "/ids"))

    def _selecting(self, body: Filtered, kind: str, each: dict[str, Any]) -> JobSpec:
        said = body.filter or Common()
        conditions = list(_conditions(body.project_id, said))
        if len(conditions) == 1 and body.confirm != "all":
            raise SelectionUnconfirmed(
                f"the filter is empty: all {self.kind.name} of the project match; narrow it, or "
                "say confirm: all when that is meant",
                pointer="/confirm",
            )
        selection = RecordSelection(
            table=self.kind.name,
            where=And(op="and", all=tuple(conditions)),
            each=each,
            confirm=body.confirm,
        )
        return spec_of(body, kind, **_counting(body)).model_copy(update={"select": selection})


OF_ANNOTATIONS: Final = Bodies(
    ANNOTATIONS, Creates, Updates, Deletes, params=("validate_before_create",)
)
OF_BOXES: Final = Bodies(BOXES, Bulk, BoxUpdates, BoxDeletes)


def turned_back(pointer: str) -> str:
    """Where in our body it is that the engine points to."""
    for theirs, ours in _POINTERS:
        if pointer.startswith(theirs):
            return ours + (pointer.removeprefix(theirs) if ours == "/set" else "")
    return ""


_POINTERS: Final = (
    ("/select/each", "/set"),
    ("/select/confirm", "/confirm"),
    ("/select", "/filter"),
    ("/options/concurrency", "/max_workers"),
    ("/options/chunk_size", "/chunk_size"),
    ("/priority", "/priority"),
    ("/name", "/name"),
)


def _read(text: bytes, listed: str, model: type[Body], depth: int) -> tuple[Body, Any]:
    """The body, and what it has under ``listed``, which may be long."""
    fields = parse(text)
    if not isinstance(fields, dict):
        raise malformed("it must be an object with project_id")
    items = fields.pop(listed) if listed in fields else None
    return checked(model, fields, depth), items


def spec_of(body: Bulk, kind: str, **params: Any) -> JobSpec:
    """The job that a body asks for, but for its items; ``params`` are those of its operation."""
    return JobSpec(
        operation=kind,
        params={"project_id": body.project_id, **params},
        options=_options(body),
        name=body.name,
        tags=(f"project-{body.project_id}",),
        priority=body.priority,
    )


def _options(body: Bulk) -> JobOptions:
    return JobOptions(
        chunk_size=body.chunk_size,
        retry=RetryPolicy(attempts=body.retries + 1) if body.retries else None,
        on_error=OnError.ROLL_BACK if body.rollback_on_error else OnError.KEEP,
        dry_run=body.dry_run,
        concurrency=body.max_workers,
    )


def _counting(body: Bulk) -> dict[str, Any]:
    """What offsets count, for a job; nothing where it is what they count anyway."""
    said = getattr(body, "offsets", "code_points")
    return {} if said == "code_points" else {"offsets": said}


def _conditions(project_id: int, said: Common) -> list[Condition]:
    found: list[Condition] = [Equals(op="equals", column="project_id", value=project_id)]
    for column in ("text_id", "image_id", "label_id", "created_by"):
        value = getattr(said, column, None)
        if value is not None:
            found.append(Equals(op="equals", column=column, value=value))
    least, most = said.confidence_min, said.confidence_max
    if least is not None or most is not None:
        # The highest value counts as well, and a range of the engine ends before its end.
        below = None if most is None else nextafter(float(most), inf)
        at_least = None if least is None else float(least)
        found.append(Range(op="range", column="confidence_score", at_least=at_least, below=below))
    after, before = said.created_after, said.created_before
    if after is not None or before is not None:
        found.append(
            Range(
                op="range",
                column="created_at",
                at_least=None if after is None else after.timestamp(),
                below=None if before is None else before.timestamp(),
            )
        )
    return found
