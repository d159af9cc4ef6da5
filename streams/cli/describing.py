"""Describing: what others need to know to speak to the engine, over Kafka and over HTTP."""

from __future__ import annotations

import runpy
import sys
from typing import Annotated

import typer

from streams.cli.output import pipe_may_close


def asyncapi(
    *,
    server: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="A broker to name in it; repeat it for more."),
    ] = None,
) -> None:
    """Print the AsyncAPI document of all topics, with the JSON Schemas of their messages.

    \b
    Examples:
      countermand asyncapi > asyncapi.json
      countermand asyncapi --server kafka-1.example.org:9092
    """
    from streams.asyncapi import describe, text

    with pipe_may_close():
        sys.stdout.write(text(describe(server or [])).decode())


def openapi() -> None:
    """Print the OpenAPI document of the HTTP API, as a server has it at /api/v1/openapi.json.

    \b
    Example:
      countermand openapi > openapi.json
    """
    with pipe_may_close():
        # By its name, as the server itself is started: the edge is above the command line.
        runpy.run_module("api.openapi", run_name="__main__")
