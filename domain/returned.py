"""Returned: what functions of operations have returned, checked. Pure.

A plug-in may return anything; what is no result fails its item, and no ledger ever sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson

from domain.errors import PluginInvalid
from domain.operation import Operation
from domain.outcomes import Done, Failed, Result, UndoResult


def results_of(declared: Operation, returned: object, count: int) -> list[Result]:
    """What ``apply`` returned, checked; anything but ``count`` results raises PluginInvalid."""
    results: list[Any] = list(returned) if isinstance(returned, Sequence) else [returned]
    if len(results) != count:
        raise PluginInvalid(f"{declared.kind} returned {len(results)} results for {count} items")
    for kind in {type(result) for result in results}:
        if not issubclass(kind, Result):
            raise PluginInvalid(
                f"{declared.kind} returned {kind.__name__}; return Done, Failed or Skipped"
            )
    # Raises TypeError for what no ledger can hold: it would take its neighbours along.
    _check_words(declared.kind, [_document(result) for result in results])
    return results


def verdict_of(declared: Operation, returned: object) -> Failed | None:
    """What ``validate`` returned, checked; anything but Failed or None raises PluginInvalid."""
    if returned is None:
        return None
    if not isinstance(returned, Failed):
        raise PluginInvalid(
            f"{declared.kind}: validate returned {type(returned).__name__}; return Failed or None"
        )
    _check_words(declared.kind, _document(returned))
    return returned


def undone_of(declared: Operation, returned: object) -> UndoResult:
    """What a compensation or an inverse returned, checked; PluginInvalid if it is no result."""
    if not isinstance(returned, UndoResult):
        raise PluginInvalid(
            f"{declared.kind} returned {type(returned).__name__}; return Restored, Conflicted or "
            "Failed"
        )
    words: list[Any] = list(asdict(returned).values())
    _check_words(declared.kind, words)
    return returned


def _document(result: Result) -> Any:
    if isinstance(result, Done):
        return result.result, result.score
    if isinstance(result, Failed):
        return result.code, result.message, result.pointer, result.details
    return result.reason


def _check_words(kind: str, document: Any) -> None:
    try:
        orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS, default=str)
    except TypeError as error:
        raise TypeError(f"{kind} returned what is no JSON document: {error}") from None
