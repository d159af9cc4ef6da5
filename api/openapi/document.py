"""The document: every route of the table, with its rule, what it takes and what it answers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel

from api import sse
from api.bodies import FORM, JSON
from api.codes import Code, catalogue
from api.openapi.about import ABOUT, TAGS, VERSION
from api.openapi.answers import Problem
from api.openapi.common import ALWAYS, CLOSED, IF_NONE_MATCH, PLACES, SENT
from api.openapi.examples import example_of
from api.openapi.jobs import CONTROL
from api.openapi.others import OTHERS
from api.openapi.platform_bulk import PLATFORM_BULK
from api.openapi.platform_exports import PLATFORM_EXPORTS
from api.openapi.platform_files import PLATFORM_FILES
from api.openapi.platform_records import PLACES as OF_PLATFORM
from api.openapi.platform_records import PLATFORM_RECORDS
from api.openapi.platform_reports import PLATFORM_REPORTS
from api.openapi.reading import READING
from api.openapi.schemas import Document, Schemas
from api.openapi.telling import Answer, Body, Parameter, Told
from api.openapi.watching import WATCHING
from api.openapi.webhooks import SENDING
from api.problems import PROBLEM_JSON, TYPE
from api.rules import Route, Rule
from api.streaming import NDJSON

TOLD: Mapping[tuple[str, str], Told] = {
    **CONTROL,
    **READING,
    **WATCHING,
    **SENDING,
    **PLATFORM_RECORDS,
    **PLATFORM_BULK,
    **PLATFORM_FILES,
    **PLATFORM_EXPORTS,
    **PLATFORM_REPORTS,
    **OTHERS,
}
"""What is said of each route, by method and path."""
ANY = "*"


def describe(routes: Iterable[Route]) -> Document:
    """The OpenAPI 3.1 document of routes; raises KeyError for one of which nothing is said."""
    spoken = [route for route in routes if route.method != ANY]
    told = [TOLD[route.method, template(route.path)] for route in spoken]
    schemas = Schemas(
        bodies=[
            each.body.model for each in told if each.body and isinstance(each.body.model, type)
        ],
        answers=[Problem, *_models(told)],
    )
    writer = _Writer(schemas)
    paths: Document = {}
    for route, said in zip(spoken, told, strict=True):
        path = paths.setdefault(template(route.path), {})
        path[route.method.lower()] = writer.operation(route, said)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Countermand",
            "version": VERSION,
            "summary": "Bulk operations on domain records.",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The server that this document comes from."}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.named,
            "responses": dict(sorted(writer.refusals.items())),
            "examples": {name: _refusal(code) for name, code in sorted(writer.codes.items())},
            "headers": _HEADERS,
            "securitySchemes": _SCHEMES,
        },
    }


def text(document: Document) -> bytes:
    """The document as the file holds it."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


def template(path: str) -> str:
    """The pattern of a route as a path template: each place by its name alone."""
    return "".join(_parts(path))


def _parts(path: str) -> Iterator[str]:
    """The text, with ``{name}`` for what stands in outer braces."""
    depth, place = 0, ""
    for letter in path:
        depth += (letter == "{") - (letter == "}")
        if depth or place:
            place += letter
        else:
            yield letter
        if place and not depth:
            yield "{" + place[1:-1].partition(":")[0] + "}"
            place = ""


def _models(told: Iterable[Told]) -> Iterator[type[BaseModel]]:
    for each in told:
        for answer in each.answers.values():
            if answer.model is not None:
                yield answer.model
            yield from answer.live


class _Writer:
    """Writes operations, and keeps the refusals that they speak of."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._known = catalogue()
        self.refusals: Document = {}
        self.codes: dict[str, Code] = {}

    def operation(self, route: Route, told: Told) -> Document:
        """One route."""
        about = told.about or inspect.cleandoc(route.handler.__doc__ or "")
        summary, _, more = about.replace("``", "`").partition("\n")
        tagged = (IF_NONE_MATCH,) if route.method == "GET" and _is_tagged(told) else ()
        parameters = [*_places(route.path), *map(_parameter, (*told.parameters, *tagged))]
        document: Document = {
            "operationId": told.name,
            "tags": [told.tag],
            "summary": summary.rstrip("."),
            "description": "\n\n".join(filter(None, (more.strip(), _needs(route.rule)))),
        }
        if parameters:
            document["parameters"] = parameters
        if told.body is not None:
            document["requestBody"] = self._body(told.body)
        document["responses"] = self._responses(route, told)
        document["security"] = _security(route.rule, told)
        document["x-permissions"] = {
            "needed": route.rule.permission,
            "besides": sorted(route.rule.also),
        }
        return document

    def _body(self, body: Body) -> Document:
        model = body.model
        schema = (
            dict(model) if isinstance(model, Mapping) else self._schemas.of(model, "validation")
        )
        examples = {_word(name): {"value": value} for name, value in body.examples.items()}
        content: Document = {FORM if body.form else JSON: {"schema": schema, "examples": examples}}
        if body.lines:
            content[NDJSON] = {
                "schema": {"type": "string", "description": "An item a line."},
                "examples": {"lines": {"value": body.lines}},
            }
        return {"required": body.required, "content": content}

    def _responses(self, route: Route, told: Told) -> Document:
        found = {str(status): self._answer(answer) for status, answer in told.answers.items()}
        if route.method == "GET" and _is_tagged(told):
            found["304"] = {"description": "The client has it.", "headers": _TAG}
        by_status: dict[int, list[Code]] = {}
        for name in sorted(_codes(route, told)):
            code = self._known[name]
            self.codes[name] = code
            by_status.setdefault(code.status, []).append(code)
        for status, codes in sorted(by_status.items()):
            found[str(status)] = self._refused(status, codes)
        return found

    def _answer(self, answer: Answer) -> Document:
        document: Document = {"description": answer.about, "headers": {**_ALWAYS_SAID, **_TAG}}
        if answer.located:
            for name in ("Location", "Retry-After", "Preference-Applied"):
                document["headers"][name] = {"$ref": f"#/components/headers/{name}"}
        content: Document = {}
        if answer.model is not None:
            content[JSON] = {
                "schema": self._schemas.partly(answer.model, answer.part)
                if answer.part
                else self._schemas.of(answer.model, "serialization"),
                "examples": {"one": {"value": example_of(answer.model)}},
            }
        for kind, example in answer.others.items():
            content[kind] = _other(kind, example)
        if answer.live:
            content[sse.MEDIA_TYPE]["x-item-schema"] = self._event(answer.live)
        if content:
            document["content"] = content
        if answer.links:
            document["links"] = {
                name: {"operationId": name, "parameters": dict(parameters)}
                for name, parameters in answer.links.items()
            }
        return document

    def _event(self, models: Iterable[type[BaseModel]]) -> Document:
        """An event of a live stream: `itemSchema` of OpenAPI 3.2, for which 3.1 has no word."""
        data = {
            "type": "string",
            "contentMediaType": JSON,
            "contentSchema": {
                "anyOf": [self._schemas.of(model, "serialization") for model in models]
            },
        }
        return {
            "type": "object",
            "required": ["event", "data"],
            "properties": {"event": {"type": "string"}, "id": {"type": "string"}, "data": data},
        }

    def _refused(self, status: int, codes: Iterable[Code]) -> Document:
        """The reference to the refusal with these codes, which several routes have."""
        names = [code.name for code in codes]
        key = ".".join((str(status), *names))
        if key not in self.refusals:
            problem = self._schemas.of(Problem, "serialization")
            narrow = {"properties": {"code": {"enum": names}, "status": {"const": status}}}
            self.refusals[key] = {
                "description": "; ".join(f"`{code.name}`: {code.about}" for code in codes),
                "headers": {**_ALWAYS_SAID, **_besides(status)},
                "content": {
                    PROBLEM_JSON: {
                        "schema": {"allOf": [problem, narrow]},
                        "examples": {
                            name: {"$ref": f"#/components/examples/{name}"} for name in names
                        },
                    }
                },
            }
        return {"$ref": f"#/components/responses/{key}"}


def _is_tagged(told: Told) -> bool:
    """Whether its answers are whole, so that a client may have them already."""
    answer = told.answers.get(200)
    return answer is not None and (answer.model is not None or told.tag == "Pages")


def _codes(route: Route, told: Told) -> set[str]:
    found = {*ALWAYS, *told.problems}
    if route.rule.known:
        found.update(CLOSED)
    if route.rule.known and route.method != "GET":
        found.add("bad_condition")
    if told.body is not None:
        found.update(SENT)
    if "{" in route.path:
        found.add("not_found")
    if "{job_id" in route.path:
        found.add("job_not_found")
    return found


def _needs(rule: Rule) -> str:
    """In a sentence, who may call it."""
    if not rule.known:
        return "Open to everybody."
    if rule.permission is None:
        return "For everybody who is known."
    also = "".join(f" Some of it takes `{each}` as well." for each in sorted(rule.also))
    return f"Takes the permission `{rule.permission}`.{also}"


def _security(rule: Rule, told: Told) -> list[Document]:
    if not rule.known:
        return []
    scopes = [rule.permission.value] if rule.permission else []
    ways: list[Document] = [{"bearer": scopes}]
    return [*ways, {"ticket": []}] if told.ticket else ways


def _places(path: str) -> Iterator[Document]:
    for name in (part[1:-1] for part in _parts(path) if part.startswith("{")):
        about, schema, example = (PLACES | OF_PLATFORM)[name]
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": about,
            "schema": dict(schema),
            "example": example,
        }


def _parameter(parameter: Parameter) -> Document:
    found: Document = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.about,
        "schema": dict(parameter.schema),
    }
    if parameter.joined:
        found["explode"] = False
    if parameter.required:
        found["required"] = True
    if parameter.example is not None:
        found["example"] = parameter.example
    return found


def _other(kind: str, example: str) -> Document:
    if kind == JSON:
        value = json.loads(example)
        return {"schema": {"type": "object"} if isinstance(value, dict) else {}, "example": value}
    return {"schema": {"type": "string"}, "example": example}


def _refusal(code: Code) -> Document:
    value = {
        "type": TYPE + code.name,
        "title": HTTPStatus(code.status).phrase,
        "status": code.status,
        "detail": code.about,
        "code": code.name,
        "request_id": "0192f7a1",
    }
    return {"summary": code.about, "description": code.remedy, "value": value}


def _besides(status: int) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in _OF_STATUS.get(status, ())}


def _word(name: str) -> str:
    return name.replace(" ", "_")


def _header(about: str, schema: Mapping[str, Any]) -> Document:
    return {"description": about, "schema": dict(schema)}


_NUMBER = {"type": "integer", "minimum": 0}
_HEADERS: Document = {
    "X-Request-Id": _header(
        "The request's own id, or the one that it came with; the log has it too.",
        {"type": "string"},
    ),
    "ETag": _header("Of this answer; of a job it begins with the version.", {"type": "string"}),
    "Preference-Applied": _header("For how long the job was waited for.", {"type": "string"}),
    "Location": _header("Where it is.", {"type": "string", "format": "uri-reference"}),
    "Retry-After": _header("Seconds after which it is worth while to come back.", _NUMBER),
    "WWW-Authenticate": _header("How to say who calls (RFC 6750).", {"type": "string"}),
    "RateLimit-Limit": _header("How often the caller may call this route.", _NUMBER),
    "RateLimit-Remaining": _header("How often still.", _NUMBER),
    "RateLimit-Reset": _header("Seconds until it is as often as at first.", _NUMBER),
}
_ALWAYS_SAID: Document = {
    name: {"$ref": f"#/components/headers/{name}"}
    for name in ("X-Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
}
_TAG: Document = {"ETag": {"$ref": "#/components/headers/ETag"}}
_OF_STATUS = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_SCHEMES: Document = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of a known issuer, or an API key. The scopes are permissions. A "
        "server that is for its own machine alone asks nobody.",
    },
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "A ticket of `issueTicket`, good for one request of one job's stream.",
    },
}
