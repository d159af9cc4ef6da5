"""Output: results to standard output, messages to standard error."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from domain.errors import InvalidCommand

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """The text without what could steer a terminal: names and messages come from anybody."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def emit(document: Any) -> None:
    """One JSON document, on a line of its own, to standard output."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def say(sentence: str) -> None:
    """A message for people, to standard error."""
    print(plain(sentence), file=sys.stderr, flush=True)


@contextmanager
def pipe_may_close() -> Iterator[None]:
    """End quietly when whoever reads our output has seen enough (``| head``)."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end; there must be something to take it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when all is written; until then, and if not, there is none new."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise InvalidCommand(f"cannot write {path} ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)
