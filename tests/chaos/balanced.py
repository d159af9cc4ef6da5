"""Balanced: a caller behind a balancer, which asks another API where one gives no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tests.crash.client import AGAIN, Answer, Client, NoAnswer

PATIENCE: Final = 60.0


class Balanced(Client):
    """Asks one API after the other in turn.

    ``unanswered`` are requests that none has answered, ``refused`` those that were to be sent
    again later (503).
    """

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__(urls[0], PATIENCE)
        self.refused = 0
        self._servers = [Client(url, PATIENCE) for url in urls]

    def once(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, of as many APIs as it takes; raises NoAnswer when it was all of them."""
        self._servers.append(self._servers.pop(0))
        silence: NoAnswer | None = None
        for server in tuple(self._servers):
            try:
                answer = server.once(method, path, body, headers)
            except NoAnswer as none:
                silence = none
                continue
            self.refused += answer.status == AGAIN
            return answer
        self.unanswered += 1
        assert silence is not None
        raise silence
