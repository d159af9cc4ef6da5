"""Returned: what functions of operations have returned, checked. Pure.

A plug-in may return anything; what is no result fails its item, and no ledger ever sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import orjson

from domain.errors import PluginInvalid, ResultInvalid
from domain.operation import Operation
from domain.outcomes import Conflicted, Done, Failed, Restored, Result, Skipped, UndoResult

MAX_CODE = 100
"""Characters of a code; it is what failures are counted and retried by."""


def results_of(declared: Operation, returned: object, count: int) -> list[Result]:
    """What ``apply`` returned, checked; anything but ``count`` results raises PluginInvalid.

    Raises ResultInvalid when one of them is none, or has a field of a wrong type, and TypeError
    for what no ledger can hold.
    """
    results: list[Any] = list(returned) if isinstance(returned, Sequence) else [returned]
    if len(results) != count:
        raise PluginInvalid(f"{declared.kind} returned {len(results)} results for {count} items")
    for result in results:
        # Nearly all of nearly all chunks.
        if type(result) is Done and type(result.score) in _SCORES:
            continue
        if not isinstance(result, Result):
            raise _no_result(declared, result, "Done, Failed or Skipped")
        _check_fields(declared, result)
    _check_words(declared.kind, [_document(result) for result in results])
    return results


def verdict_of(declared: Operation, returned: object) -> Failed | None:
    """What ``validate`` returned, checked as above; anything but Failed or None is none."""
    if returned is None:
        return None
    if not isinstance(returned, Failed):
        raise _no_result(declared, returned, "Failed or None from validate")
    _check_fields(declared, returned)
    _check_words(declared.kind, _document(returned))
    return returned


def undone_of(declared: Operation, returned: object) -> UndoResult:
    """What a compensation or an inverse returned, checked as above."""
    if not isinstance(returned, UndoResult):
        raise _no_result(declared, returned, "Restored, Conflicted or Failed")
    _check_fields(declared, returned)
    words: list[Any] = list(asdict(returned).values())
    _check_words(declared.kind, words)
    return returned


Fits = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_code(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_CODE and value.isprintable()


_SCORES = (type(None), float, int)
_FIELDS: Mapping[type, Mapping[str, tuple[Fits, str]]] = MappingProxyType(
    {
        Done: {
            "score": (
                lambda value: type(value) in _SCORES,
                "a float, an int or None; float() makes one",
            )
        },
        Failed: {
            "code": (_is_code, f"text of 1 to {MAX_CODE} characters that can be printed"),
            "message": (_is_text, "text"),
            "pointer": (_is_text, "text"),
            "retryable": (lambda value: isinstance(value, bool), "True or False"),
        },
        Skipped: {"reason": (_is_text, "text")},
        Restored: {},
        Conflicted: dict.fromkeys(("record", "by", "reason"), (_is_text, "text")),
    }
)


def _no_result(declared: Operation, returned: object, wanted: str) -> ResultInvalid:
    return ResultInvalid(f"{declared.kind} returned {type(returned).__name__}; return {wanted}")


def _check_fields(declared: Operation, result: Result | UndoResult) -> None:
    """Raise ResultInvalid for a field that is of no use."""
    kind = next(each for each in _FIELDS if isinstance(result, each))
    for name, (fits, words) in _FIELDS[kind].items():
        value = getattr(result, name)
        if not fits(value):
            raise ResultInvalid(
                f"{declared.kind} returned a {kind.__name__} whose {name} is "
                f"{type(value).__name__}; give it {words}"
            )


def _document(result: Result) -> Any:
    if isinstance(result, Done):
        return result.result, result.score
    if isinstance(result, Failed):
        return result.code, result.message, result.pointer, result.details
    return result.reason


def _check_words(kind: str, document: Any) -> None:
    """Raise TypeError for what no ledger can hold: it would take its neighbours along."""
    try:
        orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS, default=str)
    except TypeError as error:
        raise TypeError(f"{kind} returned what is no JSON document: {error}") from None
