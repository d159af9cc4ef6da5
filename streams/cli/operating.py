"""Operating verbs: workers and weights. What an installation consists of, and how it is shared."""

from __future__ import annotations

from typing import Annotated

import typer

from domain.errors import InvalidCommand
from streams.cli.job_options import was_given
from streams.cli.options import DEFAULT_URL, AsJson, Url
from streams.cli.output import emit, plain, say


def workers(*, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the workers that are alive, with their processor time and memory.

    \b
    Example:
      countermand workers
    """
    from streams.cli.session import talk

    found = talk(url, lambda client: client.get("/api/v1/workers"))
    if as_json:
        emit(found)
        return
    from streams.cli.render import console, worker_table

    console().print(worker_table(found["items"]))


def limits(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="provider:NAME or queue:SYSTEM, to change it.", show_default=False
        ),
    ] = "",
    *,
    rate: Annotated[
        float | None, typer.Option(help="Items a second, over all jobs.", show_default=False)
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Calls at once, over all jobs.", show_default=False)
    ] = None,
    lift: Annotated[
        list[str] | None,
        typer.Option(help="rate or concurrency; may be repeated.", show_default=False),
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show what all jobs together may ask of a provider or have in a queue, or change one of them.

    \b
    Examples:
      countermand limits
      countermand limits provider:openai --rate 10 --concurrency 4
      countermand limits queue:annotations --lift rate
    """
    from streams.cli.session import talk

    said = {"rate": rate, "concurrency": concurrency, "lift": lift}
    wanted = {key: value for key, value in said.items() if was_given(value)}
    if wanted and not name:
        raise InvalidCommand("say whose, as in: countermand limits provider:openai --rate 10")
    if name:
        found = [talk(url, lambda client: client.limit(name, wanted))]
    else:
        found = talk(url, lambda client: client.get("/api/v1/limits"))["items"]
    if as_json:
        emit(found[0] if name else {"items": found})
        return
    from streams.cli.render import console, limit_table

    console().print(limit_table(found))


def weights(
    tenant: Annotated[
        str, typer.Argument(metavar="TENANT", help="Whose share is changed.", show_default=False)
    ] = "",
    weight: Annotated[
        float | None, typer.Argument(metavar="WEIGHT", help="Its share; others have 1.")
    ] = None,
    *,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show the shares of tenants where they compete for workers, or give one another share.

    \b
    Examples:
      countermand weights
      countermand weights shop 3         three times as much as any other
    """
    from streams.cli.session import talk

    if tenant:
        if weight is None:
            raise InvalidCommand("say the share as well, as in: countermand weights shop 3")
        changed = talk(url, lambda client: client.weigh(tenant, weight))
        emit(changed) if as_json else say(f"{tenant} has {changed['weight']:g}")
        return
    found = talk(url, lambda client: client.get("/api/v1/tenants"))
    if as_json:
        emit(found)
        return
    for share in found["items"]:
        print(plain(f"{share['tenant']}  {share['weight']:g}"))
    say("all others have 1")
