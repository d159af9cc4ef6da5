"""Client: a stubborn caller of the HTTP interface, of the standard library only.

It repeats what got no answer, with the same Idempotency-Key, as docs ask of a caller.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

JOBS = "/api/v1/jobs"
BATCHES = "/api/v1/batches"
ACTOR = "Countermand-Actor"
AT_REST = {
    "archived",
    "cancelled",
    "completed",
    "completed_with_errors",
    "failed",
    "rejected",
    "rolled_back",
    "rollback_incomplete",
}
AGAIN = 503
_JSON_TYPES = ("application/json", "application/problem+json")

Document = dict[str, Any]


class NoAnswer(Exception):
    """The connection ended before the answer was whole."""


@dataclass(frozen=True)
class Answer:
    """What came back; ``document`` is the JSON body, or None."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    document: Any = field(repr=False)

    @property
    def code(self) -> str:
        """The code of a problem; empty when it is none."""
        return str(self.document.get("code", "")) if isinstance(self.document, dict) else ""


class Client:
    """Speaks to one server; ``patience`` is how long it repeats itself, in seconds.

    ``actor`` is who it says to be, of a server that wants to know.
    """

    def __init__(self, url: str, patience: float = 60.0, actor: str = "") -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._patience = patience
        self._actor = actor
        self.unanswered = 0

    def once(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; raises NoAnswer."""
        connection = http.client.HTTPConnection(*self._address, timeout=self._patience)
        who = {ACTOR: self._actor} if self._actor else {}
        try:
            connection.request(method, path, body, {**who, **(headers or {})})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.unanswered += 1
            raise NoAnswer(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        is_json = response.headers.get_content_type() in _JSON_TYPES
        document = json.loads(content) if is_json and content else None
        return Answer(response.status, dict(response.headers.items()), content, document)

    def ask(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        key: str | None = None,
        status: int = 200,
    ) -> Any:
        """The document of a request that must succeed; repeats it until it is answered."""
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        body = None if document is None else json.dumps(document).encode()
        answer = self.patiently(lambda: self.once(method, path, body, headers))
        assert answer.status == status, f"{method} {path}: {answer.status} {answer.body!r}"
        return answer.document

    def patiently(self, request: Callable[[], Answer]) -> Answer:
        """Repeat a request that gets no answer, or 503, until patience has run out."""
        until = time.monotonic() + self._patience
        while True:
            try:
                answer = request()
                if answer.status != AGAIN or time.monotonic() > until:
                    return answer
            except NoAnswer:
                if time.monotonic() > until:
                    raise
            time.sleep(0.02)

    # -- jobs -------------------------------------------------------------------------

    def submit(self, key: str, operation: str, items: Sequence[Any], **fields: Any) -> str:
        """A job; however often it has to be sent, there is one."""
        body = {"operation": operation, "items": items, **fields}
        return str(self.ask("POST", JOBS, body, key=key, status=202)["job_id"])

    def command(self, job_id: str, verb: str, key: str) -> Document:
        """Tell a job to do something, once."""
        told: Document = self.ask("POST", f"{JOBS}/{job_id}/{verb}", {}, key=key, status=202)
        return told

    def attempt(
        self,
        job_id: str,
        verb: str,
        key: str,
        refusals: Sequence[str] = ("wrong_state",),
        document: Any = None,
        *,
        actor: str = "",
    ) -> bool:
        """Whether a job took a command, which may be refused with one of those codes.

        ``actor`` is who asks, when it is somebody else.
        """
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        headers |= {ACTOR: actor} if actor else {}
        path = f"{JOBS}/{job_id}/{verb}"
        body = None if document is None else json.dumps(document).encode()
        answer = self.patiently(lambda: self.once("POST", path, body, headers))
        assert answer.status == 202 or answer.code in refusals, answer
        return answer.status == 202

    def job(self, job_id: str) -> Document:
        """The job as it is."""
        job: Document = self.ask("GET", f"{JOBS}/{job_id}")
        return job

    def settle(self, job_id: str, seconds: float = 60.0) -> Document:
        """The job once it has come to rest."""
        until = time.monotonic() + seconds
        while True:
            job = self.job(job_id)
            if job["status"] in AT_REST:
                return job
            assert time.monotonic() < until, f"job {job_id} does not come to rest: {job}"
            time.sleep(0.01)

    def items(self, job_id: str) -> list[Document]:
        """Where each item stands."""
        path = f"{JOBS}/{job_id}/items?format=ndjson"
        answer = self.patiently(lambda: self.once("GET", path))
        assert answer.status == 200, answer
        return [json.loads(line) for line in answer.body.splitlines()]

    def events(self, job_id: str) -> list[Document]:
        """All stored events of a job."""
        found: list[Document] = []
        after: int | None = 0
        while after is not None:
            path = f"{JOBS}/{job_id}/events?after={after}&limit=1000"
            answer = self.patiently(lambda p=path: self.once("GET", p, None, _JSON))  # type: ignore[misc]
            assert answer.status == 200, answer
            found += answer.document["items"]
            after = answer.document["next_after"]
        return found


_JSON = {"Accept": "application/json"}
