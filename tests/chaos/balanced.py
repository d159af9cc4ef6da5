"""Balanced: a caller behind a balancer, which sends nothing to an API that is not ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tests.crash.client import AGAIN, Answer, Client, NoAnswer

PATIENCE: Final = 60.0
READY: Final = "/health/ready"


class Balanced(Client):
    """Asks one API after the other in turn, as far as they are ready.

    ``unanswered`` are requests that no API has answered, ``repeated`` those that went to another
    one because the first broke off, ``refused`` those that were to be sent again later (503).
    """

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__(urls[0], PATIENCE)
        self._servers = [Client(url, PATIENCE) for url in urls]
        self.repeated = 0
        self.refused = 0

    def once(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, of as many APIs as it takes; raises NoAnswer when it was all of them."""
        self._servers.append(self._servers.pop(0))
        for server in filter(_is_ready, tuple(self._servers)):
            try:
                answer = server.once(method, path, body, headers)
            except NoAnswer:
                self.repeated += 1
                continue
            self.refused += answer.status == AGAIN
            return answer
        self.unanswered += 1
        raise NoAnswer(f"{method} {path}: no API is ready")


def _is_ready(server: Client) -> bool:
    try:
        return server.once("GET", READY).status == 200
    except NoAnswer:
        return False
