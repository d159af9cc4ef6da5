"""Broker security: how a client knows the broker, and the broker the client.

Whether there is TLS is said by the address, and never by a certificate that is set or not: a
setting that is left out would else be a connection that anybody reads. What does not fit together
is refused before anything is opened. Errors are ValueErrors, and repeat no password and no path.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

__all__ = ["STRANGER", "Access", "Login", "Mechanism", "login_of", "tls_of"]

Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]

_TLS_ALONE: Final = "write kafka+ssl:// in COUNTERMAND_BROKER"


@dataclass(frozen=True, slots=True)
class Login:
    """As whom a client signs in; SCRAM proves that it has the password, PLAIN shows it."""

    user: str
    password: str = field(repr=False)
    mechanism: Mechanism


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What an installation says of its broker's security beside the address."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    mechanism: Mechanism = "SCRAM-SHA-512"


STRANGER: Final = Access()
"""Who shows nothing, and trusts whom this machine trusts."""


def tls_of(access: Access, *, spoken: bool) -> ssl.SSLContext | None:
    """What TLS takes, if the address says that it is ``spoken``; names of hosts are compared.

    Raises:
        ValueError: There are certificates for no TLS, or a file is of no use.
    """
    files = {"CA": access.ca, "CERT": access.cert, "KEY": access.key}
    named = [name for name, file in files.items() if file is not None]
    if not spoken:
        if named:
            raise ValueError(f"COUNTERMAND_BROKER_{named[0]} is for TLS; {_TLS_ALONE}, or unset it")
        return None
    for name in named:
        _look(name, files[name])
    context = _trusting(access.ca)
    _show(context, access.cert, access.key)
    return context


def login_of(access: Access, servers: Sequence[str], *, by_tls: bool) -> Login | None:
    """As whom to sign in at the servers; None for nobody.

    Raises:
        ValueError: Half of it is missing, or the password would be for all to see.
    """
    if not access.user and not access.password:
        return None
    if not access.user:
        raise ValueError("a password of the broker is somebody's; set COUNTERMAND_BROKER_USER")
    if not access.password:
        raise ValueError(
            "COUNTERMAND_BROKER_USER has no password; set COUNTERMAND_BROKER_PASSWORD_FILE"
        )
    if not by_tls:
        _hide_password(access, servers)
    return Login(access.user, access.password, access.mechanism)


def _hide_password(access: Access, servers: Sequence[str]) -> None:
    if access.mechanism == "PLAIN":
        raise ValueError(
            "COUNTERMAND_BROKER_MECHANISM=PLAIN shows the password to whoever listens; "
            f"{_TLS_ALONE}, or take SCRAM-SHA-512"
        )
    far = [server for server in servers if not _is_here(server)]
    if far:
        raise ValueError(
            f"the way to {far[0]} leads through a network, where a password is guessed from what "
            f"is sent, and all else is read; {_TLS_ALONE}"
        )


def _is_here(server: str) -> bool:
    host = urlsplit(f"//{server}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _look(name: str, file: Path | None) -> None:
    """Say which of the files it is that cannot be read, which OpenSSL does not."""
    try:
        if file is not None:
            with file.open("rb"):
                pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        raise ValueError(
            f"COUNTERMAND_BROKER_{name}: the file cannot be read ({reason}); name one that can"
        ) from None


def _trusting(ca: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except ssl.SSLError:
        raise ValueError(
            "COUNTERMAND_BROKER_CA: the file has no certificates; it takes those that sign the "
            "brokers', in PEM"
        ) from None
    # What a machine's own OpenSSL allows may be older.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _show(context: ssl.SSLContext, cert: Path | None, key: Path | None) -> None:
    if cert is None:
        if key is not None:
            raise ValueError(
                "COUNTERMAND_BROKER_KEY is a certificate's; set COUNTERMAND_BROKER_CERT"
            )
        return
    try:
        # A password, as OpenSSL would ask the terminal for that of a key that has one.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError:
        raise ValueError(
            "COUNTERMAND_BROKER_CERT: it takes a certificate in PEM, and COUNTERMAND_BROKER_KEY "
            "(or the same file) the key that belongs to it, without a password"
        ) from None
