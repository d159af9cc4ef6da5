"""The published document as tests use it: the schema of an answer, and of a body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"
DOCUMENT: dict[str, Any] = json.loads(FILE.read_bytes())
METHODS = ("get", "post", "delete", "put", "patch")


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and what is said of each route."""
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    """What a reference leads to."""
    while "$ref" in value:
        place: Any = DOCUMENT
        for part in value["$ref"].removeprefix("#/").split("/"):
            place = place[part]
        value = place
    return value


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """For a schema of the document."""
    root = {**schema, "components": DOCUMENT["components"]}
    return Draft202012Validator(root, format_checker=Draft202012Validator.FORMAT_CHECKER)


def check(operation: dict[str, Any], status: int, kind: str, body: bytes) -> None:
    """Raise unless the document says that this may be answered."""
    name = operation["operationId"]
    assert str(status) in operation["responses"], f"{name} is not said to answer {status}: {body!r}"
    content = resolved(operation["responses"][str(status)]).get("content", {})
    if not content:
        assert body == b"", f"{name} answers {status} with a body"
        return
    kind = kind if kind in content else kind.partition(";")[0]
    assert kind in content, f"{name} answers {status} as {kind}"
    if kind.endswith("json") and kind != "application/x-ndjson":
        validator(content[kind]["schema"]).validate(json.loads(body))
