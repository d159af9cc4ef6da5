"""About: what holds for the whole API, and its groups of routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from api.limits import Limits

VERSION: Final = "1.0.0"
"""Of the API, not of the program: the first number counts breaks, the second additions."""

_LIMITS = Limits()

ABOUT: Final = f"""\
Bulk operations on domain records, submitted, followed, audited and undone over HTTP.
docs/api.md is the guide.

- **Bodies** are JSON in UTF-8 (up to {_LIMITS.json_body} bytes for jobs, {_LIMITS.named_body} for
  what names items one by one, {_LIMITS.small_body} for anything else), or NDJSON of any length
  where items are sent. An unknown parameter or field is refused, so that no typo is ignored.
- **Refusals** are `application/problem+json` (RFC 9457). `code` is stable, and what programs look
  at; `/problems` lists all of them. Beside what each route names, a path that nothing answers to
  is 404 `not_found`, and a method that it does not take 405 `method_not_allowed`.
- **Pages**: `next_cursor` of a page goes into `cursor` of the next request, and is null at the
  end. Nothing is told twice or left out while rows come and go.
- **Commands** to jobs are answered 202 when they are stored: nobody takes them back by dying. With
  the same `Idempotency-Key` a command is one command, however often it is sent.
- **Tenants**: what another tenant has is not there (404), whatever is asked of it.
- **Not in JSON Schema**: items and `params` are checked by their operation
  (`GET /api/v1/operations` has those schemas), and what fields say together by the engine
  (422 `invalid`, which points at the field).
"""

TAGS: Final[Mapping[str, str]] = {
    "Submit": "New jobs: whole, in parts, by a filter, as a batch, or as a plan says.",
    "Control": "What may be asked of a job.",
    "Jobs": "Jobs as they are, were, and go on.",
    "Items": "What became of each item.",
    "Plans and undos": "What a job would do, or an undo, or has taken back outside.",
    "Records": "What happened to a record, and who did it.",
    "Callers": "Who calls, and the keys that say so.",
    "Installation": "Operations, workers, and what tenants and jobs share.",
    "Retention": "How long jobs at rest are kept.",
    "Webhooks": "Where a tenant is told what happens, and what has come of it.",
    "Projects": "The annotation platform: projects, their records one by one, and reports.",
    "Bulk operations": "The annotation platform: many annotations at once, and how that goes.",
    "Pages": "For people with a browser.",
    "Machines": "For probes, scrapers and programs that read this document.",
}
