"""Secret holders: what verbs of keys and of webhooks have in common.

Each has an address under its kind's, and a secret that is told when it is made or rotated, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

import typer

from streams.cli.output import emit, say, told_otherwise

HOUR = 3600
Overlap = Annotated[
    float, typer.Option(min=0, max=720, help="Hours for which the old secret counts as well.")
]


@dataclass(frozen=True, slots=True)
class Holders:
    """All of one kind: where they are, which field has the secret, and one in words."""

    path: str
    secret: str
    line: Callable[[dict[str, Any]], str]

    def at(self, one: str, part: str = "") -> str:
        """The address of one of them, or of something of it."""
        path = f"{self.path}/{quote(one, safe='')}"
        return f"{path}/{part}" if part else path

    def create(self, url: str, wanted: Mapping[str, Any], *, as_json: bool) -> None:
        """Make one, and tell its secret."""
        self._tell(asked(url, "POST", self.path, wanted), as_json=as_json)

    def rotate(self, url: str, one: str, overlap: float, *, as_json: bool) -> None:
        """Give one another secret, and tell it; the old one goes on for so many hours."""
        body = {"overlap": overlap * HOUR}
        self._tell(asked(url, "POST", self.at(one, "rotate"), body), as_json=as_json)

    def _tell(self, made: dict[str, Any], *, as_json: bool) -> None:
        """The secret alone on standard output, so that it can be put into a file."""
        lost = f"{self.line(made)}; its secret is lost with that: give it another one"
        with told_otherwise(lost):
            if as_json:
                emit(made)
                return
            say(f"{self.line(made)}; the secret is not shown again")
            print(made[self.secret])


def asked(url: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """What the server answers."""
    from streams.cli.session import talk

    return talk(url, lambda client: client.ask(method, path, body))
