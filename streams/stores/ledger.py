"""Ledger: the per-item results of one chunk, as bytes. Columnar JSON, compressed with zstd.

``statuses`` has one letter an item, in the order of ``items``; ``results`` and ``scores``
belong to the items that are done, in order; ``changes`` to those that a dry run has found
good: what each would change, or None where it was only validated; ``faults`` are ``[index,
code, message, pointer, retryable]`` and, where there are any, details; ``reasons`` are
``[index, reason]`` of the skipped; ``conflicts`` are ``[index, record, by, reason]``;
``durations`` are milliseconds, one an item, or one number when the items of the chunk were
not timed apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from domain.outcomes import (
    Conflicted,
    Done,
    Failed,
    ItemStatus,
    Restored,
    Result,
    UndoResult,
)
from domain.ranges import Ranges
from streams.stores import faults
from streams.stores.compression import compress, decompress
from streams.stores.faults import Faults

LETTERS = {
    "s": ItemStatus.SUCCEEDED,
    "f": ItemStatus.FAILED,
    "k": ItemStatus.SKIPPED,
    "r": ItemStatus.ROLLED_BACK,
    "c": ItemStatus.CONFLICT,
    "p": ItemStatus.PLANNED,
    "u": None,
}
"""``u``: an undo failed, so that the item stays what it was."""

MAX_MESSAGE = 2000
EVERY = 2**63
"""An end behind all positions."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What one chunk says of one item; ``status`` is None when it leaves it as it was."""

    position: int
    status: ItemStatus | None
    result: Any = None
    score: float | None = None
    duration_ms: float | None = None
    code: str = ""
    message: str = ""
    pointer: str = ""
    retryable: bool = False
    changes: Any = None


@dataclass(frozen=True, slots=True)
class Ledger:
    """Encoded results with what the outcome row's columns need; ``faults`` only if items failed."""

    data: bytes
    sha256: str
    succeeded: int
    failed: int
    skipped: int
    rolled_back: int
    conflict: int
    faults: Faults | None = None
    planned: int = 0


def encode_results(
    items: Ranges,
    results: Sequence[Result],
    *,
    duration_ms: float,
    durations: Sequence[float] | None = None,
) -> Ledger:
    """The ledger of a chunk that was worked; one result an item, in order."""
    letters: list[str] = []
    documents: list[Any] = []
    scores: list[float | None] = []
    failed: list[list[Any]] = []
    reasons: list[list[Any]] = []
    scored = False
    for index, result in enumerate(results):
        if isinstance(result, Done):
            letters.append("s")
            documents.append(result.result)
            scores.append(result.score)
            scored = scored or result.score is not None
        elif isinstance(result, Failed):
            letters.append("f")
            failed.append(_fault(index, result))
        else:
            letters.append("k")
            reasons.append([index, result.reason])
    return _packed(
        items,
        "".join(letters),
        {
            "results": documents,
            "scores": scores if scored else None,
            "faults": failed,
            "reasons": reasons,
            "durations": list(durations) if durations is not None else duration_ms,
        },
    )


def encode_plan(
    items: Ranges,
    verdicts: Sequence[Result],
    changes: Mapping[int, Any],
    *,
    duration_ms: float,
    read: bool = False,
) -> Ledger:
    """The ledger of a chunk of a dry run; ``changes`` by position.

    What an operation would answer is left out: it would tell of what has never happened. Not so
    with one that only reads (``read``): it has read that.
    """
    letters: list[str] = []
    planned: list[Any] = []
    faults: list[list[Any]] = []
    reasons: list[list[Any]] = []
    for index, (position, verdict) in enumerate(zip(items, verdicts, strict=True)):
        if isinstance(verdict, Done):
            letters.append("p")
            planned.append(changes.get(position))
        elif isinstance(verdict, Failed):
            letters.append("f")
            faults.append(_fault(index, verdict))
        else:
            letters.append("k")
            reasons.append([index, verdict.reason])
    columns = {"changes": planned, "faults": faults, "reasons": reasons, "durations": duration_ms}
    if read:
        columns["answers"] = [each.result for each in verdicts if isinstance(each, Done)]
    return _packed(items, "".join(letters), columns)


def encode_undo(
    results: Mapping[int, UndoResult], *, restored: ItemStatus, duration_ms: float
) -> Ledger:
    """The ledger of an undo chunk: only items whose records it tried to put back."""
    letter = "r" if restored is ItemStatus.ROLLED_BACK else "s"
    letters: list[str] = []
    failed: list[list[Any]] = []
    conflicts: list[list[Any]] = []
    for index, position in enumerate(sorted(results)):
        result = results[position]
        if isinstance(result, Restored):
            letters.append(letter)
        elif isinstance(result, Conflicted):
            letters.append("c")
            conflicts.append([index, result.record, result.by, result.reason])
        else:
            letters.append("u")
            failed.append(_fault(index, result))
    return _packed(
        Ranges.of(results),
        "".join(letters),
        {"faults": failed, "conflicts": conflicts, "durations": duration_ms},
    )


def _fault(index: int, failed: Failed) -> list[Any]:
    message = failed.message[:MAX_MESSAGE]
    fault = [index, failed.code, message, failed.pointer, failed.retryable]
    return fault if failed.details is None else [*fault, failed.details]


def _packed(items: Ranges, letters: str, columns: dict[str, Any]) -> Ledger:
    document = {"items": items.to_json(), "statuses": letters, **columns}
    plain = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS, default=str)
    data = compress(plain)
    return Ledger(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        succeeded=letters.count("s"),
        failed=letters.count("f") + letters.count("u"),
        skipped=letters.count("k"),
        rolled_back=letters.count("r"),
        conflict=letters.count("c"),
        faults=faults.encode(faults.failures_of(items, document)) if "f" in letters else None,
        planned=letters.count("p"),
    )


def decode(data: bytes) -> dict[str, Any]:
    """The columns of a ledger."""
    document: dict[str, Any] = orjson.loads(decompress(data))
    return document


def statuses(data: bytes) -> Iterator[tuple[int, ItemStatus]]:
    """Position and status of each item on which the chunk has a say."""
    document = decode(data)
    positions = iter(Ranges.from_spans(document["items"]))
    for position, letter in zip(positions, document["statuses"], strict=True):
        status = LETTERS[letter]
        if status is not None:
            yield position, status


def entries(data: bytes, first: int = 0, end: int = EVERY) -> Iterator[LedgerEntry]:
    """All that a chunk says of its items from ``first`` to before ``end``, in order."""
    document = decode(data)
    results = iter(document.get("results") or ())
    scores = iter(document.get("scores") or ())
    failed = {fault[0]: fault[1:] for fault in document.get("faults") or ()}
    reasons = dict(document.get("reasons") or ())
    conflicts = {row[0]: row[1:] for row in document.get("conflicts") or ()}
    changes = iter(document.get("changes") or ())
    answers = iter(document.get("answers") or ())
    durations = document["durations"]
    worked = "results" in document
    for index, position in enumerate(Ranges.from_spans(document["items"])):
        letter = document["statuses"][index]
        duration = durations[index] if isinstance(durations, list) else None
        status = LETTERS[letter]
        result, score = (
            (next(results, None), next(scores, None)) if letter == "s" and worked else (None, None)
        )
        change = next(changes) if letter == "p" else None
        answer = next(answers, None) if letter == "p" else None
        if not first <= position < end:
            continue
        if letter == "s" and worked:
            yield LedgerEntry(position, status, result, score, duration)
        elif letter == "p":
            yield LedgerEntry(position, status, answer, changes=change)
        elif letter in "fu":
            code, message, pointer, retryable, *details = failed[index]
            known = details[0] if details else None
            yield LedgerEntry(
                position, status, known, None, duration, code, message, pointer, retryable
            )
        elif letter == "k":
            yield LedgerEntry(position, status, code="skipped", message=reasons[index])
        elif letter == "c":
            record, by, reason = conflicts[index]
            message = f"{record} was {reason}" + (f" by {by}" if by else "")
            yield LedgerEntry(position, status, code="conflict", message=message, pointer=record)
        else:
            yield LedgerEntry(position, status, duration_ms=duration)
