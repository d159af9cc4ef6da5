"""Case: what an author says about an operation, for the checks of the contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from countermand_testing.bench import Bench, BenchJob
from countermand_testing.faults import NONE, Faults
from domain.operation import Operation

STAMPS = frozenset({"created_at", "updated_at"})
World = dict[str, Any]


class ContractBrokenError(AssertionError):
    """An operation does not keep the contract; the message says what to do."""


def nothing() -> None:
    """What there is to be seen outside of the database, and to be emptied: nothing."""


@dataclass(frozen=True)
class Given:
    """A job that has been run before the one in question."""

    kind: str
    items: Sequence[Any]
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Case:
    """An operation with items that all succeed after the jobs in ``given``, however often.

    ``operations`` are those of the plug-in, ``kind`` the one in question. ``given`` are run on
    an empty database; ids begin at 1 in each table. ``items`` have to be enough for several
    chunks: six or so, three at least. Those of a record must come to the same in any order, as
    one whose worker dies comes later, which no operation can help. ``failing`` are items that
    the model accepts and the operation refuses.

    ``observe`` returns what effects outside have left, as anything that can be compared;
    ``reset`` undoes all of them before the next bench. ``ignore`` are columns that differ from
    run to run, ``seed`` decides what chance decides, ``patience`` is how many seconds a worker
    may take to stop.
    """

    kind: str
    operations: Sequence[Operation]
    items: Sequence[Any]
    given: Sequence[Given] = ()
    failing: Sequence[Any] = ()
    params: dict[str, Any] = field(default_factory=dict)
    observe: Callable[[], Any] = nothing
    reset: Callable[[], None] = nothing
    ignore: frozenset[str] = STAMPS
    seed: int = 0
    patience: float = 3.0

    @property
    def operation(self) -> Operation:
        """The operation in question; raises ContractBrokenError when it is not among them."""
        for operation in self.operations:
            if operation.kind == self.kind:
                return operation
        raise ContractBrokenError(f"{self.kind} is not among the operations of the case")

    def bench(self) -> Bench:
        """A bench with an outside world as it was at first; see :meth:`prepare`."""
        self.reset()
        return Bench(self.operations, seed=self.seed)

    def prepare(self, bench: Bench) -> None:
        """Run the jobs that are given; raises ContractBrokenError when one fails."""
        for given in self.given:
            job = bench.run(given.kind, given.items, params=given.params)
            self.require(job.status == "completed", f"{given.kind}, which is given, {told(job)}")

    def run(self, bench: Bench, faults: Faults = NONE, **options: Any) -> BenchJob:
        """The case's job, which must succeed unless it is a dry run."""
        job = bench.run(self.kind, self.items, params=self.params, options=options, faults=faults)
        self.require(job.status == "completed", f"a job of items that should succeed {told(job)}")
        return job

    def world(self, bench: Bench, *, versions: bool = True, ids: bool = True) -> World:
        """All that can be seen: records, and what is outside.

        Without ``ids`` records are told apart by their values alone.
        """
        ignored = self.ignore if versions else self.ignore | {"version"}
        ignored = ignored if ids else ignored | {"id"}
        seen: World = {"outside": self.observe()}
        for name, records in bench.world().items():
            rows = [
                {column: value for column, value in row.items() if column not in ignored}
                for row in records.values()
            ]
            seen[name] = rows if ids else sorted(rows, key=repr)
        return seen

    def with_operation(self, changed: Operation) -> Case:
        """The same case with another declaration of its operation."""
        others = [other for other in self.operations if other.kind != self.kind]
        return replace(self, operations=[changed, *others])

    def require(self, holds: bool, otherwise: str) -> None:
        """Raise ContractBrokenError with these words unless it holds."""
        if not holds:
            raise ContractBrokenError(f"{self.kind}: {otherwise}")

    def require_same(self, found: World, expected: World, what: str) -> None:
        """Raise ContractBrokenError that names the first difference."""
        for name, there in expected.items():
            self.require(
                found[name] == there,
                f"{what}: {name} should be {_short(there)}, and is {_short(found[name])}",
            )


def told(job: BenchJob) -> str:
    """How a job has ended, with the first of what was wrong."""
    wrong = [f"item {i.position}: {i.error}" for i in job.items if i.error is not None]
    return f"ended {job.status} ({job.counts}); {'; '.join(wrong[:3])}"


def _short(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= 600 else f"{words[:600]}..."
