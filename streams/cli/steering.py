"""Steering verbs: pause, resume, cancel, retry, undo. Each goes into the audit trail."""

from __future__ import annotations

from streams.cli.options import DEFAULT_URL, AsJson, JobId, Reason, Url, Watch
from streams.cli.submit import report


def pause(
    job_id: JobId, *, reason: Reason = "", url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Stop a job for now; once this returns, nothing more takes effect.

    \b
    Example:
      countermand pause 0192f7a1-... --reason "prices are being checked"
    """
    _steer("pause", job_id, reason, url, as_json=as_json)


def resume(
    job_id: JobId,
    *,
    reason: Reason = "",
    watch: Watch = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Let a paused job go on.

    \b
    Example:
      countermand resume 0192f7a1-... --watch
    """
    _steer("resume", job_id, reason, url, as_json=as_json, watch=watch)


def cancel(
    job_id: JobId, *, reason: Reason = "", url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Stop a job for good: what was done stays, what was not attempted is skipped.

    \b
    Examples:
      countermand cancel 0192f7a1-... --reason "wrong file"
      countermand undo 0192f7a1-...      puts back what it had done
    """
    _steer("cancel", job_id, reason, url, as_json=as_json)


def retry(
    job_id: JobId,
    *,
    reason: Reason = "",
    watch: Watch = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Work the failed items of a job again, unchanged, after what stood in the way is mended.

    \b
    Example:
      countermand retry 0192f7a1-... --reason "label added" --watch
    """
    _steer("retry", job_id, reason, url, as_json=as_json, watch=watch)


def undo(
    job_id: JobId,
    *,
    reason: Reason = "",
    watch: Watch = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Put back every record that a job changed; undo again to apply it once more.

    A record that somebody changed later is left alone and named as a conflict, with who.

    \b
    Examples:
      countermand undo 0192f7a1-... --reason "wrong price list" --watch
      countermand items 0192f7a1-... --status conflict
    """
    _steer("undo", job_id, reason, url, as_json=as_json, watch=watch)


def _steer(
    verb: str, job_id: str, reason: str, url: str, *, as_json: bool, watch: bool = False
) -> None:
    from streams.cli.session import talk

    job = talk(url, lambda client: client.command(job_id, verb, reason))
    report(job, url, watch=watch, as_json=as_json)
