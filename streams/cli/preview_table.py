"""The preview of an undo as lines and a table."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from streams.cli.documents import PreviewDocument
from streams.cli.output import plain

_DONE = {"rollback": "put back", "reapply": "applied again"}


def summary_of(found: PreviewDocument) -> str:
    """What an undo would do, in a sentence."""
    would = f"an undo now: {found['restored']:,} of {found['items']:,} items would be "
    would += _DONE.get(found["direction"], found["direction"])
    for name, count in (("in conflict", found["conflict"]), ("failed", found["failed"])):
        would += f", {count:,} {name}" if count else ""
    if not found["exact"]:
        would += "; the operation's own inverse decides, and may not succeed"
    return would


def obstruction_table(found: PreviewDocument) -> Table:
    """The items that would stay as they are, with who is in the way and why."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("item", "record", "by", "reason"):
        table.add_column(name)
    for one in found["obstructions"]:
        said = (one["record"], one["by"], one["reason"])
        table.add_row(str(one["position"]), *[Text(plain(text)) for text in said])
    return table
