"""Broker address: what the setting ``broker`` may say, and what each client makes of it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from streams.broker_security import STRANGER, Access, Login, login_of, tls_of

__all__ = ["EMBEDDED", "Broker", "BrokerAddress", "parse"]

EMBEDDED: Final = "memory://"
DEFAULT_PORT: Final = 9092
_TLS: Final = {"kafka": False, "kafka+ssl": True}
"""Schemes, and whether all goes by TLS."""
_HOW: Final = (
    "write memory:// for the embedded broker, or kafka://HOST:PORT,HOST:PORT, or by TLS "
    "kafka+ssl://HOST:PORT,HOST:PORT"
)


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """The servers to ask first for all others; none for the embedded broker.

    Also what is shown to them: it opens them, and is never to be shown itself.
    """

    servers: tuple[str, ...]
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    login: Login | None = None

    @property
    def is_kafka(self) -> bool:
        """Whether the messages go through Kafka."""
        return bool(self.servers)

    @property
    def bootstrap(self) -> list[str]:
        """As Kafka's own clients take it: `HOST:PORT` each."""
        return list(self.servers)

    @property
    def security(self) -> Mapping[str, Any]:
        """As clients of aiokafka take it: how they speak, and as whom."""
        safe = "PLAINTEXT" if self.tls is None else "SSL"
        if self.login is None:
            return {"security_protocol": safe, "ssl_context": self.tls}
        return {
            "security_protocol": f"SASL_{safe}",
            "ssl_context": self.tls,
            "sasl_mechanism": self.login.mechanism,
            "sasl_plain_username": self.login.user,
            "sasl_plain_password": self.login.password,
        }

    @property
    def for_faust(self) -> str:
        """As Faust takes it: a URL each, with semicolons between them."""
        return ";".join(f"kafka://{server}" for server in self.servers) or EMBEDDED


Broker = str | BrokerAddress
"""An address as it is written, for brokers that ask nobody who comes, or one that was read."""


def parse(address: Broker, access: Access = STRANGER) -> BrokerAddress:
    """Read an address; servers may be set apart by commas or semicolons.

    Raises:
        ValueError: It is none, or ``access`` does not fit it; the message does not repeat the
            address, as it may hold a password.
    """
    if isinstance(address, BrokerAddress):
        return address
    scheme, separator, rest = address.strip().partition("://")
    if scheme == "memory" and separator:
        return BrokerAddress(())
    if scheme not in _TLS or not separator:
        raise ValueError(_HOW)
    parts = rest.replace(";", ",").split(",")
    servers = tuple(_server(part.strip().removeprefix(f"{scheme}://")) for part in parts)
    tls = tls_of(access, spoken=_TLS[scheme])
    return BrokerAddress(servers, tls, login_of(access, servers, by_tls=tls is not None))


def _server(part: str) -> str:
    try:
        url = urlsplit(f"kafka://{part}")
        port = url.port or DEFAULT_PORT
    except ValueError:
        raise ValueError(f"a port is a number from 1 to 65535; {_HOW}") from None
    if "@" in url.netloc:
        raise ValueError(
            "an address is shown, so it has no user and no password; set COUNTERMAND_BROKER_USER "
            f"and COUNTERMAND_BROKER_PASSWORD_FILE, and {_HOW}"
        )
    if not url.hostname or _says_more(url):
        raise ValueError(_HOW)
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{host}:{port}"


def _says_more(url: SplitResult) -> bool:
    return url.path not in {"", "/"} or bool(url.query or url.fragment)
