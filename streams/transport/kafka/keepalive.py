"""Keepalive: a connection whose other end is gone without a word is given up in seconds.

aiokafka waits for an answer as long as a request may take, which is longer than a rebalance;
a cable that is pulled would stop a member for 40 s. The kernel knows sooner: an end that lives
acknowledges what it is sent, even if its process stands still.
"""

import socket
from typing import Any, Final
from weakref import WeakSet

__all__ = ["SILENT_SECONDS", "keep_alive"]

SILENT_SECONDS: Final = 5
"""How long nothing may be acknowledged; no longer than the group waits for a member."""
_PROBES: Final = 3

_OPTIONS: Final = {
    "TCP_KEEPIDLE": SILENT_SECONDS - _PROBES,
    "TCP_KEEPINTVL": 1,
    "TCP_KEEPCNT": _PROBES,
    "TCP_USER_TIMEOUT": SILENT_SECONDS * 1000,
}
"""Not every system has all of them (tcp(7))."""


def keep_alive(client: Any) -> None:
    """Have the connections that a client of aiokafka opens from now on be given up in time.

    Not the one by which it begins, which ends once the client knows the brokers.
    """
    get, kept = client._get_conn, WeakSet[Any]()

    async def kept_alive(*args: Any, **kwargs: Any) -> Any:
        connection = await get(*args, **kwargs)
        if connection is not None and connection not in kept:
            kept.add(connection)
            _set(connection)
        return connection

    client._get_conn = kept_alive


def _set(connection: Any) -> None:
    if not connection.connected():
        return
    there = connection._writer.get_extra_info("socket")
    there.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        option = getattr(socket, name, None)
        if option is not None:
            there.setsockopt(socket.IPPROTO_TCP, option, value)
