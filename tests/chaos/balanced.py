"""Balanced: a caller behind a balancer, which sends nothing to an API that is not ready."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from tests.crash.client import AGAIN, Answer, Client, NoAnswer

PATIENCE: Final = 60.0
READY: Final = "/health/ready"
PENDING: Final = "decision_pending"


class Balanced(Client):
    """Asks one API after the other in turn, as far as they are ready.

    ``unanswered`` are requests that no API has answered, ``repeated`` those that went to another
    one because the first broke off, ``refused`` those that were to be sent again later (503),
    ``pending`` those of which it was only not known yet what is decided on them (503 as well).
    """

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__(urls[0], PATIENCE)
        self._servers = [(url, Client(url, PATIENCE)) for url in urls]
        self._left_out: str | None = None
        self.repeated = 0
        self.refused = 0
        self.pending = 0

    @contextmanager
    def without(self, url: str, seconds: float) -> Iterator[None]:
        """While one of them is taken out, and what it was asked before has had so long to end."""
        self._left_out = url
        try:
            time.sleep(seconds)
            yield
        finally:
            self._left_out = None

    def once(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, of as many APIs as it takes; raises NoAnswer when it was all of them."""
        self._servers.append(self._servers.pop(0))
        asked = [server for url, server in self._servers if url != self._left_out]
        for server in filter(_is_ready, asked):
            try:
                answer = server.once(method, path, body, headers)
            except NoAnswer:
                self.repeated += 1
                continue
            taken = answer.code == PENDING
            self.pending += taken
            self.refused += answer.status == AGAIN and not taken
            return answer
        self.unanswered += 1
        raise NoAnswer(f"{method} {path}: no API is ready")


def _is_ready(server: Client) -> bool:
    try:
        return server.once("GET", READY).status == 200
    except NoAnswer:
        return False
