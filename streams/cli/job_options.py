"""Job options: what the command line says of a job, read into what a submit takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from domain.errors import InvalidCommand
from streams.cli.options import STANDARD_INPUT

LONGEST_QUERY = 4000
"""Half of what the server takes in the first line of a request: proxies may take less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A job without its items, as the command line says it."""

    operation: str
    priority: int
    name: str
    tags: Sequence[str]
    params: Mapping[str, Any]
    options: Mapping[str, Any]

    def query(self) -> list[tuple[str, str | int]]:
        """What goes before items that are streamed; what says nothing is left out."""
        said: list[tuple[str, str | int]] = [("operation", self.operation)]
        said += [("priority", self.priority)]
        said += [("name", self.name)] if self.name else []
        said += [("options", json.dumps(self.options))] if self.options else []
        said += [("tag", tag) for tag in self.tags]
        return said + ([("params", json.dumps(self.params))] if self.params else [])

    def fits_a_query(self) -> bool:
        """Whether an address may hold that; what is more goes in a body."""
        try:
            return len(urlencode(self.query())) <= LONGEST_QUERY
        except UnicodeEncodeError as error:
            raise InvalidCommand(f"the name or a tag of the job is no text ({error})") from None

    def document(self) -> dict[str, Any]:
        """The body of a job without items."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def require_one_source(file: str, *, take: bool, draft: bool, watch: bool) -> None:
    """Raise InvalidCommand for items from two places, or a watch of what does not begin."""
    if take and file != STANDARD_INPUT:
        raise InvalidCommand(
            f"--take makes the items of another job's results; leave {file} or --take out"
        )
    if take and draft:
        raise InvalidCommand(
            "--take makes the items of another job's results; leave --draft or --take out"
        )
    if draft and watch:
        raise InvalidCommand("a draft begins with its seal; watch that: countermand seal --watch")


def moment_of(option: str, text: str) -> str:
    """The moment that an option gives, with its zone; by this machine's clock when it says none.

    Empty when the option was not given.
    """
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.astimezone()).isoformat()
    except ValueError:
        raise InvalidCommand(f"{option} {text}: write it as 2026-12-24T18:00") from None
    except OverflowError:
        raise InvalidCommand(
            f"{option} {text}: no clock shows that; to have none, leave {option} out"
        ) from None


def read_json(option: str, text: str) -> Any:
    """The JSON value that an option gives."""
    try:
        return json.loads(text)
    except RecursionError:
        raise InvalidCommand(f"{option} nests too deeply") from None
    except ValueError as error:
        raise InvalidCommand(f"{option} is no JSON ({error})") from None


def read_options(whole: str, single: Mapping[str, Any]) -> dict[str, Any]:
    """The options of ``--options``, with those that have a flag of their own.

    ``single`` has those by name; None, False and what is empty was not given. Raises
    InvalidCommand for one that is said in both ways.
    """
    options = read_json("--options", whole) if whole else {}
    if not isinstance(options, dict):
        raise InvalidCommand('--options must be an object, as {"tolerate": [{"failed": 10}]}')
    given = {name: value for name, value in single.items() if was_given(value)}
    twice = options.keys() & given.keys()
    if twice:
        name = min(twice)
        raise InvalidCommand(f"{name} is said twice; say it in --options, or by its own option")
    return options | given


def was_given(value: Any) -> bool:
    """Whether an option was given; zero is a value, for the server to judge."""
    return value is not None and value is not False and value not in ("", [], {})


def with_attempts(options: dict[str, Any], attempts: int | None) -> dict[str, Any]:
    """Options with what ``--attempts`` says, beside what is said of retries otherwise."""
    if attempts is None:
        return options
    retry = options.get("retry") or {}
    if not isinstance(retry, dict) or "attempts" in retry:
        raise InvalidCommand("attempts is said twice; say it in --options, or by --attempts")
    return {**options, "retry": {**retry, "attempts": attempts}}


def read_after(after: Sequence[str], take: Sequence[str]) -> list[dict[str, Any]]:
    """The option ``after``: who comes before, and what is taken from the first of them."""
    named: list[dict[str, Any]] = []
    for word in after:
        job_id, _, end = word.partition(":")
        named.append({"job_id": job_id} | ({"end": end} if end else {}))
    if not take:
        return named
    if not named:
        raise InvalidCommand("--take is from the results of a job; name it with --after")
    pairs = [pair.partition("=") for pair in take]
    for field, _, of in pairs:
        if not (field and of):
            raise InvalidCommand("--take: write FIELD=FIELD, of the item and of the result")
    named[0]["consume"] = {field: of for field, _, of in pairs}
    return named


def read_params(whole: str, single: Sequence[str]) -> dict[str, Any]:
    """Parameters of ``--params`` and ``--param``, the latter over the former."""
    parameters = read_json("--params", whole) if whole else {}
    if not isinstance(parameters, dict):
        raise InvalidCommand('--params must be an object, as {"project_id": 1}')
    for pair in single:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise InvalidCommand(f"--param {pair}: write it as KEY=VALUE")
        try:
            parameters[name] = json.loads(value)
        except RecursionError:
            raise InvalidCommand(f"--param {name} nests too deeply") from None
        except ValueError:
            parameters[name] = value
    return parameters
