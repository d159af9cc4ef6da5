"""Schedule: when a job may start, by when it should have ended, and whether it will. Pure.

Whether a job ends in time is judged by its own run once that tells something, and before by
what jobs of its operation have done: a figure of which nobody says where it comes from is
believed too much, so what it rests on is said beside it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from domain.commands import Adjustment, Moment
from domain.errors import InvalidCommand, WrongState
from domain.options import NO_SCHEDULE, JobOptions, OnDeadline, Schedule, Start
from domain.values import Value

MAX_AHEAD = timedelta(days=3660)
"""No job waits longer; a moment beyond that is a typing error."""
LEAST_RATE = 1e-6


class Measured(Value):
    """How fast jobs of an operation went: items a second, over so many jobs and items."""

    items_per_second: float
    jobs: int
    items: int


class Outlook(Value):
    """A job's deadline, and whether it will be met.

    ``ends_at`` and ``in_time`` are None when nothing was measured; ``rests_on`` says on what
    they rest. ``missed_at`` is when the deadline has passed with items unsettled. ``warning``
    says in words what is wrong, and is None when nothing is.
    """

    at: datetime
    then: OnDeadline
    missed_at: datetime | None = None
    ends_at: datetime | None = None
    in_time: bool | None = None
    rests_on: str | None = None
    warning: str | None = None


class Expectation(Value):
    """When a job will end, or has ended (``over``), and on what that rests."""

    ends_at: datetime
    rests_on: str
    over: bool = False


def by_measure(
    measured: Measured, *, items: int, begins: datetime, cap: float | None
) -> Expectation:
    """When so many items will have been worked that begin at a moment; ``cap`` is of the rate."""
    rate = max(measured.items_per_second, LEAST_RATE)
    rests_on = (
        f"{rate:g} items a second, measured over {measured.items} items of {measured.jobs} jobs "
        "of this operation"
    )
    if cap is not None and cap < rate:
        rate, rests_on = cap, f"the job's cap of {cap:g} items a second"
    seconds = min(items / rate, MAX_AHEAD.total_seconds())
    return Expectation(ends_at=begins + timedelta(seconds=seconds), rests_on=rests_on)


def outlook(
    schedule: Schedule, then: OnDeadline, missed_at: datetime | None, found: Expectation | None
) -> Outlook | None:
    """What a reader is told of a job's deadline; None when it has none."""
    deadline = schedule.deadline
    if deadline is None:
        return None
    told = Outlook(at=deadline, then=then, missed_at=missed_at)
    if missed_at is not None:
        return told.model_copy(update={"in_time": False, "warning": "the deadline has passed"})
    if found is None:
        return told
    late = (found.ends_at - deadline).total_seconds()
    warning = None
    if late > 0 and not found.over:
        warning = (
            f"it will end {late:.0f} s after its deadline, judged by {found.rests_on}; move the "
            "deadline, or lift caps"
        )
    return told.model_copy(
        update={
            "ends_at": found.ends_at,
            "in_time": late <= 0,
            "rests_on": found.rests_on,
            "warning": warning,
        }
    )


def check_moments(schedule: Schedule, now: datetime, place: str = "") -> None:
    """Raise InvalidCommand for a moment that is past, or lies further ahead than any job waits.

    ``place`` is where the moments stand, as a JSON pointer.
    """
    moments = {Moment.START_AT: schedule.start_at, Moment.DEADLINE: schedule.deadline}
    for name, moment in moments.items():
        if moment is None:
            continue
        if moment <= now:
            remedy = (
                "leave it out to start at once" if name is Moment.START_AT else "say a later one"
            )
            raise InvalidCommand(
                f"{name} ({moment.isoformat()}) is past; {remedy}", pointer=f"{place}/{name}"
            )
        if moment - now > MAX_AHEAD:
            raise InvalidCommand(
                f"{name} ({moment.isoformat()}) is more than {MAX_AHEAD.days} days ahead; say an "
                "earlier one",
                pointer=f"{place}/{name}",
            )
    check_order(schedule, place)


def check_order(schedule: Schedule, place: str = "") -> None:
    """Raise InvalidCommand when a job would have to end before it may start."""
    start_at, deadline = schedule.start_at, schedule.deadline
    if start_at is not None and deadline is not None and deadline <= start_at:
        raise InvalidCommand(
            "the deadline is not after start_at; move one of them", pointer=f"{place}/deadline"
        )


def check_eager(start_at: datetime | None, place: str = "") -> None:
    """Raise InvalidCommand for a draft that starts at once and is to wait for a moment."""
    if start_at is not None:
        raise InvalidCommand(
            "a draft that starts before its seal cannot wait for start_at; leave one of them out",
            pointer=f"{place}/start_at",
        )


def rescheduled(schedule: Schedule, command: Adjustment, now: datetime, *, begun: bool) -> Schedule:
    """The schedule after a command; ``begun``: the job has started, which cannot be put off."""
    if command.start_at is not None and begun:
        raise WrongState(
            "the job has started already; pause it, or leave start_at out", pointer="/start_at"
        )
    said = Schedule(start_at=command.start_at, deadline=command.deadline)
    check_moments(said, now)
    changed = {
        name.value: moment
        for name, moment in ((Moment.START_AT, said.start_at), (Moment.DEADLINE, said.deadline))
        if moment is not None or name in command.lift
    }
    after = schedule.model_copy(update=changed)
    check_order(after)
    return after if after != NO_SCHEDULE else NO_SCHEDULE


def check_schedule(options: JobOptions) -> None:
    """Raise InvalidCommand for options of time that contradict one another."""
    check_order(options.schedule, "/options")
    if options.start is Start.EAGER:
        check_eager(options.start_at, "/options")
    if options.on_deadline is OnDeadline.STOP and options.deadline is None:
        raise InvalidCommand(
            "on_deadline needs a deadline; say one, or leave it out",
            pointer="/options/on_deadline",
        )
