"""Options and arguments that several verbs share, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams import defaults

DEFAULT_URL = f"http://{defaults.HOST}:{defaults.PORT}"

STANDARD_INPUT = "-"
"""What stands for standard input where a file is named."""

FLAG = ""
"""The metavar of a flag: typer would write <bool>, as if it took a value."""

Url = Annotated[str, typer.Option("--url", envvar="COUNTERMAND_URL", help="Address of the server.")]
AsJson = Annotated[
    bool,
    typer.Option("--json", metavar=FLAG, help="JSON on standard output and nothing else there."),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        help="Only items in this status, as failed; unattempted are those that nobody has worked. "
        "May be given several times.",
        show_default=False,
    ),
]
Code = Annotated[
    str | None,
    typer.Option("--code", help="Only items with this error code.", show_default=False),
]
Record = Annotated[
    str | None,
    typer.Option(
        "--record", metavar="TABLE/ID", help="Only items that wrote to it.", show_default=False
    ),
]
TableName = Annotated[
    str, typer.Argument(metavar="TABLE", help="The record's table.", show_default=False)
]
RecordId = Annotated[
    int, typer.Argument(metavar="ID", help="The record's id.", min=0, show_default=False)
]
Edits = Annotated[
    list[str] | None,
    typer.Option(
        help="POSITION=JSON: an item with its new body; may be repeated.", show_default=False
    ),
]
Reason = Annotated[
    str, typer.Option("--reason", help="Why; goes into the audit trail.", show_default=False)
]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        help="Idempotency key: however often it is asked with the same key, it is done once.",
        show_default=False,
    ),
]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch",
        "-w",
        metavar=FLAG,
        help="Follow the job to its end; exit 1 unless all of it went well.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Directory of the database and of what belongs to it (COUNTERMAND_DATA_DIR).",
        show_default=f"./{defaults.DATA_DIR}",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="SQLAlchemy address of another database than the one in the data directory "
        "(COUNTERMAND_DATABASE).",
        show_default=False,
    ),
]
