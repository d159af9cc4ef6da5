"""The document: channels, who writes and reads them, their messages with schemas and examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from pydantic import BaseModel

from domain.commands import MAX_PARAMS_BYTES
from domain.options import MAX_ITEMS
from domain.values import Value
from streams import topics
from streams.asyncapi import examples
from streams.asyncapi.schemas import (
    CALLERS,
    COMMANDS,
    EVENT_KINDS,
    LETTER,
    LETTER_HEADERS,
    OUTCOMES,
    PLACE,
    WORK_HEADERS,
    Document,
    schemas,
)
from streams.envelope import WORK_MODE, CommandDecided, Work, WorkMode

JOB_KEY = "The job's id, as UTF-8 bytes."
WORK_KEY = (
    "The job's id, as UTF-8 bytes; of an operation whose chunks are independent, behind it the "
    "first chunk and its attempt, with dots between."
)
VERSION = "1.3.0"
"""Of the messages, not of the program: the first number counts breaks, the second additions."""

ABOUT = f"""\
Bulk operations on domain records, submitted, followed and answered over Kafka.
docs/messages.md is the guide.

- **Keys**: the key of a message is its `job_id`, as UTF-8 bytes. So all messages of a job are in
  one partition of each topic, in order; between jobs there is no order. Work is the exception
  where the chunks of a job are independent: `job_id.chunk.attempt` is for all workers.
- **Values** are JSON, at most {topics.MAX_MESSAGE_BYTES} bytes with key and headers.
- **Large batches**: up to {topics.MAX_INLINE_BYTES} bytes of items go in one SubmitJob. More go as
  OpenJob, any number of AppendItems, SealJob. A job holds at most {MAX_ITEMS} items.
- **At least once**: any message may come twice. A command is known by its `command_id` (one that
  comes again is answered again and does nothing), an event by `job_id` and `version`, a chunk's
  outcome by `job_id` and `chunk`.
- **Answers**: what became of a command is told by CommandDecided on {topics.OUTCOMES}, after it
  is stored. A command that cannot be read goes to {topics.DEAD}.
- **At rest**: `x-at-rest` of JobStatus lists the statuses in which a job is over, until a retry or
  an undo takes it from there.
- **Versions**: `schema_version` fixes the fields of a message of that `type`. Whatever an older
  reader could not read has a higher one. Readers of outcomes and events pass over what they do
  not know; commands and work of a newer schema are held on {topics.DEAD} and sent again after
  the upgrade. Readers are upgraded first.
- **Who may write**: messages carry no credentials, so the broker's access lists must say who
  writes to which topic; `x-writers` names them. Whoever may write commands may name any tenant.
"""


def describe(servers: Iterable[str] = ()) -> Document:
    """The AsyncAPI 3.0 document; ``servers`` are addresses of brokers, ``host:port``."""
    found = list(servers)
    document: Document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Countermand",
            "version": VERSION,
            "description": ABOUT,
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        "defaultContentType": "application/json",
    }
    if found:
        document["servers"] = {
            f"kafka-{number}": {"host": host, "protocol": "kafka"}
            for number, host in enumerate(found)
        }
    document["channels"] = _channels()
    document["operations"] = _operations()
    document["components"] = {"messages": _messages(), "schemas": schemas()}
    document["x-limits"] = {
        "message_bytes": topics.MAX_MESSAGE_BYTES,
        "inline_items_bytes": topics.MAX_INLINE_BYTES,
        "params_bytes": MAX_PARAMS_BYTES,
        "items_per_job": MAX_ITEMS,
    }
    return document


def text(document: Document) -> bytes:
    """The document as the file holds it."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


def _channels() -> Document:
    return {
        "commands": _channel(
            topics.COMMANDS,
            "What is asked of jobs; anybody's to write, and the engine's hints to itself.",
            names=_names(COMMANDS),
            writers=["producers", "api", "worker"],
            readers=["coordinator"],
        ),
        "work": _channel(
            topics.work("{system}"),
            "Chunks that wait for a worker, a topic for each system of operations. Hints: what "
            f"is not as the database says has no effect. The header `{WORK_MODE}` says what else "
            "a worker's slot may work beside it.",
            names=[Work.__name__],
            writers=["coordinator"],
            readers=["worker"],
            parameters={
                "system": {
                    "description": "What stands before the dot in an operation's name.",
                    "examples": ["annotations"],
                }
            },
        ),
        "outcomes": _channel(
            topics.OUTCOMES,
            "Answers to commands, completion and failure of chunks, progress of slow ones.",
            names=_names(OUTCOMES),
            writers=["coordinator", "worker"],
            readers=["api", "producers", "consumers"],
        ),
        "events": _channel(
            topics.EVENTS,
            "Everything that happened to jobs, in the order in which it was stored; the fold of "
            "a job's events is its state. `position` orders all of them. The topic keeps them for "
            "7 days; the database has all of them (GET /api/v1/events).",
            names=_names(EVENT_KINDS),
            writers=["outbox"],
            readers=["api", "consumers"],
        ),
        "dead": _channel(
            topics.DEAD,
            "Messages that could not be handled, with their key, bytes and headers, and the "
            f"cause in headers of their own. Up to {topics.MAX_LETTER_BYTES} bytes.",
            names=[LETTER],
            writers=["coordinator", "worker", "api", "outbox", "timers"],
            readers=["operators"],
        ),
    }


def _channel(
    address: str,
    description: str,
    *,
    names: Iterable[str],
    writers: list[str],
    readers: list[str],
    parameters: Document | None = None,
) -> Document:
    channel: Document = {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "x-writers": writers,
        "x-readers": readers,
    }
    if parameters is not None:
        channel["parameters"] = parameters
    return channel


def _operations() -> Document:
    """What the engine does on each channel, seen from the engine."""
    answered = {
        "channel": _ref("channels", "outcomes"),
        "messages": [_ref("channels", "outcomes", "messages", CommandDecided.__name__)],
    }
    internal = [name for name in _names(COMMANDS) if name not in _names(CALLERS)]
    return {
        "decide": {
            **_operation("receive", "commands", _names(CALLERS)),
            "summary": "A command is decided on, and answered on the outcomes topic.",
            "reply": answered,
        },
        "look": {
            **_operation("receive", "commands", internal),
            "summary": "The engine's own hint that outcomes wait to be recorded.",
        },
        "dispatch": {
            **_operation("send", "work", [Work.__name__]),
            "summary": "Chunks are given to workers.",
        },
        "tell": {
            **_operation("send", "outcomes", _names(OUTCOMES)),
            "summary": "Answers, completion, failure and progress are told.",
        },
        "publish": {
            **_operation("send", "events", _names(EVENT_KINDS)),
            "summary": "Stored events are published.",
        },
        "bury": {
            **_operation("send", "dead", [LETTER]),
            "summary": "What cannot be handled is kept with its cause.",
        },
    }


def _operation(action: str, channel: str, names: Iterable[str]) -> Document:
    return {
        "action": action,
        "channel": _ref("channels", channel),
        "messages": [_ref("channels", channel, "messages", name) for name in names],
    }


def _messages() -> Document:
    said = [*examples.commands(), examples.work(), *examples.outcomes()]
    found: Document = {}
    kinds: list[type[BaseModel]] = [*COMMANDS, Work, *OUTCOMES]
    for kind in kinds:
        payloads = [each.model_dump(mode="json") for each in said if type(each) is kind]
        found[kind.__name__] = _message(kind, payloads)
    found[Work.__name__]["headers"] = {"$ref": PLACE + WORK_HEADERS}
    for example in found[Work.__name__]["examples"]:
        example["headers"] = {WORK_MODE: WorkMode.CONCURRENT.value}
    for event in EVENT_KINDS:
        payloads = [each for each in examples.events() if each["type"] == event.alias]
        found[event.__name__] = _message(event, payloads)
    found[LETTER] = {
        "name": LETTER,
        "summary": "A message that could not be handled.",
        "contentType": "application/octet-stream",
        "headers": {"$ref": PLACE + LETTER_HEADERS},
        "payload": {"$ref": PLACE + LETTER},
        "bindings": _key("The key of the message."),
        "examples": [{"name": LETTER, **examples.letter()}],
    }
    return found


def _message(kind: type[BaseModel], payloads: Iterable[Any]) -> Document:
    name = kind.__name__
    message: Document = {
        "name": name,
        "summary": (kind.__doc__ or "").strip().partition("\n")[0],
        "payload": {"$ref": PLACE + name},
        "bindings": _key(WORK_KEY if kind is Work else JOB_KEY),
        "examples": [
            {"name": f"{name}-{number}", "payload": payload}
            for number, payload in enumerate(payloads)
        ],
    }
    if issubclass(kind, Value) and "command_id" in kind.model_fields:
        message["correlationId"] = {"location": "$message.payload#/command_id"}
    return message


def _key(description: str) -> Document:
    key = {"type": "string", "description": description}
    return {"kafka": {"key": key, "bindingVersion": "0.5.0"}}


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}


def _names(kinds: Iterable[type[BaseModel]]) -> list[str]:
    return [kind.__name__ for kind in kinds]
