"""Selecting: a job on the records that a filter matches."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from streams.cli.job_options import read_json, read_options, read_params
from streams.cli.options import DEFAULT_URL, FLAG, AsJson, Url, Watch
from streams.cli.submit import report


def select(  # noqa: PLR0913 - the options of a command
    operation: Annotated[str, typer.Argument(metavar="OPERATION", show_default=False)],
    table: Annotated[str, typer.Argument(metavar="TABLE", show_default=False)],
    *,
    where: Annotated[
        str, typer.Option(help="A condition as JSON; all records when left out.")
    ] = "",
    each: Annotated[str, typer.Option(help="JSON object that each item says as well.")] = "",
    confirm: Annotated[
        str,
        typer.Option(metavar="all|none", help="All records may match, or none; refused else."),
    ] = "",
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="KEY=VALUE; JSON, else text.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar=FLAG, help="Say what would happen.")
    ] = False,
    options: Annotated[str, typer.Option(help="More options as a JSON object.")] = "",
    key: Annotated[str, typer.Option(help="Idempotency key.")] = "",
    watch: Watch = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Submit a job on the records that a filter matches now; `items --format items` lists them.

    \b
    Examples:
      countermand select annotations.delete_labels labels --dry-run \\
        --where '{"op": "equals", "column": "project_id", "value": 7}'
      countermand select shop.update_prices prices --each '{"currency": "EUR"}' \\
        --where '{"op": "in", "column": "country", "values": ["de", "fr"]}'
    """
    from streams.cli.session import talk

    selection: dict[str, Any] = {"table": table}
    selection |= {"where": read_json("--where", where)} if where else {}
    selection |= {"each": read_json("--each", each)} if each else {}
    selection |= {"confirm": confirm} if confirm else {}
    body: dict[str, Any] = {"operation": operation, "select": selection}
    more = read_options(options, {"dry_run": dry_run})
    body |= {"options": more} if more else {}
    params = read_params("", param or ())
    body |= {"params": params} if params else {}
    job = talk(url, lambda client: client.submit_document(body, key=key))
    report(job, url, watch=watch, as_json=as_json)
