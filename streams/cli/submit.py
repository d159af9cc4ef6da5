"""Submit and watch: a job goes in, and is followed to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from streams.cli import exits
from streams.cli.documents import JobDocument, rests_well, was_put_back, went_well
from streams.cli.job_options import (
    Described,
    moment_of,
    read_after,
    read_options,
    read_params,
    require_one_source,
    with_attempts,
)
from streams.cli.options import DEFAULT_URL, FLAG, STANDARD_INPUT, AsJson, JobId, Url, Watch
from streams.cli.output import emit, say, told_otherwise


def submit(  # noqa: PLR0913 - the options of a command
    operation: Annotated[
        str, typer.Argument(metavar="OPERATION", help="Its kind; `operations` lists them.")
    ],
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="NDJSON, or JSON with a list; - is standard input."),
    ] = STANDARD_INPUT,
    *,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="KEY=VALUE; the value is JSON, else text."),
    ] = None,
    params: Annotated[str, typer.Option(help="All parameters as one JSON object.")] = "",
    name: Annotated[str, typer.Option(help="What to call the job.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    priority: Annotated[int, typer.Option(min=0, max=10, help="10 goes first.")] = 5,
    chunk_size: Annotated[
        int | None, typer.Option(min=1, help="Items worked as one; automatic when left out.")
    ] = None,
    attempts: Annotated[
        int | None,
        typer.Option(min=2, max=20, help="How often a failed item that may be is tried, in all."),
    ] = None,
    stop_on_error: Annotated[
        bool,
        typer.Option("--stop-on-error", metavar=FLAG, help="Stop the job when an item failed."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", metavar=FLAG, help="Say what would happen; change nothing."),
    ] = False,
    atomic: Annotated[
        bool,
        typer.Option("--atomic", metavar=FLAG, help="All items take effect at once, or none."),
    ] = False,
    rate: Annotated[
        float | None, typer.Option(help="Items a second at most; `limit` changes it.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Calls at once at most; `limit` changes it.")
    ] = None,
    item_key: Annotated[
        str, typer.Option(metavar="POINTER", help="What an item is called, as /id: a JSON pointer.")
    ] = "",
    duplicates: Annotated[
        str, typer.Option(metavar="RULE", help="Of items called the same: refuse, first or last.")
    ] = "",
    start_at: Annotated[
        str, typer.Option(metavar="MOMENT", help="Nothing of it runs before: 2026-12-24T18:00.")
    ] = "",
    deadline: Annotated[
        str, typer.Option(metavar="MOMENT", help="It should have ended by then; a warning else.")
    ] = "",
    after: Annotated[
        list[str] | None,
        typer.Option(help="JOB, JOB:partly or JOB:any: start when that one has ended so."),
    ] = None,
    take: Annotated[
        list[str] | None,
        typer.Option(
            help="FIELD=FIELD: items from the results of the first --after, and no FILE; as id=id."
        ),
    ] = None,
    item_timeout: Annotated[
        float | None, typer.Option(help="Seconds for an item of a slow operation, at most.")
    ] = None,
    options: Annotated[
        str, typer.Option(help="More options as a JSON object: retry, tolerate.")
    ] = "",
    draft: Annotated[
        bool,
        typer.Option("--draft", metavar=FLAG, help="Work nothing yet: edit, append, then seal."),
    ] = False,
    key: Annotated[
        str, typer.Option(help="Idempotency key: the same key never makes a second job.")
    ] = "",
    watch: Watch = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Submit a job: one operation on many items.

    Lines go to the server as they are read, so a file may be of any size.

    \b
    Examples:
      countermand submit annotations.create items.ndjson -p project_id=1 --watch
      zcat items.gz | countermand submit annotations.create -p project_id=1
      countermand submit annotations.delete stale.json --tag nightly --json
      countermand submit annotations.update new.ndjson --dry-run --watch
      countermand submit shop.mail to.ndjson --start-at 2026-12-24T18:00
      countermand submit shop.reprice new.ndjson --draft     then edit, append, and seal
      countermand submit shop.archive --after 0192f7a1-... --take id=id
      countermand submit annotations.update new.ndjson --atomic --watch
      countermand submit shop.mail to.ndjson --attempts 5 --options '{"tolerate": [{"percent": 2}]}'
    """
    from streams.cli.session import talk
    from streams.cli.submitting import submitted

    require_one_source(file, take=bool(take), draft=draft, watch=watch)
    single = {
        "chunk_size": chunk_size,
        "stop_on_error": stop_on_error,
        "dry_run": dry_run,
        "atomic": atomic,
        "rate": rate,
        "concurrency": concurrency,
        "item_timeout": item_timeout,
        "key": item_key,
        "duplicates": duplicates,
        "start_at": moment_of("--start-at", start_at),
        "deadline": moment_of("--deadline", deadline),
        "after": read_after(after or (), take or ()),
    }
    said = Described(
        operation=operation,
        priority=priority,
        name=name,
        tags=tag or [],
        params=read_params(params, param or ()),
        options=with_attempts(read_options(options, single), attempts),
    )
    source = None if take else file
    job = talk(url, lambda client: submitted(client, said, source, key, draft=draft))
    report(job, url, watch=watch, as_json=as_json)


def watch(job_id: JobId, *, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Follow a job to its end: a bar, or plain lines when no terminal shows them.

    Goes on by itself after a lost connection. Ctrl-C ends the watching, not the job.
    A job that was undone is well too, unless items of it had failed or were skipped.

    \b
    Examples:
      countermand watch 0192f7a1-...
      countermand watch 0192f7a1-... && echo all of it went well
      countermand watch 0192f7a1-... --json | jq .percent
    """
    from streams.cli.session import talk

    job = talk(url, lambda client: client.job(job_id))
    report(job, url, watch=True, as_json=as_json, well=rests_well)


def report(
    job: JobDocument,
    url: str,
    *,
    watch: bool,
    as_json: bool,
    well: Callable[[JobDocument], bool] = went_well,
) -> None:
    """Show the job that a command answered with; with ``watch`` follow it to its end.

    Then the exit code says whether all of it went well, as ``well`` judges the job at rest.
    """
    if not watch:
        with told_otherwise(f"job {job['job_id']}"):
            if as_json:
                emit(job)
            else:
                print(job["job_id"])
        if not as_json:
            _say_more(job)
        return
    from streams.cli.following import watched
    from streams.cli.session import talk

    say(f"job {job['job_id']}")
    with told_otherwise(f"the job goes on: countermand watch {job['job_id']}"):
        last = talk(url, lambda client: watched(client, job, as_json=as_json))
    if last["counts"]["failed"]:
        say(f"failed items by reason: countermand errors {job['job_id']}")
    if last["counts"]["conflict"]:
        say(f"items in conflict: countermand items {job['job_id']} --status conflict")
    if well(last):
        return
    if was_put_back(last):
        say("the job was rolled back: nothing of it stands")
    raise typer.Exit(exits.FAILED)


def _say_more(job: JobDocument) -> None:
    deadline = job.get("deadline")
    if deadline and deadline["warning"]:
        say(f"warning: {deadline['warning']}")
    say(f"{job['status']}; {_next(job)}")


def _next(job: JobDocument) -> str:
    if job["status"] == "draft" and "seal" in job.get("possible", ()):
        return f"to start it: countermand seal {job['job_id']}"
    return f"to follow it: countermand watch {job['job_id']}"
