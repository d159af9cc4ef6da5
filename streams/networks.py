"""Networks as settings name them: ``10.1.0.0/16,fd00::/8``."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network


def parse(text: str) -> tuple[Network, ...]:
    """The networks; raises ValueError that names what is none."""
    found: list[Network] = []
    for name in filter(None, text.split(",")):
        try:
            found.append(ip_network(name))
        except ValueError:
            raise ValueError(
                f"{name!r} is no network; write them as 10.1.0.0/16,fd00::/8, with commas between"
            ) from None
    return tuple(found)


def checked(text: str) -> str:
    """The text, if it names networks."""
    parse(text)
    return text
