"""Token: makes one, from the secret that the servers check it with. Speaks to no server."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.options import AsJson
from streams.cli.output import emit

LONGEST_HOURS = 24 * 30
HOURS = 12.0


def token(
    actor: Annotated[
        str, typer.Argument(metavar="ACTOR", help="Who it is for.", show_default=False)
    ],
    *,
    tenant: Annotated[str, typer.Option(help="Whose jobs they see and make.", show_default=False)],
    role: Annotated[
        list[str],
        typer.Option(
            help="member, viewer, auditor, editor, steward, approver, admin or operator, or a "
            "permission; may be given several times.",
            show_default=False,
        ),
    ],
    hours: Annotated[
        float, typer.Option(min=0.01, max=LONGEST_HOURS, help="For how long.")
    ] = HOURS,
    as_json: AsJson = False,
) -> None:
    """Print a token for somebody, signed with COUNTERMAND_TOKEN_SECRET_FILE.

    Nobody can take it back before it ends, so keep it short; services have keys
    (`countermand key`), which can be revoked. Callers put it into COUNTERMAND_TOKEN.

    \b
    Examples:
      countermand token ada --tenant acme --role editor
      countermand token ada --tenant acme --role viewer --role editor@letters
      export COUNTERMAND_TOKEN=$(countermand token root --tenant acme --role admin --hours 1)
    """
    from streams.cli.signing import signed

    made = signed(actor, tenant, role, hours)
    if as_json:
        emit({"token": made.text, "expires_at": made.expires_at})
    else:
        print(made.text)
