"""What was asked is what is done: events of some commands, compared with what their callers said.

What a caller names to be put back, or worked again, is that and nothing else.
"""

from __future__ import annotations

from domain.commands import Edit, EditItems, RetryJob, UndoJob
from domain.events import JobEvent, RetryStarted, UndoStarted
from tests.model.parting import named
from tests.model.tables import TIMEOUT, Store, is_like, wrong


class Asked:
    """Hears the events of all jobs one by one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bodies: dict[str, dict[int, str]] = {}

    def hear(self, job_id: str, event: JobEvent) -> None:
        """One more event, in the order of the commits."""
        command = self._store.asked.get(event.command_id)
        if isinstance(event, UndoStarted) and isinstance(command, UndoJob):
            _check_parts(event, command)
        elif isinstance(event, RetryStarted) and isinstance(command, RetryJob):
            self._check_again(job_id, event, command)
        edits: tuple[Edit, ...] = ()
        if isinstance(command, EditItems):
            edits = command.edits
        elif isinstance(command, RetryJob) and isinstance(event, RetryStarted):
            edits = command.select.edits
        self._bodies.setdefault(job_id, {}).update({e.item: str(e.body) for e in edits})

    def _check_again(self, job_id: str, event: RetryStarted, command: RetryJob) -> None:
        if not command.select.by_error:
            return
        tables, bodies = self._store.jobs[job_id], self._bodies.get(job_id, {})
        for position in event.items:
            nature = bodies.get(position) or tables.natures[position % len(tables.natures)]
            codes = {wrong(nature)[0]} | ({TIMEOUT[0]} if nature == "l" else set())
            alike = [is_like(command.select, code, position) for code in codes]
            assert any(alike), f"item {position} is worked again, which failed in another way"


def _check_parts(event: UndoStarted, command: UndoJob) -> None:
    select = command.select
    if select.whole or event.steps:
        return
    found = [part.target for part in event.parts]
    if not select.chunks:
        found = [position for part in event.parts for position in part.items]
    assert sorted(found) == sorted(set(named(select))), "another part is put back than was named"
