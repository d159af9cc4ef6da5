"""Logs: one JSON line an entry on standard error, whoever writes it; nothing in it acts.

What is logged while a message is handled, or a request, has its ``job_id``, its ``request_id``
and, where it is traced, ``trace_id`` and ``span_id``; in threads it has not.

Values are cut, line breaks and whatever steers a terminal are escaped, and what looks like a
secret is blotted out, should it ever get here. Of an error the first line is told: a database
repeats the row that it refuses in those that follow, and that is what callers sent.

A line that cannot be written is left out, and whoever logged it goes on.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import orjson
import structlog

from domain.errors import Unavailable
from streams.standard_streams import end_in_silence

MAX_VALUE = 2000
MAX_LISTED = 50
DEEPEST = 8
BLOT = "[...]"

# What JSON leaves as it is and terminals or viewers of logs act on: controls of the second row,
# other line ends, and marks that turn the direction of what follows.
_ACTING = {
    code: f"\\u{code:04x}"
    for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, 0x200E, 0x200F, *range(0x202A, 0x202F))
} | {code: f"\\u{code:04x}" for code in range(0x2066, 0x206A)}

_SECRET = re.compile(
    r"(?i:(?<=bearer ))[\w.~+/=-]{8,}"  # whatever stands in a header
    r"|\bcmk_[0-9a-f]{32}_[0-9a-f]+"  # API keys
    r"|\bwhsec_[\w+/=-]+"  # secrets of webhooks
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # tokens
    r"|(?<=://)[^\s/@:\"\\]+:[^\s/@\"\\]+(?=@)"  # user and password of an address
)

# What PostgreSQL cannot read as a value of its column.
_QUOTED = re.compile(r'(?<=: )".*|(?<=\bvalue )".*"(?= is out of range)')

# Without the values of variables: they are what callers sent, and megabytes of it.
_tracebacks = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


class _Lines(io.TextIOBase):
    """A stream for lines that nobody's work depends on: what it cannot take is left out.

    The disk of a log may be full, and whoever read it may have gone: most lines tell of a fault
    that the process outlives, and it must outlive theirs as well. The next one is tried again.
    """

    def __init__(self, stream: TextIO | None) -> None:
        # There is none in a process that was started with its standard error closed.
        self._stream = stream

    def write(self, text: str, /) -> int:
        """Write it, or leave it out; it counts as written."""
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Have written what is, if that can be."""
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.flush()


def configure(level: str) -> None:
    """Set up logging for this process; called once, by its entry point."""
    end_in_silence()
    lines = cast(TextIO, _Lines(sys.stderr))
    number = logging.getLevelNamesMapping()[level.upper()]
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    render = structlog.processors.JSONRenderer(serializer=_encoded)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            stamp,
            _named,
            _tracebacks,
            _told,
            _cut,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(lines),
        cache_logger_on_first_use=True,
    )
    # Libraries log by the standard library; their entries become lines of the same kind.
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _named,
                _tracebacks,
                _told,
                _cut,
                render,
            ],
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                stamp,
            ],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


def first_line(said: str) -> str:
    """What an error says, without what a database repeats of the values that it refuses."""
    return _QUOTED.sub(BLOT, said.partition("\n")[0])


def _named(_logger: Any, _name: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What is away says itself what it is; where that was noticed tells nobody more."""
    told = entry.get("exc_info")
    error = sys.exc_info()[1] if told is True else told[1] if isinstance(told, tuple) else told
    if isinstance(error, Unavailable):
        del entry["exc_info"]
        entry.setdefault("reason", error.message)
    return entry


def _told(_logger: Any, _name: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Of each error its first line."""
    errors = entry.get("exception")
    if isinstance(errors, list):
        _tell_first_lines(errors)
    return entry


def _tell_first_lines(errors: list[dict[str, Any]]) -> None:
    for error in errors:
        error["exc_value"] = first_line(error["exc_value"])
        for group in error.get("exceptions", ()):
            _tell_first_lines(group)


def _cut(_logger: Any, _name: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in entry.items():
        entry[key] = _short(value, DEEPEST)
    return entry


def _short(value: Any, levels: int) -> Any:
    match value:
        case str():
            kept = value if len(value) <= MAX_VALUE else value[:MAX_VALUE] + "…"
            # Half a surrogate pair has no place in UTF-8.
            return kept if kept.isascii() else kept.encode(errors="backslashreplace").decode()
        case bool() | int() | float() | None:
            return value
        case _ if not levels:
            return "…"
        case dict():
            few = list(value.items())[:MAX_LISTED]
            return {_short(str(key), 1): _short(inner, levels - 1) for key, inner in few}
        case list() | tuple() | set() | frozenset():
            return [_short(inner, levels - 1) for inner in list(value)[:MAX_LISTED]]
    return _short(str(value), 1)


def _encoded(entry: Any, **_options: Any) -> str:
    text = orjson.dumps(entry, default=str).decode()
    return _SECRET.sub(BLOT, text).translate(_ACTING)
