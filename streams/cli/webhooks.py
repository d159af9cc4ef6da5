"""Webhook verbs: where events are sent, and what has come of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from streams.cli.options import DEFAULT_URL, FLAG, AsJson, Url
from streams.cli.output import emit, plain, say
from streams.cli.secret_holders import Holders, Overlap, asked

app = typer.Typer(help="Have events sent to addresses, signed.", no_args_is_help=True)

PAGE = 50

WebhookId = Annotated[
    str, typer.Argument(metavar="WEBHOOK", help="The webhook's id.", show_default=False)
]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event", help="As job.finished; * is all. May be given several times.", show_default=False
    ),
]
Operations = Annotated[
    list[str] | None,
    typer.Option(
        "--operation",
        metavar="KIND",
        help="Only of jobs of an operation, or of annotations.*. May be given several times.",
        show_default=False,
    ),
]
Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        help="Only of jobs with this tag. May be given several times.",
        show_default=False,
    ),
]
Jobs = Annotated[
    list[str] | None,
    typer.Option("--job", help="Only of this job. May be given several times.", show_default=False),
]
Description = Annotated[str | None, typer.Option("--description", help="What it is for.")]
Limit = Annotated[int, typer.Option(min=1, max=500, help="How many a page has.")]
Cursor = Annotated[str, typer.Option(help="Where the page before this one ended.")]


@app.command()
def create(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="As https://HOST/PATH.")],
    *,
    event: Events = None,
    operation: Operations = None,
    tag: Tags = None,
    job: Jobs = None,
    description: Description = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Have events sent to an address from now on, and print the secret that signs them.

    The secret is never shown again. Without --event the ends of jobs are sent.

    \b
    Examples:
      countermand webhook create https://example.org/hook
      countermand webhook create https://example.org/hook --event '*' --operation 'annotations.*'
    """
    wanted = {"url": address, **_filter(event or ["job.finished"], operation, tag, job)}
    wanted |= {} if description is None else {"description": description}
    _WEBHOOKS.create(url, wanted, as_json=as_json)


@app.command("list")
def list_(
    *,
    limit: Limit = PAGE,
    cursor: Cursor = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List the tenant's webhooks, the oldest first.

    \b
    Example:
      countermand webhook list
    """
    _page(url, _WEBHOOKS.path, limit, cursor, _line, as_json=as_json)


@app.command()
def show(webhook: WebhookId, *, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show a webhook.

    \b
    Example:
      countermand webhook show 0192f7a1...
    """
    found = asked(url, "GET", _WEBHOOKS.at(webhook))
    emit(found) if as_json else print(plain(_line(found)))


@app.command()
def change(  # noqa: PLR0913 - an option for each thing that can differ
    webhook: WebhookId,
    *,
    address: Annotated[
        str | None, typer.Option(help="Another address.", show_default=False)
    ] = None,
    event: Events = None,
    operation: Operations = None,
    tag: Tags = None,
    job: Jobs = None,
    description: Description = None,
    enabled: Annotated[
        bool | None,
        typer.Option(
            "--enable/--disable",
            metavar=FLAG,
            help="Send again, from now on; or send no more, and give up what waits.",
            show_default=False,
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Have a webhook go elsewhere, be sent other events, or none for a while.

    \b
    Examples:
      countermand webhook change 0192f7a1... --event job.finished --event job.cancelled
      countermand webhook change 0192f7a1... --enable
    """
    wanted: dict[str, Any] = _filter(event, operation, tag, job)
    wanted |= {} if address is None else {"url": address}
    wanted |= {} if description is None else {"description": description}
    wanted |= {} if enabled is None else {"enabled": enabled}
    changed = asked(url, "PATCH", _WEBHOOKS.at(webhook), wanted)
    emit(changed) if as_json else say(plain(_line(changed)))


@app.command()
def rotate(
    webhook: WebhookId,
    *,
    overlap: Overlap = 24.0,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Give a webhook another secret, and print it: it is never shown again.

    \b
    Example:
      countermand webhook rotate 0192f7a1... --overlap 48
    """
    _WEBHOOKS.rotate(url, webhook, overlap, as_json=as_json)


@app.command()
def delete(webhook: WebhookId, *, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Send nothing there any more, and forget what was sent.

    \b
    Example:
      countermand webhook delete 0192f7a1...
    """
    gone = asked(url, "DELETE", _WEBHOOKS.at(webhook))
    emit(gone) if as_json else say(f"nothing is sent to {webhook} any more")


@app.command()
def deliveries(
    webhook: WebhookId,
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="Only those that are waiting, delivered or dead. May be given several times.",
            show_default=False,
        ),
    ] = None,
    limit: Limit = PAGE,
    cursor: Cursor = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List what is, or was, on the way to a webhook, the latest first.

    \b
    Example:
      countermand webhook deliveries 0192f7a1... --state dead
    """
    more: list[tuple[str, str | int]] = [("state", one) for one in state or []]
    path = _WEBHOOKS.at(webhook, "deliveries")
    _page(url, path, limit, cursor, _delivery, more, as_json=as_json)


@app.command()
def attempts(
    webhook: WebhookId,
    *,
    limit: Limit = PAGE,
    cursor: Cursor = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List the attempts at a webhook's deliveries, the latest first.

    \b
    Example:
      countermand webhook attempts 0192f7a1...
    """
    _page(url, _WEBHOOKS.at(webhook, "attempts"), limit, cursor, _attempt, as_json=as_json)


@app.command()
def replay(
    webhook: WebhookId,
    *,
    position: Annotated[
        list[int] | None,
        typer.Option(
            help="Only this one, by its place in the log. May be given several times.",
            show_default=False,
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Send again what was given up: the dead deliveries, all of them or some.

    The oldest first, as many as there is room for: repeat it for the rest.

    \b
    Example:
      countermand webhook replay 0192f7a1...
    """
    body = {"positions": position} if position else {}
    done = asked(url, "POST", _WEBHOOKS.at(webhook, "replay"), body)
    emit(done) if as_json else say(f"{done['replayed']} are sent again")


def _page(
    url: str,
    path: str,
    limit: int,
    cursor: str,
    line: Any,
    more: list[tuple[str, str | int]] | None = None,
    *,
    as_json: bool,
) -> None:
    from streams.cli.session import talk

    query: list[tuple[str, str | int]] = [("limit", limit), *(more or [])]
    query += [("cursor", cursor)] if cursor else []
    found = talk(url, lambda client: client.get(path, query))
    if as_json:
        emit(found)
        return
    for one in found["items"]:
        print(plain(line(one)))
    if found["next_cursor"]:
        say(f"there are more: --cursor {found['next_cursor']}")


def _filter(
    events: list[str] | None,
    operations: list[str] | None,
    tags: list[str] | None,
    jobs: list[str] | None,
) -> dict[str, Any]:
    said = {"events": events, "operations": operations, "tags": tags, "jobs": jobs}
    return {name: value for name, value in said.items() if value}


def _line(one: dict[str, Any]) -> str:
    state = "enabled" if one["enabled"] else f"disabled ({one['disabled']})"
    failing = f", failing since {one['failing_since']}" if one["failing_since"] else ""
    events = ",".join(one["events"])
    return f"{one['webhook_id']}  {one['url']}  {events}  {state}{failing}"


_WEBHOOKS = Holders("/api/v1/webhooks", "secret", _line)


def _delivery(one: dict[str, Any]) -> str:
    told = one["error"] or (f"answered {one['status']}" if one["status"] else "not sent yet")
    due = f", due {one['due']}" if one["due"] else ""
    place = f"{one['position']}  {one['event']}  {one['job_id']}"
    return f"{place}  {one['state']}  {one['attempts']} attempts, {told}{due}"


def _attempt(one: dict[str, Any]) -> str:
    told = one["error"] or f"answered {one['status']}"
    return f"{one['at']}  {one['position']}  attempt {one['number']}  {told}"
