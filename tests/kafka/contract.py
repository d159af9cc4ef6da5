"""Contract: the AsyncAPI document, which is all that a stranger knows. Imports nothing of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

FILE = Path(__file__).parents[2] / "docs" / "asyncapi.json"

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Contract:
    """Topics and schemas, found by following the document's references."""

    document: Document

    @classmethod
    def read(cls) -> Self:
        """The file of the checkout."""
        return cls(json.loads(FILE.read_bytes()))

    def topic(self, channel: str, **parameters: str) -> str:
        """The topic of a channel."""
        address: str = self.document["channels"][channel]["address"]
        return address.format(**parameters)

    def example(self, message: str) -> dict[str, Any]:
        """The payload of a message's first example, to be changed."""
        examples = self.document["components"]["messages"][message]["examples"]
        copied: dict[str, Any] = json.loads(json.dumps(examples[0]["payload"]))
        return copied

    def check(self, channel: str, key: bytes | None, value: bytes | None) -> dict[str, Any]:
        """What a message of a channel says; raises unless one schema describes it, and its key."""
        said: dict[str, Any] = json.loads(value or b"")
        self._validators[channel][said.get("type", "")].validate(said)
        assert key is not None
        assert key.decode() in _keys(channel, said), (key, said)
        return said

    @cached_property
    def at_rest(self) -> frozenset[str]:
        """The statuses in which a job is over, as the schema of an event's status lists them."""
        message = next(iter(self.document["channels"]["events"]["messages"].values()))
        event = self._follow(self._follow(message["$ref"])["payload"]["$ref"])
        return frozenset(self._follow(event["properties"]["status"]["$ref"])["x-at-rest"])

    def check_headers(self, message: str, headers: Mapping[str, str]) -> None:
        """Raises unless the document describes the headers."""
        described = self.document["components"]["messages"][message]["headers"]["$ref"]
        self._validator(described).validate(dict(headers))

    @cached_property
    def _validators(self) -> dict[str, dict[str, Validator]]:
        """By channel, then by the ``type`` that a schema says is a message's own."""
        return {
            name: dict(map(self._payload, channel["messages"].values()))
            for name, channel in self.document["channels"].items()
            if name != "dead"
        }

    def _payload(self, reference: Document) -> tuple[str, Validator]:
        schema = self._follow(reference["$ref"])["payload"]["$ref"]
        kind = self._follow(schema)["properties"].get("type", {})
        return kind.get("const", ""), self._validator(schema)

    def _validator(self, reference: str) -> Validator:
        root = {"$ref": reference, "components": self.document["components"]}
        return Draft202012Validator(root, format_checker=Draft202012Validator.FORMAT_CHECKER)

    def _follow(self, reference: str) -> Any:
        place: Any = self.document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        return place


def _keys(channel: str, said: Document) -> set[str]:
    """As the document says it in words: chunks that are independent are for all workers."""
    job_id: str = said["job_id"]
    if channel != "work":
        return {job_id}
    return {job_id, "{}.{chunk}.{attempt}".format(job_id, **said["chunks"][0])}
