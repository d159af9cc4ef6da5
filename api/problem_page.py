"""Problem page: every code that a refusal can have, as ``docs/problems.md`` and as HTML.

``python -m api.problem_page > docs/problems.md`` writes the file; a test holds it to that.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from http import HTTPStatus
from itertools import groupby

from api.codes import Code, catalogue
from api.pages import page, table, tag, words
from api.problems import TYPE

HEAD = ("Code", "What is wrong", "What helps")
ABOUT = (
    "A refusal is `application/problem+json` (RFC 9457). Its `code` is stable, and what programs "
    f"look at; `type` is `{TYPE}` and the code; `detail` is for people and may change. `pointer`, "
    "or each of `errors`, says where in the body the fault is, and the server's log has the "
    "`request_id`."
)


def markdown() -> str:
    """The page as the file holds it."""
    lines = ["# Problems", "", "Written by a program; do not edit.", "", ABOUT]
    for status, codes in _by_status():
        lines += ["", f"## {status}", "", f"| {' | '.join(HEAD)} |", "|---|---|---|"]
        lines += [f"| `{code.name}` | {code.about} | {code.remedy} |" for code in codes]
    return "\n".join(lines) + "\n"


def html() -> str:
    """The page as a server shows it; each code has an anchor of its name."""
    sections = []
    for status, codes in _by_status():
        rows = (
            tag(
                "tr",
                tag("td", tag("code", code.name)),
                tag("td", words(code.about)),
                tag("td", words(code.remedy)),
                id=code.name,
            )
            for code in codes
        )
        sections += [tag("h2", status), table(HEAD, rows)]
    return page("Problems", tag("p", words(ABOUT)), *sections)


def _by_status() -> Iterable[tuple[str, list[Code]]]:
    """The codes in groups of one status, which is told with its name."""
    for status, codes in groupby(catalogue().values(), key=lambda code: code.status):
        yield f"{status} {HTTPStatus(status).phrase}", list(codes)


if __name__ == "__main__":
    sys.stdout.write(markdown())
