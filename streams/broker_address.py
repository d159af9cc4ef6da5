"""Broker address: what the setting ``broker`` may say, and what each client makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

__all__ = ["EMBEDDED", "BrokerAddress", "parse"]

EMBEDDED: Final = "memory://"
DEFAULT_PORT: Final = 9092
_HOW: Final = "write memory:// for the embedded broker, or kafka://HOST:PORT,HOST:PORT"


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """The servers to ask first for all others; none for the embedded broker."""

    servers: tuple[str, ...]

    @property
    def is_kafka(self) -> bool:
        """Whether the messages go through Kafka."""
        return bool(self.servers)

    @property
    def bootstrap(self) -> list[str]:
        """As Kafka's own clients take it: `HOST:PORT` each."""
        return list(self.servers)

    @property
    def for_faust(self) -> str:
        """As Faust takes it: a URL each, with semicolons between them."""
        return ";".join(f"kafka://{server}" for server in self.servers) or EMBEDDED


def parse(address: str) -> BrokerAddress:
    """Read an address; servers may be set apart by commas or semicolons.

    Raises:
        ValueError: It is none; the message does not repeat it, as it may hold a password.
    """
    scheme, separator, rest = address.strip().partition("://")
    if scheme == "memory" and separator:
        return BrokerAddress(())
    if scheme != "kafka" or not separator:
        raise ValueError(_HOW)
    parts = rest.replace(";", ",").split(",")
    return BrokerAddress(tuple(_server(part.strip().removeprefix("kafka://")) for part in parts))


def _server(part: str) -> str:
    try:
        url = urlsplit(f"kafka://{part}")
        port = url.port or DEFAULT_PORT
    except ValueError:
        raise ValueError(f"a port is a number from 1 to 65535; {_HOW}") from None
    if "@" in url.netloc:
        raise ValueError(f"this release sends no user and password to Kafka; {_HOW}")
    if not url.hostname or _says_more(url):
        raise ValueError(_HOW)
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{host}:{port}"


def _says_more(url: SplitResult) -> bool:
    return url.path not in {"", "/"} or bool(url.query or url.fragment)
