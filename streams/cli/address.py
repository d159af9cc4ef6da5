"""Address: where a server is, as the command line is told it, and as it says so to others."""

from __future__ import annotations

import re
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from domain.errors import InvalidCommand

BLOT = "[...]"

# To the last @, since a password may have one, or a slash, that nobody has encoded.
_CREDENTIALS = re.compile(r"^(\w+://)?.*@", re.DOTALL)


def parts_of(url: str) -> SplitResult:
    """An address of HTTP in its parts; raises InvalidCommand for one that is none."""
    with suppress(ValueError):
        parts = urlsplit(url)
        # The port is read here, and may be none.
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    raise InvalidCommand(f"{shown(url)!r} is no address; write it as http://127.0.0.1:8080")


def shown(url: str) -> str:
    """The address for words that others read: without a user and password that stand in it."""
    return _CREDENTIALS.sub(rf"\1{BLOT}@", url)
