"""Approval: which jobs wait for a second identity. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from domain.errors import InvalidCommand
from domain.operation import Operation
from domain.options import JobOptions, Start


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """Jobs of more than ``above`` items, and those that destroy; none of them when it is None."""

    above: int | None = None

    def needed(self, operation: Operation, options: JobOptions, items: int) -> str:
        """Why a job must be approved; empty when it need not. A dry run never need."""
        if self.above is None or options.dry_run:
            return ""
        if operation.destructive:
            return f"{operation.kind} is destructive"
        return f"more than {self.above} items" if items > self.above else ""

    def check_eager(self, operation: Operation, options: JobOptions, items: int) -> None:
        """Raise InvalidCommand for a draft that would run before anybody could approve it."""
        if options.start is not Start.EAGER:
            return
        why = self.needed(operation, options, items)
        if why:
            raise InvalidCommand(
                f"a draft that starts before its seal cannot be approved, and this one must be "
                f"({why}); open it without start: eager",
                pointer="/options/start",
            )

    def check_edits(
        self, operation: Operation, options: JobOptions, items: int, pointer: str
    ) -> None:
        """Raise InvalidCommand for a retry of other items than somebody has approved."""
        why = self.needed(operation, options, items)
        if why:
            raise InvalidCommand(
                f"a retry is not approved, so it cannot change items that must be ({why}); submit "
                "the corrected items as a job of their own",
                pointer=pointer,
            )
