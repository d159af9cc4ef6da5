"""Arranging: jobs that wait for a moment, know what their items are called, or take results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.crash import whims
from tests.crash.asking import Asking
from tests.crash.client import JOBS, Answer
from tests.crash.workshop import Task

SOON, LATER = (0.5, 4.0), (600.0, 3600.0)
"""In how many seconds a job starts: within the walk, or not before somebody lifts that."""


class Arranging(Asking):
    """Asks for jobs that are worked in part, later, or with what others have made."""

    def _schedule(self) -> None:
        """A job that starts at a moment, which may be past when it is heard at last."""
        count = self._chance.randint(1, 120)
        said = whims.options(self._chance, count, self._earlier())
        said["start_at"] = moment(self._chance.uniform(*self._chance.choice((SOON, SOON, LATER))))
        number = len(self._run.tasks)
        items = [{"mark": f"whim-{number}-{n}"} for n in range(count)]
        while True:
            answer = self._asked({"operation": "crash.create", "items": items, "options": said})
            if answer.status == 202:
                break
            # It took so long to be heard that its moment is past.
            assert answer.document["pointer"] == "/options/start_at", answer
            assert datetime.fromisoformat(said["start_at"]) <= datetime.now(UTC), answer
            said["start_at"] = moment(LATER[0])
        self._run.adopt(answer.document["job_id"], items)
        self._tally.actions["with start_at"] += 1

    def _name(self) -> None:
        """A job whose items have names, of which several may be the same; at once, or in parts."""
        number, count = len(self._run.tasks), self._chance.randint(1, 80)
        names = [self._chance.randint(1, 60) for _ in range(count)]
        items = [
            {"mark": f"named-{number}-{n}-{name}", "name": str(name)}
            for n, name in enumerate(names)
        ]
        said = whims.options(self._chance, count, self._earlier())
        said |= {"key": "/name", "duplicates": self._chance.choice(("first", "last", "refuse"))}
        job_id = (self._in_parts if self._chance.random() < 0.4 else self._whole)(items, said)
        doubled = len(set(names)) < count
        refused = said["duplicates"] == "refuse" and doubled
        assert (job_id == "") is refused, (job_id, said, names)
        self._tally.actions[f"with duplicates {said['duplicates']}"] += 1
        self._tally.actions["duplicates refused"] += refused
        if job_id:
            self._run.adopt(job_id, items)

    def _whole(self, items: list[dict[str, Any]], said: Mapping[str, Any]) -> str:
        answer = self._asked({"operation": "crash.create", "items": items, "options": said})
        return self._job_of(answer)

    def _in_parts(self, items: list[dict[str, Any]], said: Mapping[str, Any]) -> str:
        """Which are called the same is found at the seal; who is refused gives the draft up."""
        body = {"operation": "crash.create", "draft": True, "options": said}
        answer = self._asked(body)
        assert answer.status == 202, answer
        draft = answer.document["job_id"]
        for part, first in enumerate(range(0, len(items), 25)):
            path = f"{JOBS}/{draft}/items?part={part}"
            self._run.client.ask("POST", path, items[first : first + 25], status=202)
        sealed = self._job_of(self._asked({"items": len(items)}, f"{JOBS}/{draft}/seal"))
        if not sealed:
            self._run.client.command(draft, "cancel", f"{draft}-given-up")
            self._run.adopt(draft, items)
        return sealed

    def _take(self) -> None:
        """A job of what an earlier one has made, whatever becomes of that meanwhile."""
        sources = [task for task in self._run.tasks if task.is_source]
        if not sources:
            self._name()
            return
        number, source = len(self._run.tasks), self._chance.choice(sources[-4:])
        said = whims.options(self._chance, 30, ())
        end = self._chance.choice(whims.ENDS)
        said["after"] = [{"job_id": source.job_id, "end": end, "consume": {"id": "id"}}]
        params = {"name": f"taken-{number}"}
        answer = self._asked({"operation": "crash.follow", "params": params, "options": said})
        assert answer.status == 202, answer
        job_id = answer.document["job_id"]
        self._run.tasks.append(Task(job_id, [], source=source.job_id, name=params["name"]))
        self._tally.actions["with consume"] += 1

    def _asked(self, body: Mapping[str, Any], path: str = JOBS) -> Answer:
        self._commands += 1
        key = f"arranged-{self._commands}"
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        content = json.dumps(body).encode()
        client = self._run.client
        return client.patiently(lambda: client.once("POST", path, content, headers))

    def _job_of(self, answer: Answer) -> str:
        """The job, or an empty name when its items are called the same."""
        if answer.status == 202:
            return str(answer.document["job_id"])
        assert (answer.status, answer.code) == (422, "invalid"), answer
        return ""


def moment(seconds: float) -> str:
    """So many seconds from now, as callers say it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
