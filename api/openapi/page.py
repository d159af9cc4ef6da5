"""Page: the OpenAPI document as HTML for people, with nothing to run and nothing to fetch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from api.openapi.schemas import PLACE, Document
from api.pages import Markup, page, table, tag, words


def html(document: Document) -> str:
    """The whole document: an index, each operation, each schema."""
    groups = {group["name"]: group["description"] for group in document["tags"]}
    return page(
        "API",
        *_paragraphs(document["info"]["description"]),
        tag(
            "p",
            tag("a", "openapi.json", href="/api/v1/openapi.json"),
            " is this page for programs; ",
            tag("a", "problems", href="/problems"),
            " has the codes of refusals.",
        ),
        *(each for name, about in groups.items() for each in _group(document, name, about)),
        tag("h2", "Schemas"),
        *(
            tag("details", tag("summary", tag("code", name)), _json(schema), id=name)
            for name, schema in document["components"]["schemas"].items()
        ),
    )


def _paragraphs(text: str) -> Iterator[Markup]:
    for part in text.replace("\n- ", "\n\n- ").split("\n\n"):
        yield tag("p", words(part.replace("**", "").removeprefix("- ")))


def _group(document: Document, name: str, about: str) -> Iterator[Markup]:
    yield tag("h2", name)
    yield tag("p", about)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if operation["tags"] == [name]:
                yield _operation(document, method.upper(), path, operation)


def _operation(document: Document, method: str, path: str, said: Document) -> Markup:
    head = tag("summary", tag("span", method, class_="method"), tag("code", path), " ")
    parts = [tag("p", words(f"{said['summary']}."))]
    parts += [tag("p", words(each)) for each in said["description"].split("\n\n")]
    if "parameters" in said:
        parts.append(
            table(("Parameter", "In", "What", "Schema"), map(_parameter, said["parameters"]))
        )
    if "requestBody" in said:
        parts += [tag("h4", "Body"), *_content(document, said["requestBody"]["content"])]
    for status, answer in said["responses"].items():
        parts += _answer(document, status, _resolved(document, answer))
    return tag("details", head, *parts, id=said["operationId"])


def _parameter(parameter: Document) -> Markup:
    needed = " (required)" if parameter.get("required") else ""
    return tag(
        "tr",
        tag("td", tag("code", parameter["name"]), needed),
        tag("td", parameter["in"]),
        tag("td", words(parameter["description"])),
        tag("td", tag("code", json.dumps(parameter["schema"], ensure_ascii=False))),
    )


def _answer(document: Document, status: str, answer: Document) -> Iterator[Markup]:
    if status < "4":
        yield tag("h4", status)
        yield tag("p", words(answer["description"]))
        yield from _content(document, answer.get("content", {}))
        return
    (content,) = answer["content"].values()
    codes = (
        (tag("a", tag("code", name), href=f"/problems#{name}"), " ") for name in content["examples"]
    )
    yield tag("p", tag("strong", status), " ", *(part for pair in codes for part in pair))


def _content(document: Document, content: Document) -> Iterator[Markup]:
    for kind, media in content.items():
        yield tag("p", tag("code", kind), " ", *_reference(media["schema"]))
        examples = media.get("examples", {"": {"value": media.get("example")}})
        for name, example in examples.items():
            value = _resolved(document, example)["value"]
            label = f"Example: {name.replace('_', ' ')}" if name else "Example"
            yield tag("details", tag("summary", label), _json(value))


def _reference(schema: Document) -> Iterator[Markup]:
    name = schema.get("$ref", "").removeprefix(PLACE)
    if name:
        yield tag("a", name, href=f"#{name}")


def _resolved(document: Document, value: Document) -> Document:
    place: Any = value
    if "$ref" in value:
        place = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            place = place[part]
    return dict(place)


def _json(value: Any) -> Markup:
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return tag("pre", text)
