"""Steps: what a batch does, job by job, and which of them come after which. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any

from pydantic import Field

from domain.errors import CommandRefused, InvalidCommand
from domain.options import MAX_TAKEN, Ending, FieldName, JobOptions, Priority, Timeout
from domain.values import Unless, Value

BATCH = "batch.steps"
"""What a job with steps says that it does; no plug-in has it."""
MAX_STEPS = 100

StepName = Annotated[str, Field(pattern=r"^[0-9A-Za-z_.-]{1,64}$")]


def child_id(batch: str, number: int) -> str:
    """The id of the job that does a step."""
    return f"{batch}-{number + 1}"


class Needs(Value):
    """A step that must have ended before another one starts; see :class:`~domain.options.After`."""

    step: StepName
    end: Ending = Ending.SUCCEEDED
    consume: Annotated[dict[FieldName, FieldName], Field(max_length=MAX_TAKEN)] = Unless({})


class Step(Value):
    """One job of a batch; ``after`` are steps that must have ended, by name that must succeed.

    A ``savepoint`` is a name for the moment at which the step has ended: the batch can be
    rolled back to it.
    """

    name: StepName
    operation: Annotated[str, Field(min_length=1, max_length=200)]
    params: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it
    options: JobOptions = JobOptions()
    after: Annotated[tuple[StepName | Needs, ...], Field(max_length=MAX_STEPS)] = ()
    priority: Priority | None = None
    timeout: Timeout | None = Unless(None)
    savepoint: StepName | None = None

    @property
    def needs(self) -> tuple[Needs, ...]:
        """The steps before it, each in full."""
        return tuple(Needs(step=each) if isinstance(each, str) else each for each in self.after)


@contextlib.contextmanager
def at_step(number: int) -> Iterator[None]:
    """Have a refusal point at the step that it is about."""
    try:
        yield
    except CommandRefused as refusal:
        refusal.pointer = f"/steps/{number}{refusal.pointer}"
        raise


def check_steps(steps: Sequence[Step]) -> None:
    """Raise InvalidCommand for steps that cannot be put in order, and name those at fault."""
    _check_names(steps)
    names = {step.name for step in steps}
    for number, step in enumerate(steps):
        if step.timeout is not None and step.options.timeout is not None:
            raise InvalidCommand(
                "timeout is said twice; say it in options, or alone",
                pointer=f"/steps/{number}/timeout",
            )
        if step.options.after:
            raise InvalidCommand(
                "a step comes after other steps; name them in its after",
                pointer=f"/steps/{number}/options/after",
            )
        for place, needs in enumerate(step.needs):
            if needs.step not in names:
                known = ", ".join(sorted(names))
                raise InvalidCommand(
                    f"there is no step {needs.step!r}; the steps are {known}",
                    pointer=f"/steps/{number}/after/{place}",
                )
        with at_step(number):
            _check_after(step.needs)
    try:
        TopologicalSorter(_before(steps)).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise InvalidCommand(
            f"these steps wait for one another: {circle}; leave one of them out",
            pointer="/steps",
        ) from None


def _check_names(steps: Sequence[Step]) -> None:
    for field, said in (
        ("name", [step.name for step in steps]),
        ("savepoint", [step.savepoint for step in steps]),
    ):
        seen: set[str] = set()
        for number, name in enumerate(said):
            if name is not None and name in seen:
                raise InvalidCommand(
                    f"two steps have the {field} {name!r}; give each its own",
                    pointer=f"/steps/{number}/{field}",
                )
            seen |= {name} if name is not None else set()


def _check_after(needs: Sequence[Needs]) -> None:
    """As of jobs that come after others; here it is said of steps, by their names."""
    seen: set[str] = set()
    taken = ""
    for place, needed in enumerate(needs):
        if needed.step in seen:
            raise InvalidCommand(
                f"step {needed.step!r} is named twice; say it once", pointer=f"/after/{place}"
            )
        if needed.consume and taken:
            raise InvalidCommand(
                f"a step takes its items from one step, and this one from {taken!r} already; leave "
                "consume out of the others",
                pointer=f"/after/{place}/consume",
            )
        seen.add(needed.step)
        taken = taken or (needed.step if needed.consume else "")


def _before(steps: Sequence[Step]) -> Mapping[str, list[str]]:
    return {step.name: [needs.step for needs in step.needs] for step in steps}


def in_order(steps: Sequence[Step]) -> list[int]:
    """The numbers of the steps, each behind those that it comes after."""
    numbers = {step.name: number for number, step in enumerate(steps)}
    return [numbers[name] for name in TopologicalSorter(_before(steps)).static_order()]


def behind(steps: Sequence[Step], these: Iterable[int]) -> frozenset[int]:
    """The steps that come after some, directly or not."""
    found: set[int] = set()
    names = {steps[number].name for number in these}
    for number in in_order(steps):
        if any(needs.step in names for needs in steps[number].needs):
            found.add(number)
            names.add(steps[number].name)
    return frozenset(found)


def to_undo(steps: Sequence[Step], savepoint: str, branch: str) -> frozenset[int]:
    """The steps of an undo: behind a savepoint, those of a branch, or all of them.

    A branch is a step with all that comes after it. Raises InvalidCommand for one that the
    batch does not have.
    """
    if savepoint:
        known = {step.savepoint: number for number, step in enumerate(steps) if step.savepoint}
        return behind(steps, [_found(known, savepoint, "savepoint", "/to")])
    if branch:
        number = _found({s.name: n for n, s in enumerate(steps)}, branch, "step", "/branch")
        return behind(steps, [number]) | {number}
    return frozenset(range(len(steps)))


def _found(known: Mapping[str, int], name: str, what: str, pointer: str) -> int:
    if name not in known:
        there = ", ".join(sorted(known)) or "none"
        raise InvalidCommand(
            f"the batch has no {what} {name!r}; there are: {there}", pointer=pointer
        )
    return known[name]
