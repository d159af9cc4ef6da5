"""Configs of topics: what ours are made with, and what is amiss with those that are there.

A broker has defaults for all that is not said when a topic is made, and whoever looks after it
may change both later: letters would be deleted, or commands that nobody has decided yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka.admin.config_resource import (  # type: ignore[import-untyped] # ships none
    ConfigResource,
    ConfigResourceType,
)

from streams.topics import DEAD

LARGEST: Final = 1_100_000
"""Bytes: a letter holds those of a message and, in headers, what was wrong with it."""
CONFIGS: Final = {
    "max.message.bytes": str(LARGEST),
    "cleanup.policy": "delete",
    "retention.ms": str(7 * 24 * 3600 * 1000),
}
"""What the database has is found again, so no message need be kept for long."""
SEVERAL: Final = 2
"""Brokers that have a message which is on more than one disk."""
FOR_EVER: Final = "-1"
KEPT: Final = {DEAD: {"retention.ms": FOR_EVER, "retention.bytes": FOR_EVER}}
"""Dead letters wait for somebody who looks."""
REMEDY: Final = "with Kafka's own kafka-configs"

Configs = Mapping[str, Mapping[str, str]]
"""Names and values of each topic; of one that may not be looked at there are none."""


async def described(client: Any, topics: Sequence[str]) -> Configs:
    """How the topics are configured, as far as this client may know."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    answers = await client.describe_configs(asked) if asked else []
    return {
        topic: {name: value for name, value, *_ in entries if value is not None}
        for answer in answers
        for _code, _said, _kind, topic, entries in answer.resources
    }


def in_sync(replicas: int) -> int:
    """How many brokers must have a message before it counts as sent, of topics that we make.

    Most of them: of three two, of five three. Of fewer than three one, as else none may be away.
    """
    return replicas // 2 + 1 if replicas > 2 else 1


def losing(configs: Configs) -> list[str]:
    """Why no process may run with these topics, in sentences that say what mends it."""
    compacted = _named(
        (topic, own["cleanup.policy"])
        for topic, own in configs.items()
        if "compact" in own.get("cleanup.policy", "")
    )
    if not compacted:
        return []
    return [
        f"topics that are compacted: {compacted}; of a job's messages all but the last are taken "
        f"away, whether or not they were handled. Set cleanup.policy=delete {REMEDY}"
    ]


def doubtful(configs: Configs, replicas: Mapping[str, int]) -> list[str]:
    """What may cost messages some day, in sentences; processes run with it."""
    own = configs.get(DEAD, {})
    return [*_refusing(configs), *_on_one_disk(configs, replicas), *_ending_letters(own)]


def _refusing(configs: Configs) -> list[str]:
    small = _named(_below(configs, "max.message.bytes", dict.fromkeys(configs, LARGEST)))
    if not small:
        return []
    return [
        f"max.message.bytes is less than {LARGEST}: {small}; what is larger is refused, and who "
        f"sends it waits in vain. Set max.message.bytes={LARGEST} {REMEDY}"
    ]


def _on_one_disk(configs: Configs, replicas: Mapping[str, int]) -> list[str]:
    """Whoever has asked for less than ``in_sync`` has chosen, as long as it is no single broker."""
    several = {topic: SEVERAL for topic, number in replicas.items() if number > SEVERAL}
    few = _named(_below(configs, "min.insync.replicas", several))
    if not few:
        return []
    return [
        f"min.insync.replicas is too low: {few}; a message counts as sent that one broker alone "
        f"has. Set min.insync.replicas={SEVERAL} {REMEDY}"
    ]


def _ending_letters(own: Mapping[str, str]) -> list[str]:
    ends = [f"{name}={own[name]}" for name in KEPT[DEAD] if own.get(name, FOR_EVER) != FOR_EVER]
    if not ends:
        return []
    return [
        f"dead letters are deleted, whether or not somebody has seen them: {DEAD} has "
        f"{', '.join(ends)}. Set {', '.join(f'{name}=-1' for name in KEPT[DEAD])} {REMEDY}"
    ]


def _below(configs: Configs, name: str, least: Mapping[str, int]) -> list[tuple[str, str]]:
    return [
        (topic, own[name])
        for topic, own in configs.items()
        if name in own and int(own[name]) < least.get(topic, 0)
    ]


def _named(found: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{topic} ({value})" for topic, value in found)
