"""Retention verbs: after how long jobs at rest are shredded and put away, by whose word."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from domain.errors import InvalidCommand
from streams.cli.options import DEFAULT_URL, FLAG, AsJson, Reason, Url
from streams.cli.output import emit, say

app = typer.Typer(help="How long jobs at rest are kept.", no_args_is_help=True)

PAGE = 50
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_AGE = re.compile(r"(?P<number>[0-9]{1,9}(\.[0-9]{1,3})?)(?P<unit>[smhdwy])")

Kind = Annotated[
    str,
    typer.Argument(
        metavar="KIND",
        help="An operation, a prefix as annotations.*, or * for all.",
        show_default=False,
    ),
]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose jobs; * are everybody's.")]


@app.command("list")
def show(*, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show the rules; of those about a job the one that names it most closely governs it.

    \b
    Example:
      countermand retention list
    """
    from streams.cli.session import talk

    found = talk(url, lambda client: client.get("/api/v1/retention"))
    if as_json:
        emit(found)
        return
    from streams.cli.render import console
    from streams.cli.retention_tables import rule_table

    console().print(rule_table(found["items"]))
    say("what no rule is about is kept for ever")


@app.command("set")
def set_rule(
    kind: Kind,
    *,
    shred_after: Annotated[
        str,
        typer.Option(metavar="AGE", help="Items are shredded then, as 90d.", show_default=False),
    ] = "",
    archive_after: Annotated[
        str,
        typer.Option(metavar="AGE", help="The job is archived then, as 2y.", show_default=False),
    ] = "",
    keep: Annotated[
        bool, typer.Option("--keep", metavar=FLAG, help="Neither, ever, whatever others say.")
    ] = False,
    tenant: Tenant = "*",
    reason: Reason = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Say after how long at rest the items of jobs are shredded, and the jobs archived.

    Ages are written as 30s, 15m, 12h, 90d, 6w or 2y. A held job is let alone. A rule
    replaces the one for the same tenant and kind.

    \b
    Examples:
      countermand retention set '*' --archive-after 1y
      countermand retention set 'annotations.*' --shred-after 90d --archive-after 2y
      countermand retention set annotations.import --keep --tenant local --reason "case 17"
    """
    from streams.cli.session import talk

    ages = {"shred_after": shred_after, "archive_after": archive_after}
    said: dict[str, Any] = {"tenant": tenant, "kind": kind}
    said |= {n: age_of(f"--{n.replace('_', '-')}", age) for n, age in ages.items() if age}
    said |= {"keep": True} if keep else {}
    said |= {"reason": reason} if reason else {}
    rule = talk(url, lambda client: client.set_rule(said))
    if as_json:
        emit(rule)
        return
    from streams.cli.retention_tables import sentence

    say(sentence(rule))


@app.command()
def remove(
    kind: Kind,
    *,
    tenant: Tenant = "*",
    reason: Reason = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Remove a rule; what no other is about is kept for ever.

    \b
    Example:
      countermand retention remove 'annotations.*' --reason "see the new policy"
    """
    from streams.cli.session import talk

    gone = talk(url, lambda client: client.remove_rule(tenant, kind, reason))
    emit(gone) if as_json else say(f"there is no rule for {kind} of tenant {tenant} any more")


@app.command()
def changes(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Changes a page.")] = PAGE,
    cursor: Annotated[str, typer.Option(help="Where the page before this one ended.")] = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show who has set and removed which rules, the latest first.

    \b
    Example:
      countermand retention changes
    """
    from streams.cli.session import talk

    query: list[tuple[str, str | int]] = [("limit", limit)]
    query += [("cursor", cursor)] if cursor else []
    page = talk(url, lambda client: client.get("/api/v1/retention/changes", query))
    if as_json:
        emit(page)
        return
    from streams.cli.render import console
    from streams.cli.retention_tables import change_table

    console().print(change_table(page["items"]))
    if page["next_cursor"]:
        say(f"there are more: --cursor {page['next_cursor']}")


def age_of(option: str, text: str) -> float:
    """The seconds that an option gives; raises InvalidCommand."""
    found = _AGE.fullmatch(text)
    if found is None:
        raise InvalidCommand(f"{option} {text}: write it as 30s, 15m, 12h, 90d, 6w or 2y")
    return float(found["number"]) * _UNITS[found["unit"]]
