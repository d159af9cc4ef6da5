"""Key verbs: how services say who they are. They speak to the server, as somebody who may."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from streams.cli.options import DEFAULT_URL, AsJson, Url
from streams.cli.output import emit, plain, say
from streams.cli.secret_holders import Holders, Overlap, asked

KeyId = Annotated[str, typer.Argument(metavar="KEY", help="The key's id.", show_default=False)]

app = typer.Typer(help="Make and revoke the keys of services.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The service; it is in the audit trail as key:NAME."),
    ],
    *,
    role: Annotated[
        list[str],
        typer.Option(
            help="A role or a permission; of one project: editor@letters. May be repeated.",
            show_default=False,
        ),
    ],
    days: Annotated[
        float | None, typer.Option(min=0.01, max=3650, help="It ends after so many days.")
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it: it is never shown again.

    Nobody can give what they may not do themselves.

    \b
    Examples:
      countermand key create importer --role submit --role view --days 90
      countermand key create importer --role editor > importer.key
    """
    wanted: dict[str, Any] = {"name": name, "roles": role}
    if days is not None:
        wanted["expires_at"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    _KEYS.create(url, wanted, as_json=as_json)


@app.command("list")
def list_(*, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the tenant's keys, without their secrets, the oldest first.

    \b
    Example:
      countermand key list
    """
    from streams.cli.session import talk

    for key in talk(url, lambda client: client.keys()):
        if as_json:
            emit(key)
        else:
            print(plain(_line(key)))


@app.command()
def rotate(
    key: KeyId,
    *,
    overlap: Overlap = 0.0,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Give a key another secret, and print it: it is never shown again.

    \b
    Example:
      countermand key rotate 0192f7a1... --overlap 24
    """
    _KEYS.rotate(url, key, overlap, as_json=as_json)


@app.command()
def revoke(key: KeyId, *, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Refuse a key from now on; live streams that it has opened end within a minute.

    \b
    Example:
      countermand key revoke 0192f7a1...
    """
    gone = asked(url, "POST", _KEYS.at(key, "revoke"), {})
    if as_json:
        emit(gone)
    else:
        say(f"{gone['name']} is refused from now on")


def _made(key: dict[str, Any]) -> str:
    return f"{key['name']} ({key['key_id']}): {', '.join(key['roles'])}"


_KEYS = Holders("/api/v1/keys", "key", _made)


def _line(key: dict[str, Any]) -> str:
    state = "revoked" if key["revoked_at"] else f"used {key['last_used_at'] or 'never'}"
    ends = f", ends {key['expires_at']}" if key["expires_at"] else ""
    return f"{key['key_id']}  {key['name']}  {','.join(key['roles'])}  {state}{ends}"
