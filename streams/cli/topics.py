"""Topics verbs: they speak to Kafka itself, not to the server."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from streams import defaults
from streams.cli import redriving
from streams.cli.exits import FAILED
from streams.cli.options import AsJson
from streams.cli.output import emit, say
from streams.cli.scaling import Broker

if TYPE_CHECKING:
    from streams.broker_address import BrokerAddress

T = TypeVar("T")

app = typer.Typer(help="Look after the topics of Kafka.", no_args_is_help=True)


@app.command()
def create(
    *,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Of each topic: the most workers that share one.",
            show_default=f"as many as those that are there, or {defaults.PARTITIONS}",
        ),
    ] = None,
    replication: Annotated[
        int | None,
        typer.Option(
            min=1, max=10, help="Brokers that keep each message.", show_default="3, or all"
        ),
    ] = None,
    broker: Broker = None,
    as_json: AsJson = False,
) -> None:
    """Make the topics that are missing; those that are there stay as they are.

    \b
    Examples:
      countermand topics create
      countermand topics create --partitions 12
    """
    from streams.transport.kafka import admin

    made = _asked(
        broker,
        lambda address, topics: admin.create(
            address, topics, partitions=partitions, replication=replication
        ),
    )
    if as_json:
        emit({"created": made})
    else:
        say(f"created: {', '.join(made)}" if made else "all topics are there")


@app.command()
def check(*, broker: Broker = None, as_json: AsJson = False) -> None:
    """Look whether all topics are there, with the same number of partitions.

    Exit code 1 when something is wrong; what is said names the command that mends it. Also
    says which of them fewer brokers keep than could, and which configs may cost messages.

    \b
    Example:
      countermand topics check --broker kafka://127.0.0.1:9092
    """
    from streams.transport.kafka import admin, configs

    states, found = _asked(broker, admin.look), _asked(broker, admin.configured)
    faults = [*admin.faults(states), *configs.losing(found)]
    notes = [*admin.thin(states), *configs.doubtful(found, admin.kept_by(states))]
    if as_json:
        topics = [
            {"topic": each.topic, "partitions": each.partitions, "replicas": each.replicas}
            for each in states
        ]
        emit({"topics": topics, "faults": faults, "notes": notes})
    else:
        for state in states:
            shown = f"{state.partitions}, kept by {state.replicas}"
            print(f"{state.topic}  {shown if state.partitions else 'missing'}")
        for words in (*faults, *notes):
            say(words)
    raise typer.Exit(FAILED if faults else 0)


@app.command()
def grow(
    *,
    partitions: Annotated[int, typer.Option(min=1, max=1000, help="Of each topic, from now on.")],
    broker: Broker = None,
    as_json: AsJson = False,
) -> None:
    """Give the topics more partitions, for more workers and coordinators.

    Jobs may run meanwhile: where a message goes is no part of what is true. The
    processes see the new partitions within 15 seconds and share them out.

    \b
    Example:
      countermand topics grow --partitions 24
    """
    from streams.transport.kafka import admin

    grown = _asked(
        broker, lambda address, topics: admin.grow(address, topics, partitions=partitions)
    )
    if as_json:
        emit({"grown": grown, "partitions": partitions})
    else:
        say(f"grown to {partitions}: {', '.join(grown)}" if grown else "all have that many")


app.command()(redriving.letters)
app.command()(redriving.redrive)


def _asked(broker: str | None, work: Callable[[BrokerAddress, list[str]], Awaitable[T]]) -> T:
    import asyncio

    from domain.errors import SettingsInvalid
    from streams.bootstrap import installed_operations
    from streams.settings import load
    from streams.topology import all_topics

    # What Kafka's client logs of each attempt, the error at the end says in a sentence.
    logging.getLogger().addHandler(logging.NullHandler())
    address = load(broker=broker).broker_address
    if not address.is_kafka:
        raise SettingsInvalid(
            "the embedded broker makes its topics itself; name Kafka by --broker or "
            "COUNTERMAND_BROKER: kafka://HOST:PORT"
        )

    async def asked() -> T:
        return await work(address, all_topics(installed_operations().systems))

    return asyncio.run(asked())
