"""Addresses: where messages may go. A tenant must not have us ask what only we can reach.

Names are looked up, and what they lead to is checked, as the socket for it is made: nothing is
looked up again between the check and the connection.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Self
from urllib.parse import urlsplit

from aiohttp import AddrInfoType

from domain.errors import InvalidCommand
from streams import networks as named
from streams.networks import Network

Address = IPv4Address | IPv6Address

SPECIAL = named.parse(
    "168.63.129.16/32,192.0.0.0/24,192.88.99.0/24,64:ff9b:1::/48,2001::/23,3fff::/20,fec0::/10"
)
"""What Python's own table lacks, or lacked in a release that we run on: a cloud's services at
a public address, and ranges of the registry of special purposes (RFC 6890)."""
(TRANSLATED,) = named.parse("64:ff9b::/96")
"""Addresses of IPv4 as seen through NAT64, in the last 32 bits (RFC 6052)."""
REFUSED = "it leads to an address that is not sent to"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Public ones, and those of the networks that were allowed; ``http`` allows it as well."""

    networks: tuple[Network, ...] = ()
    http: bool = False

    @classmethod
    def of(cls, networks: str, *, http: bool) -> Self:
        """As settings say it: networks with commas between."""
        return cls(named.parse(networks), http)

    def allows(self, text: str) -> bool:
        """Whether an address may be connected to."""
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return False
        return all(self._allows(one) for one in _meant(address))

    def socket(self, info: AddrInfoType) -> socket.socket:
        """A socket for an address that was looked up; raises PermissionError for a refused one."""
        family, kind, protocol, _, place = info
        if not self.allows(str(place[0])):
            raise PermissionError(errno.EACCES, REFUSED)
        return socket.socket(family, kind, protocol)

    def check(self, url: str) -> None:
        """Raise InvalidCommand for an address that will never be sent to, as far as it shows."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not self.http:
            raise InvalidCommand(
                "write an https address; the operator can allow others by COUNTERMAND_WEBHOOK_HTTP",
                pointer="/url",
            )
        host = parts.hostname or ""
        try:
            ip_address(host)
        except ValueError:
            return
        if not self.allows(host):
            raise InvalidCommand(
                f"{host} is no public address; the operator can allow networks by "
                "COUNTERMAND_WEBHOOK_NETWORKS",
                pointer="/url",
            )

    def _allows(self, address: Address) -> bool:
        if _within(address, self.networks):
            return True
        special = address.is_multicast or address.is_reserved or _within(address, SPECIAL)
        return address.is_global and not special


def _meant(address: Address) -> Iterable[Address]:
    """An address, and the one of IPv4 that it stands for."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address, address.sixtofour)
    if address in TRANSLATED:
        return (IPv4Address(address.packed[-4:]),)
    return (address,)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
