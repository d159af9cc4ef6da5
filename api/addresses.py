"""Addresses of sockets, as those who have them know them."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_of(text: str) -> Address | None:
    """The address that a text is; None when it is none.

    A listener on ``::`` that takes IPv4 as well tells of that in IPv6, as ::ffff:192.0.2.7.
    """
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
