"""Deciding: what a command means for a job, within the coordinator's transaction.

Called by :class:`streams.coordinator.Coordinator`; raises
:class:`~domain.errors.CommandRefused`, which becomes the stored decision.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from sqlalchemy import Connection

from domain.approval import ApprovalPolicy
from domain.caps import adjusted
from domain.commands import (
    AdjustJob,
    AppendItems,
    ApproveJob,
    CancelJob,
    Command,
    EditItems,
    InlineItems,
    JobSpec,
    OpenJob,
    PauseJob,
    RejectJob,
    ResumeJob,
    RetryJob,
    SealJob,
    Selection,
    SubmitJob,
    UndoJob,
    UploadedItems,
    uploads_of,
)
from domain.contradictions import (
    check_editing,
    check_fed,
    check_meant,
    check_no_batch,
    check_undo,
)
from domain.errors import IdempotencyConflict, InvalidCommand, JobNotFound
from domain.events import JobStatus
from domain.job import Job, Stamp
from domain.options import MAX_ITEMS
from domain.outcomes import ClosedChunk, Closing
from domain.ports import Clock, Ids
from domain.ranges import Ranges
from domain.registry import Registry
from domain.retrying import Draw, Failures
from domain.schedule import check_moments, rescheduled
from streams import planned
from streams.editing import Redriver, chosen_items
from streams.following import require_known
from streams.keeping import KeepingCommand, heed_archive, keep
from streams.parting import parts_of
from streams.specs import check_frozen, check_spec, check_whole, check_work
from streams.stores import children, failures, keys, outcomes, paces, payloads
from streams.stores import chunks as chunk_store
from streams.stores.recalled import recall
from streams.undoing import require_reversible, require_undo


class EffectsInFlight(Exception):
    """Effects would be called back that may just be written, for which nobody has waited."""


class Decider:
    """Applies commands to aggregates, with what they need of the stores."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        ids: Ids,
        draw: Draw,
        approval: ApprovalPolicy,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._ids = ids
        self._draw = draw
        self._approval = approval
        self._redriver = Redriver(clock, ids)
        self._tables = planned.tables_of(registry)

    def record(self, connection: Connection, job: Job, *, alone: bool = True) -> None:
        """Take stored outcome rows into the aggregate, and what follows from them alone.

        A job with more failures than it tolerates is stopped; items that have waited long
        enough for another attempt are to be planned. Who has not waited for effects in flight
        is not ``alone``, and calls none of them back: raises EffectsInFlight.
        """
        if job.version == 0:
            return
        moving = job.status is JobStatus.RUNNING
        self._take_in(connection, job)
        self.heed_time(connection, job, alone=alone)
        heed_archive(connection, job, self._own_stamp())
        if moving and job.status.terminal:
            paces.learn(connection, job)

    def heed_time(self, connection: Connection, job: Job, *, alone: bool = True) -> None:
        """Limits, attempts, the start, the deadline and the timeout, all as of one moment.

        Raises EffectsInFlight as ``record`` does.
        """
        stamp = self._own_stamp()
        if job.limit_hit is not None or job.expires(stamp.at):
            self._revoke_open(connection, job, alone=alone)
        if job.ends_by is not None and job.ends_by <= stamp.at:
            self._revoke_open(connection, job, alone=alone)
            job.time_out(stamp)
        job.release(stamp)

    def _take_in(self, connection: Connection, job: Job) -> None:
        closed = outcomes.unrecorded(connection, job.id)
        if not closed:
            return
        if self._works_in_turn(job):
            closed = outcomes.in_turn(closed)
        job.record(self._own_stamp(), closed, self._failures(connection, job, closed))
        numbers = [chunk.chunk for chunk in closed]
        outcomes.mark_recorded(connection, job.id, numbers)
        chunk_store.close(connection, job.id, numbers)

    def _works_in_turn(self, job: Job) -> bool:
        """Whether what is open of a job is worked one chunk after another."""
        kind = job.spec.operation
        in_order = kind in self._registry and self._registry.get(kind).in_order
        return in_order or job.status is JobStatus.ROLLING_BACK

    def _failures(
        self, connection: Connection, job: Job, closed: Sequence[ClosedChunk]
    ) -> Failures:
        """Why items have failed; nobody reads a ledger for a job that does not ask."""
        if not job.minds_failures:
            return Failures()
        numbers = [chunk.chunk for chunk in closed if chunk.failed]
        return Failures(failures.faults_of(connection, job.id, numbers), self._draw)

    def _own_stamp(self) -> Stamp:
        return Stamp("engine", "", self._clock.now())

    def apply(self, connection: Connection, job: Job, command: Command) -> None:
        """Apply one command; raises CommandRefused and then has changed nothing."""
        stamp = Stamp(command.actor, command.command_id, self._clock.now())
        if isinstance(command, SubmitJob | OpenJob):
            self._begin(connection, job, command, stamp)
            return
        if job.version == 0 or job.tenant != command.tenant:
            raise JobNotFound.of(job.id)
        if isinstance(command, EditItems):
            self._edit(connection, job, command, stamp)
        elif isinstance(command, PauseJob | CancelJob):
            self._stop(connection, job, command, stamp)
        elif isinstance(command, AppendItems):
            self._append(connection, job, command, stamp)
        elif isinstance(command, KeepingCommand):
            keep(connection, job, command, stamp)
        else:
            self._go_on(connection, job, command, stamp)
            # A moment may have passed while nobody waited for it.
            self.heed_time(connection, job)

    def _go_on(self, connection: Connection, job: Job, command: Command, stamp: Stamp) -> None:
        self._registry.get(job.spec.operation)
        match command:
            case SealJob():
                job.check("seal")
                approval = self._approval_of(job.spec, job.counts.total)
                repeated = self._repeated(connection, job.id, job.spec)
                measured = paces.known(connection, job.tenant, job.spec)
                job.seal(stamp, command.items, approval, measured)
                job.skip_repeated(stamp, repeated)
            case ResumeJob():
                job.resume(stamp, command.reason)
            case RetryJob():
                job.check("retry")
                failed = failures.failed_items(connection, job.id) - job.dropped
                chosen = chosen_items(connection, job, command.select)
                wanted = job.retriable(failed, chosen)
                self._check_edits(job, command.select, len(wanted))
                edited = self._redriver.edited(connection, job, command.select, wanted)
                job.retry(stamp, failed, command.reason, chosen, edited)
            case AdjustJob():
                self._adjust(connection, job, command, stamp)
            case UndoJob():
                self._undo(connection, job, command, stamp)
            case ApproveJob():
                self._check_plan(connection, job)
                job.approve(stamp, command.reason)
                self._pause_with_batch(connection, job)
            case RejectJob():
                job.reject(stamp, command.reason)
            case _:
                raise InvalidCommand(f"{command.type} is not for the coordinator")

    def _edit(self, connection: Connection, job: Job, command: EditItems, stamp: Stamp) -> None:
        check_editing(command)
        edited, dropped = Ranges.of(edit.item for edit in command.edits), Ranges.of(command.drop)
        job.editable(edited | dropped)
        keys.forget_keys(connection, job.id, edited | dropped)
        bodies = {edit.item: orjson.dumps(edit.body) for edit in command.edits}
        if job.options.key is not None:
            keys.add_keys(connection, job.id, job.options.key, bodies)
        select = Selection(edits=command.edits)
        stored = self._redriver.edited(connection, job, select, edited)
        job.edit(stamp, stored, dropped, command.reason)

    def _undo(self, connection: Connection, job: Job, command: UndoJob, stamp: Stamp) -> None:
        check_meant(command.select)
        check_undo(command.select, force=command.force, reason=command.reason)
        check_no_batch(command.batch)
        operation = self._registry.get(job.spec.operation)
        require_reversible(operation, job, force=command.force)
        job.check_undo()
        parts = parts_of(connection, job, command.select)
        job.undo(stamp, command.reason, parts=parts, force=command.force)

    def _approval_of(self, spec: JobSpec, items: int) -> str:
        operation = self._registry.get(spec.operation)
        return self._approval.needed(operation, spec.options, items)

    def _check_edits(self, job: Job, select: Selection, items: int) -> None:
        """Who has approved a job has not seen the bodies that its items are given later."""
        if select.edits or select.patch is not None:
            operation = self._registry.get(job.spec.operation)
            pointer = "/edits" if select.edits else "/patch"
            self._approval.check_edits(operation, job.options, items, pointer)

    def _pause_with_batch(self, connection: Connection, job: Job) -> None:
        """A batch that was paused while its job could not be goes on with all of them."""
        parent = job.spec.parent
        if parent is not None and children.status_of(connection, parent) is JobStatus.PAUSED:
            job.pause(self._own_stamp(), "its batch is paused")

    def _check_plan(self, connection: Connection, job: Job) -> None:
        """Much may have changed while a job was waiting for its approval."""
        job.check("approve")
        plan = job.options.plan
        if plan is not None:
            planned.require_unchanged(connection, self._tables, job.tenant, plan.job_id)

    def _check_eager(self, spec: JobSpec, items: int) -> None:
        operation = self._registry.get(spec.operation)
        self._approval.check_eager(operation, spec.options, items)

    def _stop(
        self, connection: Connection, job: Job, command: PauseJob | CancelJob, stamp: Stamp
    ) -> None:
        pausing = isinstance(command, PauseJob)
        job.check("pause" if pausing else "cancel")
        roll_back = isinstance(command, CancelJob) and command.roll_back
        if roll_back:
            require_undo(self._registry.get(job.spec.operation))
        if isinstance(command, CancelJob) and command.graceful:
            job.wind_down(stamp, command.reason, roll_back=roll_back)
            return
        self._revoke_open(connection, job)
        if pausing:
            job.pause(stamp, command.reason)
        else:
            job.cancel(stamp, command.reason, roll_back=roll_back)

    def _adjust(self, connection: Connection, job: Job, command: AdjustJob, stamp: Stamp) -> None:
        """Change caps, priority and moments. What is in flight must keep to lower caps as well.

        It is closed as by a pause; but a slow item that has begun is not begun twice for it.
        """
        job.check("adjust")
        caps = adjusted(job.caps, command)
        schedule = rescheduled(job.schedule, command, stamp.at, begun=job.begun)
        recalled = False
        if caps.lowers(job.caps) and job.open and job.status is not JobStatus.ROLLING_BACK:
            if self._registry.get(job.spec.operation).waits:
                recall(connection, job.id, before=job.next_chunk)
            else:
                self._revoke_open(connection, job)
                recalled = True
        priority = job.priority if command.priority is None else command.priority
        job.adjust(stamp, caps, priority, command.reason, schedule=schedule, recalled=recalled)

    def _begin(
        self, connection: Connection, job: Job, command: SubmitJob | OpenJob, stamp: Stamp
    ) -> None:
        if job.version:
            if not self._is_same(connection, job, command):
                raise IdempotencyConflict.of(job.id)
            return
        check_spec(self._registry, command.spec)
        check_moments(command.spec.options.schedule, stamp.at, "/options")
        require_known(connection, command.tenant, command.spec)
        check_frozen(command)
        self.begin(connection, job, command, stamp)

    def begin(
        self, connection: Connection, job: Job, command: SubmitJob | OpenJob, stamp: Stamp
    ) -> None:
        """Begin a job whose spec was checked."""
        if isinstance(command, OpenJob):
            if command.spec.options.plan is not None:
                raise InvalidCommand(
                    "a plan has its items already; apply it instead of sending parts",
                    pointer="/options/plan",
                )
            self._check_eager(command.spec, 0)
            job.open_draft(stamp, command.tenant, command.spec)
            return
        check_fed(command.spec.options)
        source = self._uploaded(connection, command.tenant, command.source)
        _hold(connection, command, source, first_item=0)
        check_whole(command.spec, source.items, source.size)
        planned.require_applicable(
            connection, self._tables, command.tenant, command.spec, source.sha256
        )
        repeated = self._repeated(connection, job.id, command.spec, source.upload_id)
        planned.hand_over(connection, command.spec, job.id)
        job.submit(
            stamp,
            command.tenant,
            command.spec,
            items=source.items,
            size=source.size,
            sha256=source.sha256,
            approval=self._approval_of(command.spec, source.items),
            measured=paces.known(connection, command.tenant, command.spec),
        )
        job.skip_repeated(stamp, repeated)
        payloads.claim_upload(connection, source, job_id=job.id, part=0, first_item=0)

    def _repeated(
        self, connection: Connection, job_id: str, spec: JobSpec, upload_id: str | None = None
    ) -> Ranges:
        """The items of an upload, or of all that a draft has, that others stand for."""
        pointer, rule = spec.options.key, spec.options.duplicates
        if pointer is None:
            return Ranges()
        if upload_id is None:
            return keys.settle_repeats(connection, job_id, keys.of_job(job_id), pointer, rule)
        keys.ensure_keys(connection, upload_id, pointer)
        return keys.settle_repeats(connection, job_id, keys.of_upload(upload_id), pointer, rule)

    def check_step(self, spec: JobSpec) -> None:
        """Raise CommandRefused for a step that no job can do."""
        check_work(self._registry, spec)
        check_moments(spec.options.schedule, self._clock.now(), "/options")
        if spec.options.plan is not None:
            raise InvalidCommand("a step cannot apply a plan", pointer="/options/plan")

    def require_upload(self, connection: Connection, command: SubmitJob | OpenJob) -> None:
        """Raise InvalidCommand for items that are not there; hold those that are."""
        if isinstance(command, SubmitJob) and isinstance(command.source, UploadedItems):
            payloads.require_upload(
                connection,
                command.source,
                tenant=command.tenant,
                job_id=command.job_id,
                first_item=0,
            )

    def only_reads(self, kind: str) -> bool:
        """Whether an operation changes nothing that an undo could put back."""
        return kind in self._registry and self._registry.get(kind).read_only

    def require_undo(self, kind: str) -> None:
        """Raise NotReversible for an operation whose effects stay."""
        require_undo(self._registry.get(kind))

    def check_reversible(self, job: Job, *, force: bool) -> None:
        """Raise CommandRefused for a job that cannot be undone."""
        require_reversible(self._registry.get(job.spec.operation), job, force=force)
        job.check_undo()

    def _is_same(self, connection: Connection, job: Job, command: SubmitJob | OpenJob) -> bool:
        """Whether a job that is there is the one that the command asks for."""
        if (job.tenant, job.spec) != (command.tenant, command.spec):
            return False
        if isinstance(command, OpenJob):
            return payloads.part_digest(connection, job.id, 0) is None or bool(job.parts)
        return not job.parts and payloads.part_digest(connection, job.id, 0) == _digest_of(
            command.source
        )

    def _append(self, connection: Connection, job: Job, command: AppendItems, stamp: Stamp) -> None:
        known = command.part in job.parts
        if known or "append" not in job.possible():
            # No job is to take these, and they are not to count beside those that it has.
            payloads.remove_free(connection, command.tenant, uploads_of(command))
        if known:
            _check_same(connection, job, command.part, _digest_of(command.source))
            return
        job.check("append")
        source = self._uploaded(connection, command.tenant, command.source)
        first = job.counts.total
        if first + source.items > MAX_ITEMS:
            raise InvalidCommand(
                f"a job holds at most {MAX_ITEMS} items; submit the rest as another job",
                pointer="/items",
            )
        self._check_eager(job.spec, first + source.items)
        check_whole(job.spec, first + source.items, job.size + source.size)
        # A refusal is committed, and must leave no keys of what it refuses.
        _hold(connection, command, source, first_item=first)
        if job.options.key is not None:
            keys.ensure_keys(connection, source.upload_id, job.options.key)
        job.append(
            stamp, part=command.part, items=source.items, size=source.size, sha256=source.sha256
        )
        payloads.claim_upload(
            connection, source, job_id=job.id, part=command.part, first_item=first
        )

    def _uploaded(
        self, connection: Connection, tenant: str, source: InlineItems | UploadedItems
    ) -> UploadedItems:
        """The items as an upload; those that came in the command are stored now."""
        if isinstance(source, UploadedItems):
            return source
        stored, parts = _cut(source, self._ids.new())
        payloads.store_whole(connection, stored, tenant, self._clock.now().timestamp(), parts)
        return stored

    def _revoke_open(self, connection: Connection, job: Job, *, alone: bool = True) -> None:
        """Close every open chunk, so that nothing of this epoch can take effect any more."""
        if job.open and not alone:
            raise EffectsInFlight
        chunk_store.update_control(
            connection, job.id, epoch=job.epoch + 1, version=job.version, open_=True
        )
        sequence = outcomes.sequence_at(self._clock.now())
        # What is returned goes to the head of the queue: the first of them goes there last.
        for place, number in enumerate(reversed(job.open)):
            self._call_back(connection, job, number, sequence + place)
        self._take_in(connection, job)

    def _call_back(self, connection: Connection, job: Job, number: int, sequence: int) -> None:
        """Store the outcome of an open chunk: what has a result keeps it, the rest returns."""
        done = outcomes.item_results_of(connection, job.id, number)
        folded = outcomes.folded(done)
        returned = job.open[number].items - Ranges.of(result.item for result in done)
        closed = outcomes.summary_of(
            number,
            folded,
            duration_ms=0.0,
            closing=Closing.REVOKED if returned else Closing.DONE,
            returned=returned,
        )
        attempt = chunk_store.attempt_of(connection, job.id, number)
        row = outcomes.OutcomeRow(job.id, closed, folded, attempt, sequence)
        outcomes.insert_outcomes(connection, [row])
        outcomes.drop_item_results(connection, job.id, number)


def _cut(source: InlineItems, upload_id: str) -> tuple[UploadedItems, list[payloads.Part]]:
    cutter = payloads.PartCutter()
    parts = [part for item in source.items for part in cutter.feed(orjson.dumps(item) + b"\n")]
    parts += cutter.finish()
    return cutter.upload(upload_id), parts


def _digest_of(source: InlineItems | UploadedItems) -> str:
    if isinstance(source, UploadedItems):
        return source.sha256
    named, _ = _cut(source, "unnamed")
    return named.sha256


def _hold(
    connection: Connection,
    command: SubmitJob | AppendItems,
    source: UploadedItems,
    *,
    first_item: int,
) -> None:
    """Hold the upload of a command; what came in the command itself, nobody else knows yet."""
    if source is command.source:
        payloads.require_upload(
            connection,
            source,
            tenant=command.tenant,
            job_id=command.job_id,
            first_item=first_item,
        )


def _check_same(connection: Connection, job: Job, part: int, sha256: str) -> None:
    """A part that comes again must bring the same items: others would be lost unsaid."""
    if payloads.part_digest(connection, job.id, part) != sha256:
        raise IdempotencyConflict(
            f"part {part} of job {job.id} has arrived before, with other items; "
            "send these under another number",
            pointer="/part",
        )
