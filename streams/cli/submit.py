"""Submit and watch: a job goes in, and is followed to its end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from domain.errors import InvalidCommand
from streams.cli import exits
from streams.cli.documents import JobDocument, went_well
from streams.cli.options import DEFAULT_URL, FLAG, AsJson, JobId, Url, Watch
from streams.cli.output import emit, say


def submit(  # noqa: PLR0913 - the options of a command
    operation: Annotated[
        str, typer.Argument(metavar="OPERATION", help="Its kind; `operations` lists them.")
    ],
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="NDJSON, or JSON with a list; - is standard input."),
    ] = "-",
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
      countermand submit shop.archive --after 0192f7a1-... --take id=id
      countermand submit annotations.update new.ndjson --atomic --watch
      countermand submit shop.mail to.ndjson --attempts 5 --options '{"tolerate": [{"percent": 2}]}'
    """
    from streams.cli.itemfile import upload
    from streams.cli.session import talk

    said = {"operation": operation, "priority": priority, "name": name, "tags": tag or []}
    query: list[tuple[str, str | int]] = [("operation", operation), ("priority", priority)]
    query += [("name", name)] if name else []
    query += [("chunk_size", chunk_size)] if chunk_size else []
    flags = {"stop_on_error": stop_on_error, "dry_run": dry_run, "atomic": atomic}
    more = read_options(options, attempts, flags)
    numbers = {"rate": rate, "concurrency": concurrency, "item_timeout": item_timeout}
    more |= {name: number for name, number in numbers.items() if number}
    more |= {n: v for n, v in (("key", item_key), ("duplicates", duplicates)) if v}
    more |= {"start_at": moment_of("--start-at", start_at)} if start_at else {}
    more |= {"deadline": moment_of("--deadline", deadline)} if deadline else {}
    more |= read_after(after or (), take or ())
    query += [("options", json.dumps(more))] if more else []
    query += [("tag", label) for label in tag or ()]
    parameters = read_params(params, param or ())
    query += [("params", json.dumps(parameters))] if parameters else []
    if take:
        more |= {"chunk_size": chunk_size} if chunk_size else {}
        job = talk(
            url,
            lambda client: client.submit_document(
                {**said, "options": more, "params": parameters}, key=key
            ),
        )
    else:
        job = talk(url, lambda client: upload(client, file, query, key))
    report(job, url, watch=watch, as_json=as_json)


def watch(job_id: JobId, *, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Follow a job to its end: a bar, or plain lines when no terminal shows them.

    Goes on by itself after a lost connection. Ctrl-C ends the watching, not the job.

    \b
    Examples:
      countermand watch 0192f7a1-...
      countermand watch 0192f7a1-... && echo all of it went well
      countermand watch 0192f7a1-... --json | jq .percent
    """
    from streams.cli.session import talk

    job = talk(url, lambda client: client.job(job_id))
    report(job, url, watch=True, as_json=as_json)


def moment_of(option: str, text: str) -> str:
    """The moment that an option gives, with its zone; by this machine's clock when it says none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidCommand(f"{option} {text}: write it as 2026-12-24T18:00") from None
    return (moment if moment.tzinfo else moment.astimezone()).isoformat()


def read_json(option: str, text: str) -> Any:
    """The JSON value that an option gives."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidCommand(f"{option} is no JSON ({error})") from None


def read_options(whole: str, attempts: int | None, flags: Mapping[str, bool]) -> dict[str, Any]:
    """The options of ``--options``, with those that have a flag of their own."""
    options = read_json("--options", whole) if whole else {}
    if not isinstance(options, dict):
        raise InvalidCommand('--options must be an object, as {"tolerate": [{"failed": 10}]}')
    retry = options.get("retry") or {}
    if attempts is not None and isinstance(retry, dict):
        options["retry"] = {**retry, "attempts": attempts}
    return options | {name: True for name, given in flags.items() if given}


def read_after(after: Sequence[str], take: Sequence[str]) -> dict[str, Any]:
    """The option ``after``: who comes before, and what is taken from the first of them."""
    named: list[dict[str, Any]] = []
    for word in after:
        job_id, _, end = word.partition(":")
        named.append({"job_id": job_id} | ({"end": end} if end else {}))
    if not take:
        return {"after": named} if named else {}
    if not named:
        raise InvalidCommand("--take is from the results of a job; name it with --after")
    pairs = [pair.partition("=") for pair in take]
    for field, _, of in pairs:
        if not (field and of):
            raise InvalidCommand("--take: write FIELD=FIELD, of the item and of the result")
    named[0]["consume"] = {field: of for field, _, of in pairs}
    return {"after": named}


def read_params(whole: str, single: Sequence[str]) -> dict[str, Any]:
    """Parameters of ``--params`` and ``--param``, the latter over the former."""
    parameters = read_json("--params", whole) if whole else {}
    if not isinstance(parameters, dict):
        raise InvalidCommand('--params must be an object, as {"project_id": 1}')
    for pair in single:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise InvalidCommand(f"--param {pair}: write it as KEY=VALUE")
        try:
            parameters[name] = json.loads(value)
        except ValueError:
            parameters[name] = value
    return parameters


def report(job: JobDocument, url: str, *, watch: bool, as_json: bool) -> None:
    """Show the job that a command answered with; with ``watch`` follow it to its end.

    Then the exit code says whether all of it went well.
    """
    if not watch:
        if as_json:
            emit(job)
        else:
            print(job["job_id"])
            deadline = job.get("deadline")
            if deadline and deadline["warning"]:
                say(f"warning: {deadline['warning']}")
            say(f"{job['status']}; to follow it: countermand watch {job['job_id']}")
        return
    from streams.cli.following import watched
    from streams.cli.session import talk

    say(f"job {job['job_id']}")
    last = talk(url, lambda client: watched(client, job, as_json=as_json))
    if last["counts"]["failed"]:
        say(f"failed items by reason: countermand errors {job['job_id']}")
    if last["counts"]["conflict"]:
        say(f"items in conflict: countermand items {job['job_id']} --status conflict")
    if not went_well(last):
        raise typer.Exit(exits.FAILED)
