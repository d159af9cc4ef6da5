"""Registry: which operations there are. Explicit; a kind that is taken is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from domain.calling import require_name
from domain.errors import PluginInvalid, UnknownOperation
from domain.operation import Operation, check
from domain.records import RecordTable
from domain.steps import BATCH


class Registry:
    """Operations by kind. Registration is all or nothing."""

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self._operations: dict[str, Operation] = {}
        self._former: dict[str, Operation] = {}
        self.register(operations)

    def register(self, operations: Iterable[Operation]) -> None:
        """Add operations; raises PluginInvalid, and adds none, when one cannot be added."""
        fresh: dict[str, Operation] = {}
        former: dict[str, Operation] = {}
        for operation in operations:
            check(operation)
            require_name(operation)
            if operation.kind == BATCH:
                raise PluginInvalid(f"{BATCH} is what batches are called; use another name")
            for kind in (operation.kind, *operation.formerly):
                if kind in self or kind in fresh or kind in former:
                    raise PluginInvalid(f"operation {kind!r} is registered already")
            fresh[operation.kind] = operation
            former |= dict.fromkeys(operation.formerly, operation)
        self._operations |= fresh
        self._former |= former

    def get(self, kind: str) -> Operation:
        """The operation; raises UnknownOperation that names those there are."""
        operation = self._operations.get(kind) or self._former.get(kind)
        if operation is None:
            known = ", ".join(sorted(self._operations)) or "none"
            raise UnknownOperation(
                f"there is no operation {kind!r}; registered: {known}", pointer="/operation"
            )
        return operation

    def __contains__(self, kind: str) -> bool:
        """Whether an operation of that kind, or formerly of it, is registered."""
        return kind in self._operations or kind in self._former

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._operations[kind] for kind in sorted(self._operations))

    def kinds(self, wanted: Callable[[Operation], bool] = lambda _: True) -> list[str]:
        """Under which kinds jobs of operations may be stored: present ones, and former ones."""
        known = self._operations | self._former
        return sorted(kind for kind, operation in known.items() if wanted(operation))

    @property
    def tables(self) -> dict[str, RecordTable]:
        """The tables that operations declare, by name."""
        declared = (table for kind in self for table in kind.tables)
        return {table.name: table for table in declared}

    def names_of(self, kind: str) -> tuple[str, ...]:
        """What an operation is called, then what it was; of one not installed, what it says."""
        if kind not in self:
            return (kind,)
        operation = self.get(kind)
        return operation.kind, *operation.formerly

    def system_of(self, kind: str) -> str:
        """The system that works an operation by now; of one that is not installed, what it says."""
        return self.get(kind).system if kind in self else kind.split(".", 1)[0]

    @property
    def systems(self) -> list[str]:
        """The systems of all operations; each has a work topic."""
        return sorted({operation.system for operation in self._operations.values()})
