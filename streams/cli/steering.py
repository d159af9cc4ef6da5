"""Steering verbs: what a caller may ask of a job that is there. Each goes into the audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from domain.errors import InvalidCommand
from streams.cli.documents import undo_went_well, went_well
from streams.cli.drafting import edited
from streams.cli.job_options import read_json, was_given
from streams.cli.options import (
    DEFAULT_URL,
    FLAG,
    AsJson,
    Edits,
    JobId,
    Key,
    Reason,
    Url,
    Watch,
)
from streams.cli.output import emit, say
from streams.cli.submit import report

PREVIEW_PAGE = 50


def pause(
    job_id: JobId,
    *,
    reason: Reason = "",
    key: Key = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Stop a job for now; once this returns, nothing more takes effect.

    \b
    Example:
      countermand pause 0192f7a1-... --reason "prices are being checked"
    """
    _steer("pause", job_id, reason, url, key=key, as_json=as_json)


def resume(
    job_id: JobId,
    *,
    reason: Reason = "",
    key: Key = "",
    watch: Watch = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Let a paused job go on.

    \b
    Example:
      countermand resume 0192f7a1-... --watch
    """
    _steer("resume", job_id, reason, url, key=key, as_json=as_json, watch=watch)


def cancel(
    job_id: JobId,
    *,
    roll_back: Annotated[
        bool, typer.Option("--roll-back", metavar=FLAG, help="Put back what was done, at once.")
    ] = False,
    graceful: Annotated[
        bool, typer.Option("--graceful", metavar=FLAG, help="Let what is in flight end first.")
    ] = False,
    reason: Reason = "",
    key: Key = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Stop a job for good: what was done stays, what was not attempted is skipped.

    \b
    Examples:
      countermand cancel 0192f7a1-... --reason "wrong file"
      countermand undo 0192f7a1-...      puts back what it had done
      countermand cancel 0192f7a1-... --roll-back     both at once
    """
    flags = {"roll_back": roll_back, "graceful": graceful}
    said = {name: True for name, given in flags.items() if given}
    _steer("cancel", job_id, reason, url, key=key, as_json=as_json, more=said)


def retry(  # noqa: PLR0913 - the options of a command
    job_id: JobId,
    *,
    item: Annotated[
        list[int] | None,
        typer.Option("--item", "-i", min=0, help="Position of an item; may be repeated."),
    ] = None,
    code: Annotated[
        list[str] | None, typer.Option(help="Failed items with this code; may be repeated.")
    ] = None,
    signature: Annotated[
        list[str] | None,
        typer.Option(help="Failed items whose error reads so, as `errors --json` shows it."),
    ] = None,
    unattempted: Annotated[
        bool, typer.Option("--unattempted", metavar=FLAG, help="What a stop or cancel has left.")
    ] = False,
    edit: Edits = None,
    patch: Annotated[
        str, typer.Option(help="JSON object that is merged into each chosen item.")
    ] = "",
    reason: Reason = "",
    key: Key = "",
    watch: Watch = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Work items of a job again: all that have failed, or those that are named.

    They stay what they are, unless --patch or --edit changes them; the old ones are kept.

    \b
    Examples:
      countermand retry 0192f7a1-... --reason "label added" --watch
      countermand retry 0192f7a1-... --code no_label
      countermand retry 0192f7a1-... -i 17 -i 250
      countermand retry 0192f7a1-... --unattempted     after a cancel, or a limit of failures
      countermand retry 0192f7a1-... --code no_label --patch '{"label": "PLACE"}'
    """
    select = {
        "items": item,
        "codes": code,
        "signatures": signature,
        "unattempted": unattempted,
        "edits": [edited(one) for one in edit or ()],
        "patch": read_json("--patch", patch) if patch else None,
    }
    said = {name: value for name, value in select.items() if value}
    _steer("retry", job_id, reason, url, key=key, as_json=as_json, watch=watch, more=said)


def undo(  # noqa: PLR0913 - the options of a command
    job_id: JobId,
    *,
    item: Annotated[
        list[int] | None,
        typer.Option("--item", "-i", min=0, help="Only this item; may be repeated."),
    ] = None,
    chunk: Annotated[
        list[int] | None, typer.Option(min=0, help="Only items of this chunk; may be repeated.")
    ] = None,
    record: Annotated[
        list[str] | None,
        typer.Option(help="Only items that wrote to this record (TABLE/ID); may be repeated."),
    ] = None,
    to: Annotated[str, typer.Option(help="Of a batch: only what comes after this savepoint.")] = "",
    branch: Annotated[
        str, typer.Option(help="Of a batch: only this step and what comes after it.")
    ] = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            metavar=FLAG,
            help="Overwrite what others have written since; needs --reason.",
        ),
    ] = False,
    reason: Reason = "",
    key: Key = "",
    preview: Annotated[
        bool, typer.Option("--preview", metavar=FLAG, help="Only show what would happen.")
    ] = False,
    watch: Watch = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Put back every record that a job changed; undo again to apply it once more.

    A record that somebody changed later is left alone and named as a conflict, with who.

    \b
    Examples:
      countermand undo 0192f7a1-... --preview          names the conflicts, writes nothing
      countermand undo 0192f7a1-... --reason "wrong price list" --watch
      countermand undo 0192f7a1-... --record labels/9     the items that wrote to it
      countermand undo 0192f7a1-... --to loaded           of a batch, what comes after that
      countermand items 0192f7a1-... --status conflict
    """
    part: dict[str, Any] = {"items": item, "chunks": chunk, "records": record}
    said = {name: value for name, value in part.items() if value}
    steps = {name: value for name, value in (("to", to), ("branch", branch)) if value}
    if preview:
        if steps:
            raise InvalidCommand(
                "a batch has no preview; `countermand show` lists its jobs, ask the preview of one"
            )
        _preview(job_id, said, url, force=force, as_json=as_json)
        return
    forced = {"force": True} if force else {}
    more = {**said, **steps, **forced}
    _steer("undo", job_id, reason, url, key=key, as_json=as_json, watch=watch, more=more)


def _preview(
    job_id: str, part: Mapping[str, Sequence[Any]], url: str, *, force: bool, as_json: bool
) -> None:
    from streams.cli.session import talk

    query: list[tuple[str, str | int]] = [("limit", PREVIEW_PAGE)]
    query += [(name.removesuffix("s"), value) for name, values in part.items() for value in values]
    query += [("force", "true")] if force else []
    found = talk(url, lambda client: client.undo_preview(job_id, query))
    if as_json:
        emit(found)
        return
    from streams.cli.preview_table import compensated_line, obstruction_table, summary_of
    from streams.cli.render import console

    if found["obstructions"]:
        console().print(obstruction_table(found))
    if found["compensations"]:
        say(compensated_line(found))
    if found["next_cursor"]:
        say(f"the first {PREVIEW_PAGE} of them; the others: docs/api.md, undo-preview")
    say(summary_of(found))


def approve(
    job_id: JobId,
    *,
    reason: Reason = "",
    key: Key = "",
    watch: Watch = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Let a job start that awaits approval; not for whoever has submitted it.

    \b
    Example:
      COUNTERMAND_ACTOR=grace countermand approve 0192f7a1-... --reason "seen the plan"
    """
    _steer("approve", job_id, reason, url, key=key, as_json=as_json, watch=watch)


def reject(
    job_id: JobId,
    *,
    reason: Reason = "",
    key: Key = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """End a job that awaits approval; not for whoever has submitted it, who can cancel it.

    \b
    Example:
      COUNTERMAND_ACTOR=grace countermand reject 0192f7a1-... --reason "the wrong list"
    """
    _steer("reject", job_id, reason, url, key=key, as_json=as_json)


def hold(
    job_id: JobId,
    *,
    reason: Reason = "",
    key: Key = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Let a job at rest be neither shredded nor archived, until somebody releases it.

    \b
    Example:
      countermand hold 0192f7a1-... --reason "case 17"
    """
    _steer("hold", job_id, reason, url, key=key, as_json=as_json)


def release(
    job_id: JobId,
    *,
    reason: Reason = "",
    key: Key = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Release the hold of a job.

    \b
    Example:
      countermand release 0192f7a1-... --reason "case 17 is closed"
    """
    _steer("release", job_id, reason, url, key=key, as_json=as_json)


def shred(
    job_id: JobId,
    *,
    reason: Reason = "",
    key: Key = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Make what was sent to a job at rest unreadable, for good; needs --reason.

    Events, counts, results and what can be undone by them stay.

    \b
    Example:
      countermand shred 0192f7a1-... --reason "a customer has asked for it"
    """
    _steer("shred", job_id, reason, url, key=key, as_json=as_json)


def archive(
    job_id: JobId,
    *,
    reason: Reason = "",
    key: Key = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Put a job at rest away, for good: it cannot be undone or retried any more.

    What it was worked with goes to a file in COUNTERMAND_ARCHIVE_DIR, if the server has one;
    `show` then names it.

    \b
    Examples:
      countermand archive 0192f7a1-... --reason "the season is over"
      countermand jobs --status archived
    """
    _steer("archive", job_id, reason, url, key=key, as_json=as_json)


def limit(  # noqa: PLR0913 - the options of a command
    job_id: JobId,
    *,
    rate: Annotated[
        float | None, typer.Option(help="Items a second, over all workers.", show_default=False)
    ] = None,
    no_rate: Annotated[
        bool, typer.Option("--no-rate", metavar=FLAG, help="As fast as it goes.")
    ] = False,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="Calls at once, over all workers.", show_default=False),
    ] = None,
    no_concurrency: Annotated[
        bool, typer.Option("--no-concurrency", metavar=FLAG, help="As many at once as there are.")
    ] = False,
    reason: Reason = "",
    key: Key = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Hold a job to a rate, or to so many calls at once; it keeps to it within two seconds.

    Attempts and retries are held to it as well; an undo is not.

    \b
    Examples:
      countermand limit 0192f7a1-... --rate 50 --reason "the shop is open"
      countermand limit 0192f7a1-... --concurrency 4 --no-rate
    """
    lifted = {"rate": no_rate, "concurrency": no_concurrency}
    said: dict[str, Any] = {
        "rate": rate,
        "concurrency": concurrency,
        "lift": [name for name, lift in lifted.items() if lift],
    }
    given = {name: value for name, value in said.items() if was_given(value)}
    _steer("adjust", job_id, reason, url, key=key, as_json=as_json, more=given)


def priority(
    job_id: JobId,
    value: Annotated[int, typer.Argument(metavar="0..10", min=0, max=10, show_default=False)],
    *,
    reason: Reason = "",
    key: Key = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Give a job another priority, whatever it is doing; 10 goes first.

    \b
    Example:
      countermand priority 0192f7a1-... 9
    """
    _steer("adjust", job_id, reason, url, key=key, as_json=as_json, more={"priority": value})


def _steer(
    verb: str,
    job_id: str,
    reason: str,
    url: str,
    *,
    key: str,
    as_json: bool,
    watch: bool = False,
    more: Mapping[str, Any] | None = None,
) -> None:
    from streams.cli.session import talk

    well = undo_went_well if verb == "undo" else went_well
    job = talk(url, lambda client: client.command(job_id, verb, reason, more, key=key))
    report(job, url, watch=watch, as_json=as_json, well=well)
