"""Scaling: the parts of the server as processes of their own, over Kafka and PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from streams import defaults
from streams.cli.options import FLAG, AsJson, DatabaseUrl
from streams.roles import Role

Broker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        help="Kafka's address, kafka://HOST:PORT,HOST:PORT (COUNTERMAND_BROKER).",
        show_default=False,
    ),
]
Host = Annotated[
    str | None,
    typer.Option(help="Address to listen on.", show_default=defaults.HOST),
]
HealthPort = Annotated[
    int,
    typer.Option("--port", min=0, max=65535, help="Port of /health and /metrics; 0 takes a free."),
]
Instance = Annotated[
    str | None,
    typer.Option(
        "--instance",
        help="Names this process among those of its kind; keep it over restarts "
        "(COUNTERMAND_INSTANCE).",
        show_default="host and process",
    ),
]
HeadsDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Directory for the signed heads and their key; of those that share one, one signs "
        "(COUNTERMAND_DATA_DIR).",
        show_default=f"./{defaults.DATA_DIR}",
    ),
]
EndWithInput = Annotated[
    bool,
    typer.Option("--end-with-input", metavar=FLAG, help="Stop when standard input ends."),
]


def api(
    *,
    database: DatabaseUrl = None,
    broker: Broker = None,
    host: Host = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535)] = None,
    end_with_input: EndWithInput = False,
    as_json: AsJson = False,
) -> None:
    """Serve the API of a scaled installation.

    Any number of them; each answers for all jobs. Decisions are a coordinator's and
    work is a worker's: without them commands wait, and their senders are told so.

    \b
    Example:
      export COUNTERMAND_BROKER=kafka://127.0.0.1:9092
      export COUNTERMAND_DATABASE=postgresql://countermand@127.0.0.1/countermand
      countermand api --port 8080
    """
    _run(
        Role.API,
        as_json=as_json,
        end_with_input=end_with_input,
        database=database,
        broker=broker,
        host=host,
        port=port,
    )


def coordinator(
    *,
    database: DatabaseUrl = None,
    broker: Broker = None,
    instance: Instance = None,
    data_dir: HeadsDir = None,
    host: Host = None,
    port: HealthPort = 0,
    end_with_input: EndWithInput = False,
    as_json: AsJson = False,
) -> None:
    """Decide on commands; run two or more, so that one may die.

    They share the partitions of the commands topic. One of them at a time also
    publishes events, keeps the list of jobs, and finds what was lost. Each signs
    what all of them commit, for `countermand audit verify`.

    \b
    Example:
      countermand coordinator --instance coordinator-1 --data-dir ./heads-1
    """
    _run(
        Role.COORDINATOR,
        as_json=as_json,
        end_with_input=end_with_input,
        database=database,
        broker=broker,
        instance=instance,
        data_dir=data_dir,
        host=host,
        port=port,
    )


def worker(  # noqa: PLR0913 - its options, by name
    *,
    systems: Annotated[
        str | None,
        typer.Option(help="Whose work to take, with commas between.", show_default="all installed"),
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Messages handled at a time.", show_default=str(defaults.SLOTS)
        ),
    ] = None,
    database: DatabaseUrl = None,
    broker: Broker = None,
    instance: Instance = None,
    host: Host = None,
    port: HealthPort = 0,
    worker_memory: Annotated[
        int | None,
        typer.Option(
            help="MiB above which the process is started anew.",
            show_default=str(defaults.WORKER_MEMORY),
        ),
    ] = None,
    end_with_input: EndWithInput = False,
    as_json: AsJson = False,
) -> None:
    """Work the chunks of jobs; as many processes as there are partitions may share them.

    \b
    Example:
      countermand worker --systems annotations --slots 2 --instance worker-1
    """
    _run(
        Role.WORKER,
        as_json=as_json,
        end_with_input=end_with_input,
        systems=systems,
        slots=slots,
        database=database,
        broker=broker,
        instance=instance,
        host=host,
        port=port,
        worker_memory=worker_memory,
    )


def _run(role: Role, *, as_json: bool, end_with_input: bool, **options: Any) -> None:
    from streams.cli.supervising import supervise
    from streams.settings import load

    settings = load(**options)
    raise typer.Exit(supervise(settings, role, as_json=as_json, end_with_input=end_with_input))
