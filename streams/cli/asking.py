"""Asking: one question to one process, over the standard library alone.

A health check starts a process every few seconds in every container; loading the client of
the other verbs would take thrice the time of all the rest.
"""

from __future__ import annotations

import http.client
import json
import os
from typing import Any
from urllib.parse import SplitResult

from streams.cli.address import parts_of, shown
from streams.cli.exits import Problem, ProblemDetails, Unreachable

READY = "/health/ready"
LONGEST_ANSWER = 100_000


def readiness(url: str, timeout: float) -> str:
    """Why the process at an address takes no work; empty when it does.

    Raises:
        InvalidCommand: This is no address.
        Problem: It refused to answer.
        Unreachable: Nobody answers.
    """
    parts = parts_of(url)
    try:
        status, content = _got(parts, timeout)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(
            f"no answer from {shown(url)} ({_words(error)}); does a process of Countermand run "
            "there? Another address goes into --url or COUNTERMAND_URL"
        ) from error
    if status == http.client.OK:
        return ""
    document = _document(content)
    problem = ProblemDetails(
        status=status,
        title=str(document.get("title") or f"HTTP status {status}"),
        detail=str(document.get("detail", "")),
        code=str(document.get("code", "")),
    )
    if problem.code != "not_ready":
        raise Problem(problem)
    return problem.detail or problem.title


def _got(parts: SplitResult, timeout: float) -> tuple[int, bytes]:
    """Status and body. Proxies of the environment are for other hosts than a container's own."""
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.netloc.rpartition("@")[2], timeout=timeout)
    try:
        connection.request("GET", parts.path.rstrip("/") + READY)
        response = connection.getresponse()
        return response.status, response.read(LONGEST_ANSWER)
    finally:
        connection.close()


def _document(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _words(error: Exception) -> str:
    if isinstance(error, http.client.InvalidURL):
        return "it is no address"
    number = getattr(error, "errno", None)
    if isinstance(error, TimeoutError):
        return "it took too long"
    return os.strerror(number) if number and number > 0 else str(error) or type(error).__name__
