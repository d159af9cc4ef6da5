"""Expressions: conditions that a project writes, in a small part of Python's own syntax.

Parsed and worked out by simpleeval, of which only what is listed here is left: no attributes,
no subscripts, no powers, no comprehensions, no formatting. Every part is checked when the
expression is stored. What is left takes time and memory in proportion to its length and to
the values that it is given.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from simpleeval import InvalidExpression, SimpleEval, safe_add  # type: ignore[import-untyped] # has none

MAX_EXPRESSION = 1000
MAX_NODES = 100
MAX_NUMBER = 10**15
"""Of whole numbers that are multiplied: beyond it their digits, and the time, would grow."""

NAMES = (
    *("text_id", "label_id", "label", "start_char", "end_char", "length"),
    *("selected_text", "confidence_score"),
)

_Parts = tuple[type[ast.AST], ...]
_PARTS: _Parts = (
    *(ast.Expr, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.Call),
    *(ast.UnaryOp, ast.Not, ast.USub, ast.BoolOp, ast.And, ast.Or, ast.IfExp),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn),
    *(ast.Is, ast.IsNot),
)
_CONSTANTS = (str, int, float, bool, type(None))


def _times(left: Any, right: Any) -> Any:
    _require_numbers(left, right)
    if abs(left) > MAX_NUMBER or abs(right) > MAX_NUMBER:
        raise ValueError("the numbers are too large to be multiplied")
    return left * right


def _remainder(left: Any, right: Any) -> Any:
    # Of a string it would be formatting, which can be told to make gigabytes.
    _require_numbers(left, right)
    return left % right


def _require_numbers(*values: Any) -> None:
    for value in values:
        if not isinstance(value, int | float):
            raise TypeError(f"{type(value).__name__} is no number")


def _is_in(left: Any, right: Any) -> bool:
    return left in right


_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: safe_add,
    ast.Sub: operator.sub,
    ast.Mult: _times,
    ast.Div: operator.truediv,
    ast.Mod: _remainder,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: _is_in,
    ast.NotIn: lambda left, right: not _is_in(left, right),
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": len,
    "abs": abs,
    "lower": str.lower,
    "upper": str.upper,
    "strip": str.strip,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "is_upper": str.isupper,
    "is_digit": str.isdigit,
}
_METADATA = "metadata"
_OF_AN_ITEM = frozenset((*NAMES, _METADATA))


def checked_expression(expression: str) -> str:
    """The expression; raises ValueError, saying what of it is not possible."""
    parsed(expression)
    return expression


def meaningful_expression(expression: str) -> str:
    """The expression of a rule that is written now; raises ValueError where it can say nothing.

    Those of earlier releases were not held against this, and are still applied.
    """
    nodes = list(ast.walk(parsed(expression)))
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        if isinstance(node, ast.Compare):
            _require_singletons(node)
        elif isinstance(node, ast.Name) and node.id not in NAMES and id(node) not in called:
            given = "'key'" if node.id == _METADATA else "selected_text"
            raise ValueError(f"{node.id} is a function; call it, as {node.id}({given})")
    if not any(isinstance(node, ast.Name) and node.id in _OF_AN_ITEM for node in nodes):
        raise ValueError(f"it is about no annotation; name {', '.join(NAMES)} or metadata('key')")
    return expression


def _require_singletons(node: ast.Compare) -> None:
    """Two equal strings, or numbers, need not be the same thing."""
    values = [node.left, *node.comparators]
    for operation, left, right in zip(node.ops, values, values[1:], strict=False):
        if isinstance(operation, ast.Is | ast.IsNot) and not any(
            isinstance(value, ast.Constant) and isinstance(value.value, bool | None)
            for value in (left, right)
        ):
            raise ValueError("is and is not are for None, True and False; write == or !=")


@lru_cache(maxsize=256)
def parsed(expression: str) -> ast.Expr:
    """The expression as a tree of what is possible; raises ValueError for anything else."""
    try:
        body = ast.parse(expression.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the expression cannot be read: {error}; correct it") from None
    if len(body) != 1 or not isinstance(body[0], ast.Expr):
        raise ValueError("write one expression, as length > 2 and label == 'person'")
    tree = body[0]
    nodes = list(ast.walk(tree))
    if len(nodes) > MAX_NODES * 2:
        raise ValueError("the expression has too many parts; make several rules of it")
    for node in nodes:
        _check(node)
    return tree


def _check(node: ast.AST) -> None:
    if not isinstance(node, _PARTS):
        kind = type(node).__name__
        raise ValueError(f"{kind} is not possible in an expression; leave it out")  # noqa: TRY004
    match node:
        case ast.Constant(value=value) if type(value) not in _CONSTANTS:
            raise ValueError(f"{value!r} is no string, number or truth value")
        case ast.Constant(value=int(value)) if abs(value) > MAX_NUMBER:
            raise ValueError(f"{value} is too large")
        case ast.Call(func=func, keywords=keywords):
            known = (*FUNCTIONS, _METADATA)
            if not (isinstance(func, ast.Name) and func.id in known) or keywords:
                raise ValueError(f"call one of {', '.join(known)}, with values alone")
        case ast.Name(id=name) if name not in (*NAMES, *FUNCTIONS, _METADATA):
            raise ValueError(f"there is no {name!r}; there are {', '.join(NAMES)}")


class Condition:
    """An expression that can be worked out; belongs to one thread."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tree = parsed(expression)
        self.parts = sum(1 for _ in ast.walk(self._tree))
        self._metadata: Mapping[str, Any] = {}
        functions = {**FUNCTIONS, _METADATA: self._of_metadata}
        self._evaluator = SimpleEval(dict(_OPERATORS), functions, {})
        own = self._evaluator.nodes
        self._evaluator.nodes = {
            kind: handler for kind, handler in own.items() if issubclass(kind, _PARTS)
        }
        self._evaluator.nodes |= {ast.List: self._listed, ast.Tuple: self._listed}

    def holds(self, values: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
        """Whether it is true of the values; raises ValueError when it cannot be worked out."""
        self._evaluator.names = values
        self._metadata = metadata
        try:
            return bool(self._evaluator.eval(self._expression, self._tree))
        except (InvalidExpression, ArithmeticError, ValueError, TypeError) as error:
            raise ValueError(str(error)) from None

    def _listed(self, node: ast.List | ast.Tuple) -> list[Any]:
        return [self._evaluator._eval(element) for element in node.elts]

    def _of_metadata(self, key: Any) -> Any:
        """A plain value of the metadata, or a list of such; ``None`` for one that is not there."""
        found = self._metadata.get(key) if isinstance(key, str) else None
        values = found if isinstance(found, list) else [found]
        if any(type(value) not in _CONSTANTS for value in values):
            kind = "an object" if isinstance(found, dict) else "a list of lists or objects"
            raise ValueError(f"metadata {key!r} is {kind}, of which an expression can say nothing")
        return found
