"""Limits: what the edge allows; each number is said here once. Times in seconds, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from streams.quotas import UNBOUNDED, QuotaTable

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask for, and how long it is waited for.

    ``hosts`` are the names that a Host header may carry, with any port: a page elsewhere
    that had its own name point to this machine sends another one. The names of this machine
    are always among them, for probes and for who sits at it.
    """

    hosts: frozenset[str] = LOOPBACK_HOSTS
    json_body: int = 10_000_000
    small_body: int = 64_000
    named_body: int = 500_000
    """A command that names items one by one; it must fit into a message."""
    upload: int = 2_000_000_000
    """A file that is imported."""
    uploads: int = 5
    """Files that are taken in at once; each lies on the disk of this process meanwhile.

    One tenant leaves the last place to others.
    """
    bodies: int = 256_000_000
    """Of bodies that are being taken in, so many bytes are in memory at once.

    One tenant leaves a quarter of them to others; the first ``small_body`` of each count for
    nothing, and of lines no more than wait to be stored.
    """
    json_depth: int = 64
    unpacked_ratio: int = 100
    """A packed body may become so many times what was sent, beyond ``unpacked_free``."""
    unpacked_free: int = 1_000_000
    pack_from: int = 2_000
    """Smaller answers, such as a job's document, are sent as they are."""
    wait: int = 60
    """A client may have a command's answer put off for so long."""
    body_idle: float = 30.0
    """A request's body may stand still this long."""
    body_grace: float = 30.0
    body_rate: int = 5_000
    """After ``body_grace`` a second more for so many bytes of a body that its sender has whole.

    Lines may come more slowly: items that are made while they are sent take their time.
    """
    body_late: float = 3600.0
    """A body that was begun under a token may come to its end so long after the token's."""
    write_wait: float = 10.0
    """A client may leave what it is sent unread this long."""
    streams: int = 2000
    quotas: QuotaTable = UNBOUNDED
    """Of those, as many as each tenant may have."""
    heartbeat: float = 15.0
    longest_wait: int = 30
    """A page may wait so long for the next event."""
    ws_message: int = 64_000
    """What a client of a WebSocket says at once."""
    ws_ping: float = 15.0
    """So often it is asked whether it is there, and has half of that to answer."""
    ws_hello: float = 10.0
    """Its first message may take so long, and that many may be waited for."""
    ws_unknown: int = 200
    ws_idle: float = 300.0
    """One that follows nothing may be silent so long."""
    ws_topics: int = 100
    recheck: float = 30.0
    """Who is served for long is looked at again this often; a key may have been revoked."""
    reconnect_ms: int = 1000
    replay_page: int = 200
    page: int = 100
    max_page: int = 1000
    keepalive: float = 75.0
    """A connection may be idle, or send its headers, this long."""
    linger: float = 5.0
    """What a refused client still sends is read this long, so that it sees the answer."""
    header_line: int = 8190
    headers: int = 100
    retry_after: int = 1
