"""The OpenAPI document: made from the routes, accepted by others, and true of the answers."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from jsonschema import Draft202012Validator
from openapi_pydantic import OpenAPI
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError
from pydantic import ValidationError

from api.app import ROUTES
from api.codes import catalogue
from api.fields import OF_ITEM, OF_JOB, OF_LISTED
from api.openapi import answers, describe, text
from api.openapi.document import TOLD, template
from api.requests import SPOKEN_OF_ELSEWHERE
from api.rules import OPEN, Route
from streams.bootstrap import embedded
from streams.settings import Settings
from tests.api.conftest import Site
from tests.api.contract import DOCUMENT, FILE, check, operations, resolved, validator
from tests.api.matrix import CLOSED, SSE, Request, requests
from tests.api.proofs import proven
from tests.api.shop import Shop
from tests.api.test_routes import submitted
from tests.api.test_tenants import NOBODYS, OURS, REGISTRY, _ours

SPOKEN = [route for route in ROUTES if route.method != "*"]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
IDS = {**NOBODYS, "KIND": "stock.*", "LIMIT": "queue:stock"}
OPERATIONS = {(method, path): said for method, path, said in operations()}


# -- the file ---------------------------------------------------------------------


def test_the_file_is_what_the_code_says() -> None:
    assert FILE.read_bytes() == text(describe(ROUTES)), (
        "the API has changed: run `.venv/bin/countermand openapi > docs/openapi.json`, look at "
        "the difference, and say in api/openapi/about.py which version it is"
    )


def test_every_route_is_spoken_of_and_nothing_else() -> None:
    routes = {(route.method, template(route.path)) for route in SPOKEN}
    assert routes == set(TOLD) == set(OPERATIONS)


def test_a_route_of_which_nothing_is_said_fails_the_build() -> None:
    odd = Route("GET", "/api/v1/odd", ROUTES[0].handler, OPEN)
    with pytest.raises(KeyError):
        describe([*ROUTES, odd])


def test_one_validator_accepts_it() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_another_reader_accepts_it_and_loses_nothing() -> None:
    read = OpenAPI.model_validate(DOCUMENT)
    assert read.paths is not None
    assert set(read.paths) == {path for _, path in OPERATIONS}


@pytest.mark.parametrize(
    "wrong",
    [
        {"openapi": "3.1.0", "info": {"title": "x"}, "paths": {}},
        {"openapi": "3.1.0", "info": {"title": "x", "version": "1"}, "paths": {"/": {"get": []}}},
    ],
)
def test_both_refuse_what_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(OpenAPIValidationError):
        OpenAPIV31SpecValidator(wrong).validate()
    with pytest.raises(ValidationError):
        OpenAPI.model_validate(wrong)


def test_its_schemas_are_schemas() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_the_command_prints_it() -> None:
    command = [sys.executable, "-m", "streams.cli.main", "openapi"]
    printed = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert printed.stdout == FILE.read_bytes()


@pytest.mark.parametrize("name", ["provider:openai", "queue:_shop", f"queue:{'s' * 100}"])
def test_the_limit_of_each_system_has_a_path(name: str) -> None:
    (place,) = (
        each
        for each in DOCUMENT["paths"]["/api/v1/limits/{name}"]["post"]["parameters"]
        if each["in"] == "path"
    )
    assert re.search(place["schema"]["pattern"], name)


async def test_a_server_has_it(site: Site) -> None:
    async with site.client.get("/api/v1/openapi.json") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert await response.read() == FILE.read_bytes()


async def test_an_event_of_a_live_stream_is_what_it_says(site: Site) -> None:
    job_id = await submitted(site, 3, odd=(1,))
    site.engine.work(job_id)
    for path, query in (
        (f"/api/v1/jobs/{job_id}/events", {}),
        ("/api/v1/events", {"last_event_id": "0"}),
    ):
        said = OPERATIONS["GET", path.replace(job_id, "{job_id}")]["responses"]["200"]
        schema = said["content"]["text/event-stream"]["x-item-schema"]
        data = validator(schema["properties"]["data"]["contentSchema"])
        async with (
            asyncio.timeout(10),
            site.client.get(path, params=query, headers=SSE) as response,
        ):
            seen = b""
            while b"event: job.finished" not in seen or not seen.endswith(b"\n\n"):
                seen += await response.content.readany()
        events = [block for block in seen.decode().split("\n\n") if "data: " in block]
        assert len(events) > 2
        for event in events:
            fields = dict(line.split(": ", 1) for line in event.splitlines())
            validator(schema).validate(fields)
            data.validate(orjson.loads(fields["data"]))


# -- what is in it ----------------------------------------------------------------


def test_each_has_examples_and_they_are_valid() -> None:
    for said in OPERATIONS.values():
        for status, answer in said["responses"].items():
            for kind, content in resolved(answer).get("content", {}).items():
                examples = content.get("examples", {})
                assert examples or "example" in content, f"{said['operationId']}: {status}, {kind}"
                for example in examples.values():
                    validator(content["schema"]).validate(resolved(example)["value"])
        for kind, content in said.get("requestBody", {}).get("content", {}).items():
            assert content["examples"], f"{said['operationId']}: {kind}"
            for example in content["examples"].values():
                validator(content["schema"]).validate(example["value"])
        for parameter in said.get("parameters", ()):
            if "example" in parameter:
                validator(parameter["schema"]).validate(parameter["example"])


def test_links_lead_to_operations_with_their_places() -> None:
    by_name = {said["operationId"]: said for said in OPERATIONS.values()}
    assert len(by_name) == len(OPERATIONS)
    linked = 0
    for said in OPERATIONS.values():
        for answer in said["responses"].values():
            for link in resolved(answer).get("links", {}).values():
                target = by_name[link["operationId"]]
                places = {each["name"] for each in target["parameters"] if each["in"] == "path"}
                assert set(link["parameters"]) == places
                linked += 1
    assert linked > 30


def test_permissions_are_those_of_the_rules() -> None:
    for route in SPOKEN:
        said = OPERATIONS[route.method, template(route.path)]
        permission = route.rule.permission
        assert said["x-permissions"]["needed"] == permission
        assert set(said["x-permissions"]["besides"]) == route.rule.also
        asked = [] if permission is None else [permission]
        assert said["security"][:1] == ([{"bearer": asked}] if route.rule.known else [])


def test_every_code_is_a_refusal_of_some_route() -> None:
    told = set(DOCUMENT["components"]["examples"])
    # Of these no operation can tell: there is none, or it is refused before it is known, or
    # messages are answered so, over a WebSocket.
    assert set(catalogue()) - told == {
        "already_authenticated",
        "already_subscribed",
        "not_subscribed",
        "too_many_topics",
        "expectation_failed",
        "forbidden",
        "method_not_allowed",
        "unsupported_version",
    }


def test_what_makes_a_job_is_all_that_a_job_is_made_of() -> None:
    assert set(SPOKEN_OF_ELSEWHERE) == {"steps", "parent"}


def test_an_answer_may_lack_what_a_body_may_lack_and_is_given_back_as_it_was() -> None:
    rule = DOCUMENT["components"]["schemas"]["ValidationRule"]["properties"]["definition"]
    for definition in (
        {"kind": "range", "field": "start_char", "maximum": 7},
        {"kind": "regex", "field": "label", "pattern": "x"},
    ):
        validator(rule).validate(definition)
        with pytest.raises(jsonschema.ValidationError):
            validator(rule).validate({**definition, "field": None})


def test_fields_are_those_of_the_answers() -> None:
    assert set(OF_LISTED) == set(answers.ListedJob.model_fields)
    assert set(OF_JOB) == set(answers.Job.model_fields)
    assert set(OF_ITEM) == set(answers.Item.model_fields)


# -- and true ---------------------------------------------------------------------


def _queried(said: dict[str, Any]) -> set[str]:
    return {each["name"] for each in said.get("parameters", ()) if each["in"] == "query"}


@pytest.fixture
async def shop(data_dir: Path) -> AsyncIterator[Shop]:
    """An engine whose callers prove who they are."""

    def start() -> Any:
        return embedded(Settings(data_dir=data_dir), REGISTRY)

    async with Shop(start, callers=lambda engine: proven(engine.database)) as served:
        yield served


async def _known(shop: Shop, said: dict[str, Any], route: Route) -> set[str]:
    """The parameters that a route takes, as it says to who sends another one."""
    known: set[str] = set()
    for asked in requests(route, IDS):
        if asked.headers.get("Accept") == "text/event-stream":
            known.add("last_event_id")
            continue
        odd = replace(asked, query={**asked.query, "nobody_knows": "1"})
        status, body = await _ask(shop, said, odd)
        detail = orjson.loads(body)["detail"]
        found = re.fullmatch(r"there is no parameter 'nobody_knows' here; possible: (.*)", detail)
        assert (status, found is not None) == (400, True), f"{asked}: {detail}"
        known |= set(found[1].split(", ")) - {"none"} if found else set()
    if {"ticket": []} in said["security"]:
        known.discard("ticket")
    return known


async def test_parameters_are_those_that_are_taken(shop: Shop) -> None:
    for route in CLOSED:
        said = OPERATIONS[route.method, template(route.path)]
        queried = {each["name"] for each in said.get("parameters", ()) if each["in"] == "query"}
        assert await _known(shop, said, route) == queried, said["operationId"]


async def _ask(shop: Shop, said: dict[str, Any], asked: Request) -> tuple[int, bytes]:
    """An answer that is as the document says, or is for a parameter that is not there."""
    given: dict[str, Any] = {"headers": {**OURS, **asked.headers}, "params": asked.query}
    if isinstance(asked.body, bytes):
        given["data"] = asked.body
        given["headers"].setdefault("Content-Type", "application/x-ndjson")
    elif asked.body is not None:
        given["json"] = asked.body
    async with shop.client.request(asked.method, asked.path, **given) as response:
        kind = response.headers.get("Content-Type", "")
        live = kind.startswith("text/event-stream")
        body = b"" if live else await response.read()
        check(said, response.status, kind, body)
        response.close()
        return response.status, body


async def test_every_route_answers_as_is_said(shop: Shop) -> None:
    """All that can be asked, of jobs in each state, and of what is not there."""
    ours = await _ours(shop)
    answered: set[tuple[str, int]] = set()
    # What is asked first changes nothing, so that there is something to be told of.
    for route in sorted(SPOKEN, key=lambda route: METHODS.index(route.method)):
        said = OPERATIONS[route.method, template(route.path)]
        for ids in (*ours.values(), IDS):
            for asked in requests(route, {**IDS, **ids, "TENANT": "*"}):
                status, _ = await _ask(shop, said, asked)
                answered.add((said["operationId"], status))
    well = {name for name, status in answered if status < 400}
    missing = {told.name for told in TOLD.values()} - well
    # Commands that the jobs of before leave nothing to do for are answered as others are.
    commands = {told.name for told in TOLD.values() if told.tag in ("Submit", "Control")}
    commands.add("cancelOperation")
    # A WebSocket is opened by no request like these, and what others refer to is not deleted.
    referred = {"deleteProject", "deleteText", "deleteLabel", "deleteImage"}
    sockets = {"openWebSocket", "openOperationsWebSocket"}
    # A project has its thresholds, and no second ones.
    single = {"createValidationThreshold"}
    assert missing < commands | referred | sockets | single, missing
    assert "submitJob" in well
