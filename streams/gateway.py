"""Gateway: commands in, from the API or any process of ours.

Items are stored before the command that names them, or are few and travel in it; the
idempotency key and the job id are reserved by a unique insert; the command is sent; the
answer is what the coordinator decided. A caller that repeats itself with the same key gets
the same job.

Nothing that is written here need last by itself: nobody is told of it before the decision
is stored, which makes all that came before it last as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection

from domain.caps import adjusted
from domain.commands import (
    AdjustJob,
    Adjustment,
    AppendItems,
    BaseCommand,
    Editing,
    EditItems,
    InlineItems,
    ItemSource,
    JobSpec,
    OpenJob,
    SealJob,
    SentStep,
    SubmitBatch,
    SubmitJob,
    UploadedItems,
)
from domain.contradictions import check_editing, check_fed, check_selection, check_undo
from domain.errors import DecisionPending, IdempotencyConflict, InvalidCommand
from domain.options import NO_CAPS
from domain.ports import Clock, Ids
from domain.registry import Registry
from domain.steps import check_steps
from streams import topics
from streams.admission import Admission
from streams.awaiting import Waiting
from streams.callers import Caller
from streams.envelope import Outgoing, encode, hint
from streams.failpoints import Failpoint, Failpoints
from streams.marks import body_hash, command_hash, mark, submission
from streams.quotas import UNBOUNDED, QuotaTable
from streams.receiving import Receiver, store_unless_decided
from streams.saying import NOTHING_MORE, STEERING, More, Verb
from streams.selecting import frozen_lines, prepared
from streams.specs import check_spec
from streams.stores import keys, payloads
from streams.stores.database import Database
from streams.stores.decisions import Decision, find_decision, reserve
from streams.uploading import Rest, begun, continued, store_rest

Send = Callable[[Outgoing], Awaitable[None]]
_NOTHING: Rest = (None, [])

DECISION_SECONDS = 5.0
POLL_SECONDS = 0.25
INLINE_BYTES = 32_000
"""Items of fewer bytes travel in the command: storing them first would be one more commit."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The job that is wanted for a key, where there is one, with the digest of what is sent."""

    tenant: str
    key: str | None
    body: str
    job_id: str


class Gateway:
    """Sends commands and waits for their decisions.

    Every method raises CommandRefused when the command is refused, and DecisionPending
    when there is no decision within five seconds; repeating it is then safe.
    """

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        clock: Clock,
        ids: Ids,
        send: Send,
        decided: Waiting,
        failpoints: Failpoints,
        quotas: QuotaTable = UNBOUNDED,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._ids = ids
        self._send = send
        self._decided = decided
        self._failpoints = failpoints
        self._admission = Admission(database, registry, clock, quotas)
        self._receiver = Receiver(database, self._admission, clock, ids)

    async def submit(
        self,
        caller: Caller,
        spec: JobSpec,
        lines: AsyncIterator[bytes],
        *,
        key: str | None,
        job_id: str | None = None,
    ) -> Decision:
        """A job with all its items: NDJSON in blocks of any size, cut anywhere.

        It has the id ``job_id``, where one is given, unless its key has a job already.
        """
        await self._admission.begin(caller, [spec.operation], key)
        check_spec(self._registry, spec)
        check_fed(spec.options)
        wanted = job_id or self._ids.new()
        job_id, source = await self._received(caller, spec, lines, key, wanted)
        command = SubmitJob(
            command_id=submission(job_id),
            job_id=job_id,
            tenant=caller.tenant,
            actor=caller.actor,
            spec=spec,
            source=source,
        )
        if job_id == wanted:
            return await self._decide(command)
        return await self._decide_again(command)

    async def submit_selected(self, caller: Caller, spec: JobSpec, *, key: str | None) -> Decision:
        """A job on the records that its filter matches now; said again, it is the same job."""
        await self._admission.begin(caller, [spec.operation], key)
        check_spec(self._registry, spec)
        if spec.select is None:
            raise InvalidCommand("say which records by select", pointer="/select")
        _check_size(spec)
        operation = self._registry.get(spec.operation)
        frozen = prepared(operation, spec.select, caller.tenant)
        body = body_hash(spec, "")
        job_id = await self._reserved(_Wanted(caller.tenant, key, body, self._ids.new()))
        command_id = submission(job_id)
        known = await self._database.read(lambda c: find_decision(c, command_id))
        if known is not None:
            return known.accepted()
        lines = frozen_lines(self._database, frozen, spec.select)
        source, rest = await self._receiver.receive(
            caller, lines, spec.options.key, may_be_empty=True
        )
        await self._database.write(lambda c: store_rest(c, *rest), lasting=False)
        return await self._decide(
            SubmitJob(
                command_id=command_id,
                job_id=job_id,
                tenant=caller.tenant,
                actor=caller.actor,
                spec=spec,
                source=source,
            )
        )

    async def _received(
        self,
        caller: Caller,
        spec: JobSpec,
        lines: AsyncIterator[bytes],
        key: str | None,
        wanted: str,
    ) -> tuple[str, ItemSource]:
        """The id of a job and where its items are: stored, or in the command when they are few.

        A key is reserved in any case, and then the items are stored with it.
        """
        if key is None:
            first, ended = await begun(lines, INLINE_BYTES)
            items = payloads.unchanged_items(first) if ended else None
            if items:
                allowed = await self._admission.allowance(caller.tenant)
                allowed.check(len(items), len(first))
                return wanted, InlineItems(items=tuple(items))
            lines = continued(first, lines)
        again = await self._admission.has_sent(caller.tenant, key)
        source, rest = await self._receiver.receive(caller, lines, spec.options.key, again=again)
        body = body_hash(spec, source.sha256)
        job_id = await self._reserved(_Wanted(caller.tenant, key, body, wanted), rest)
        self._failpoints.reach(Failpoint.RESERVED)
        return job_id, source

    async def open(self, caller: Caller, spec: JobSpec, *, key: str | None) -> Decision:
        """A draft whose items follow in parts."""
        await self._admission.begin(caller, [spec.operation], key)
        check_spec(self._registry, spec)
        body = body_hash(spec, "")
        job_id = await self._reserved(_Wanted(caller.tenant, key, body, self._ids.new()))
        return await self._decide(
            OpenJob(
                command_id=f"{job_id}.open",
                job_id=job_id,
                tenant=caller.tenant,
                actor=caller.actor,
                spec=spec,
            )
        )

    async def append(
        self, caller: Caller, job_id: str, part: int, lines: AsyncIterator[bytes]
    ) -> Decision:
        """One more part of a draft's items; a part that is sent again counts once."""
        await self._admission.check_job(caller, job_id)
        pointer = await self._database.read(
            lambda connection: keys.pointer_of(connection, caller.tenant, job_id)
        )
        again = await self._admission.has_part(caller.tenant, job_id, part)
        source, rest = await self._receiver.receive(caller, lines, pointer, again=again)
        command = AppendItems(
            command_id=f"{job_id}.part.{part}.{mark(caller, source.sha256)}",
            job_id=job_id,
            tenant=caller.tenant,
            actor=caller.actor,
            part=part,
            source=source,
        )
        store = partial(store_unless_decided, command.command_id, rest)
        await self._database.write(store, lasting=False)
        return await self._decide_again(command)

    async def submit_batch(
        self,
        caller: Caller,
        spec: JobSpec,
        lines: Sequence[AsyncIterator[bytes] | None],
        *,
        key: str | None,
    ) -> Decision:
        """A batch with the items of each of its steps; None for a step that has none."""
        kinds = [step.operation for step in spec.steps]
        await self._admission.begin(caller, kinds, key, jobs=1 + len(kinds))
        check_steps(spec.steps)
        _check_size(spec)
        sources = await self._receiver.receive_steps(caller, spec, lines, key)
        digests = ".".join("" if source is None else source.sha256 for source in sources)
        body, wanted = body_hash(spec, digests), self._ids.new()
        stored = [source for source in sources if source is not None]
        job_id = await self._reserved(_Wanted(caller.tenant, key, body, wanted), stored=stored)
        command = SubmitBatch(
            command_id=submission(job_id),
            job_id=job_id,
            tenant=caller.tenant,
            actor=caller.actor,
            name=spec.name,
            tags=spec.tags,
            priority=spec.priority,
            steps=tuple(
                SentStep(**dict(step), source=source)
                for step, source in zip(spec.steps, sources, strict=True)
            ),
        )
        if job_id == wanted:
            return await self._decide(command)
        return await self._decide_again(command)

    async def seal(
        self,
        caller: Caller,
        job_id: str,
        items: int | None,
        *,
        key: str | None = None,
        if_version: int | None = None,
    ) -> Decision:
        """No more parts; ``items``, when given, must equal what has arrived."""
        await self._admission.check_job(caller, job_id)
        said = {"items": items, "if_version": if_version}
        return await self._asked(SealJob, caller, job_id, "seal", key, said)

    async def command(
        self,
        caller: Caller,
        job_id: str,
        verb: Verb,
        reason: str,
        *,
        key: str | None = None,
        more: More = NOTHING_MORE,
    ) -> Decision:
        """Anything else that may be asked of a job; ``more`` is what the verb needs for it.

        Said again with the same ``key``, it takes effect once: an undo that is repeated
        because its answer was lost must not become the undo of the undo.
        """
        if verb == "retry":
            await self._admission.check_job(caller, job_id)
        check_selection(more.retry)
        check_undo(more.undo, force=more.force, reason=reason)
        said = {"reason": reason, **more.fields(verb)}
        return await self._asked(STEERING[verb], caller, job_id, verb, key, said)

    async def adjust(
        self,
        caller: Caller,
        job_id: str,
        wanted: Adjustment,
        *,
        key: str | None = None,
        if_version: int | None = None,
    ) -> Decision:
        """Other caps, another priority, from now on."""
        adjusted(NO_CAPS, wanted)
        said = {**wanted.model_dump(), "if_version": if_version}
        return await self._asked(AdjustJob, caller, job_id, "adjust", key, said)

    async def edit(
        self,
        caller: Caller,
        job_id: str,
        wanted: Editing,
        *,
        key: str | None = None,
        if_version: int | None = None,
    ) -> Decision:
        """Other bodies for items of a draft, and items out of it."""
        await self._admission.check_job(caller, job_id)
        check_editing(wanted)
        said = {**wanted.model_dump(), "if_version": if_version}
        return await self._asked(EditItems, caller, job_id, "edit", key, said)

    async def _asked(
        self,
        command: Callable[..., BaseCommand],
        caller: Caller,
        job_id: str,
        verb: str,
        key: str | None,
        said: Mapping[str, Any],
    ) -> Decision:
        """What is asked of a job that is there; said again with its key, it is the same command.

        Raises IdempotencyConflict when something else was asked with that key.
        """
        asked = command(
            command_id=self._command_id(caller, job_id, verb, key),
            job_id=job_id,
            tenant=caller.tenant,
            actor=caller.actor,
            **said,
        )
        _sendable(asked)
        if key is not None:
            await self._database.write(partial(self._keep, asked, key), lasting=False)
        return await self._decide(asked)

    # -- items ------------------------------------------------------------------------

    async def _reserved(
        self, wanted: _Wanted, rest: Rest = _NOTHING, stored: Sequence[UploadedItems] = ()
    ) -> str:
        """The job of the key: the one that is wanted, or the one that has it already.

        Of what is refused, since it is another body than the key's, nothing stays.
        """
        work = partial(self._reserve, wanted, rest, stored)
        try:
            return await self._database.write(work, lasting=False)
        except IdempotencyConflict:
            await self._receiver.remove(stored, rest)
            raise

    def _reserve(
        self, wanted: _Wanted, rest: Rest, stored: Sequence[UploadedItems], connection: Connection
    ) -> str:
        reserved = wanted.job_id
        if wanted.key is not None:
            reserved = reserve(
                connection,
                tenant=wanted.tenant,
                key=wanted.key,
                body_hash=wanted.body,
                job_id=wanted.job_id,
                now=self._clock.now().timestamp(),
            )
        if reserved == wanted.job_id:
            store_rest(connection, *rest)
        else:
            store_unless_decided(submission(reserved), rest, connection, stored)
        self._failpoints.reach(Failpoint.PAYLOAD_STORED)
        return reserved

    def _keep(self, asked: BaseCommand, key: str, connection: Connection) -> None:
        """Keep what a key has asked for: it counts for its verb of its job."""
        reserve(
            connection,
            tenant=asked.tenant,
            key=key,
            body_hash=command_hash(asked),
            job_id=asked.job_id,
            now=self._clock.now().timestamp(),
            kept_as=asked.command_id,
        )

    # -- decisions --------------------------------------------------------------------

    def _command_id(self, caller: Caller, job_id: str, verb: str, key: str | None) -> str:
        """The same for the same key, so that the decision is found instead of taken again."""
        if key is None:
            return self._ids.new()
        return f"{job_id}.{verb}.{mark(caller, key)}"

    async def _decide_again(self, command: SubmitJob | SubmitBatch | AppendItems) -> Decision:
        """As ``_decide``, where the same command may have come before, with items of its own.

        Those that were not taken then never are: the command was decided.
        """
        decision = await self._decide(command)
        await self._receiver.remove_free(command)
        return decision

    async def _decide(self, command: BaseCommand) -> Decision:
        expected = self._decided.expect(command.command_id)
        try:
            await self._send(_sendable(command))
            self._failpoints.reach(Failpoint.COMMAND_SENT)
            return (await self._decision(command.command_id, expected)).accepted()
        finally:
            self._decided.forget(command.command_id)

    async def _decision(
        self, command_id: str, expected: asyncio.Future[Decision | None]
    ) -> Decision:
        """As soon as this process hears of it, or finds it stored by another."""
        end = self._clock.monotonic() + DECISION_SECONDS
        while self._clock.monotonic() < end:
            done, _ = await asyncio.wait({expected}, timeout=POLL_SECONDS)
            told = expected.result() if done else None
            if told is not None:
                return told
            stored = await self._database.read(lambda c: find_decision(c, command_id), single=True)
            if stored is not None:
                return stored
            if done:
                # Said too early, of a commit that cannot be seen here yet.
                await asyncio.sleep(POLL_SECONDS)
        raise DecisionPending(
            "the command was sent and is not decided yet; repeat it with the same "
            "Idempotency-Key, or look at the job"
        )


def _check_size(spec: JobSpec) -> None:
    """Raise InvalidCommand for a job or a batch that no message holds, whatever its items are."""
    size, most = len(encode(spec)), topics.MAX_SPEC_BYTES
    if size <= most:
        return
    if not spec.steps:
        raise InvalidCommand(
            f"the filter and what else is said of the job have {size} bytes, {most} are possible; "
            "name fewer values, or submit several jobs",
            pointer="/select",
        )
    ends = list(accumulate(len(encode(step)) for step in spec.steps))
    step = next((n for n, end in enumerate(ends) if end > most), len(ends) - 1)
    raise InvalidCommand(
        f"the batch has {size} bytes without its items, {most} are possible, and up to this step "
        f"it has {ends[step]}; submit fewer steps together, or store what is large in them "
        "elsewhere and send a reference",
        pointer=f"/steps/{step}",
    )


def _sendable(command: BaseCommand) -> Outgoing:
    """A command as it is sent; raises InvalidCommand for more than a message holds."""
    message = hint(command, topics.COMMANDS)
    if len(message.value) > topics.MAX_MESSAGE_BYTES:
        raise InvalidCommand(
            f"what is asked has {len(message.value)} bytes as a message, "
            f"{topics.MAX_MESSAGE_BYTES} are possible; ask it of fewer items at once"
        )
    return message
