"""Describing: what others need to know to speak to the engine over Kafka."""

from __future__ import annotations

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
